import { readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import vm from 'node:vm'
import type { Folding } from './comparison.js'

/**
 * Finds the fold of another build: its file, its `dist` directory, or the directory above that.
 *
 * @throws Error where there is none
 */
export async function findFold (path: string): Promise<string> {
  const names = ['', 'actors/user/fold.js', 'dist/actors/user/fold.js']
  for (const candidate of names.map(name => resolve(path, name))) {
    if (await isFile(candidate)) return candidate
  }
  const want = 'the fold.js of a build, or the directory that has actors/user/fold.js'
  throw new Error(`got ${JSON.stringify(path)}, want ${want}`)
}

/**
 * Loads another build's fold into a context of its own: the language, and nothing of Node. It wants a process started
 * with `--experimental-vm-modules`.
 *
 * @param file as `findFold` gives it; `state.js` beside it gives `newUser`
 * @throws Error where it imports more than files of its own build, or lacks `fold` or `newUser`
 */
export async function loadFold (file: string): Promise<Folding> {
  const modules = new Map<string, Promise<vm.SourceTextModule>>()
  const context = vm.createContext({}, { codeGeneration: { strings: false, wasm: false } })
  const load = (path: string): Promise<vm.SourceTextModule> => {
    let module = modules.get(path)
    if (!module) modules.set(path, module = parse(path, context))
    return module
  }
  const link = async (specifier: string, from: vm.Module): Promise<vm.Module> => {
    if (/^\.\.?\//.test(specifier)) return await load(resolve(dirname(from.identifier), specifier))
    throw new Error(`${from.identifier} imports ${JSON.stringify(specifier)}, and a fold does no I/O`)
  }
  const evaluated = async (path: string): Promise<any> => {
    const module = await load(path)
    if (module.status === 'unlinked') await module.link(link)
    if (module.status === 'linked') await module.evaluate()
    return module.namespace
  }
  const { fold } = await evaluated(file)
  if (typeof fold !== 'function') throw new Error(`${file} exports no function fold`)
  const stateFile = join(dirname(file), 'state.js')
  const { newUser } = await evaluated(stateFile)
  if (typeof newUser !== 'function') throw new Error(`${stateFile} exports no function newUser`)
  return { fold, newUser }
}

async function parse (path: string, context: vm.Context): Promise<vm.SourceTextModule> {
  let source: string
  try {
    source = await readFile(path, 'utf8')
  } catch (cause) {
    throw new Error(`${path} cannot be read`, { cause })
  }
  try {
    return new vm.SourceTextModule(source, { context, identifier: path })
  } catch (cause) {
    throw new Error(`${path} is no ES module: ${(cause as Error).message}`, { cause })
  }
}

async function isFile (path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}
