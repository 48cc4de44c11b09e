import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import type * as browser from '../../client/browser.js'
import type * as node from '../../client/node.js'
import { buildBundle } from './bundle.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const names = ['Client', 'ClientError', 'GiveUp', 'TryLater', 'createClient', 'inDefault', 'inFile', 'inIndexedDb',
  'inLocalStorage', 'inMemory']

/** Fails to compile where one build exports what the other one does not, or otherwise. */
const browserHasAll: typeof browser extends typeof node ? true : false = true
const nodeHasAll: typeof node extends typeof browser ? true : false = true

const source = `
import { ${names.join(', ')} } from 'ledgerline/client'
import type { ClientOptions, ClientStorage, Ended, ReceivedDownlink } from 'ledgerline/client'
const storage: ClientStorage = inMemory()
const options: ClientOptions = { endpoints: ['ws://a'], getToken: async () => 'x', deviceId: 'd', storage }
const client: Client = createClient(options)
client.on('disconnected', ({ code }: Ended) => code.length)
client.on('downlink', ({ payload }: ReceivedDownlink) => payload.length)
const stores: Array<(name: string) => ClientStorage> = [inDefault, inFile, inIndexedDb, inLocalStorage]
export const use = [client.send('x').then(({ userSeq }) => userSeq), stores, new ClientError('a', 'b').code] as const
// @ts-expect-error so types are found, and are not any
export const wrong: number = client
`

t.test('The package', { timeout: 230_000 }, async t => {
  const folder = t.testdir({ node_modules: { '@types': {} } })
  /** As `npm install` leaves it: packed, unpacked, and beside its dependencies. */
  buildBundle(join(root, 'dist/client'))
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
    { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
  execFileSync('tar', ['xzf', join(folder, filename), '-C', folder])
  symlinkSync(join(folder, 'package'), join(folder, 'node_modules/ledgerline'))
  symlinkSync(join(root, 'node_modules'), join(folder, 'package/node_modules'))
  for (const [name, type] of [['esm', 'module'], ['cjs', 'commonjs']] as const) {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'package.json'), JSON.stringify({ type }))
    writeFileSync(join(folder, name, 'app.ts'), source)
  }

  t.test('exports the same names in every build', async t => {
    t.ok(browserHasAll && nodeHasAll)
    const list = (args: string[], file: string, text: string) => {
      writeFileSync(join(folder, file), text)
      return JSON.parse(execFileSync(process.execPath, [...args, join(folder, file)], { encoding: 'utf8' }))
    }
    const esm = 'import * as all from "ledgerline/client"; console.log(JSON.stringify(Object.keys(all).sort()))'
    const cjs = 'console.log(JSON.stringify(Object.keys(require("ledgerline/client")).sort()))'
    for (const conditions of [[], ['--conditions=browser']]) {
      t.strictSame(list(conditions, 'esm/list.mjs', esm), names, `import ${conditions}`)
      t.strictSame(list(conditions, 'cjs/list.cjs', cjs), names, `require ${conditions}`)
    }
    const old = 'console.log(JSON.stringify(Object.keys(require("../node_modules/ledgerline/client")).sort()))'
    t.strictSame(list([], 'cjs/old.cjs', old), names, 'and for a tool that does not know `exports`')
  })

  t.test('connects from CommonJS', async t => {
    writeFileSync(join(folder, 'cjs/connect.cjs'), `
      const { createClient, inDefault } = require('ledgerline/client')
      for (const endpoint of ['tcp://127.0.0.1:1', 'ws://127.0.0.1:1']) {
        const client = createClient({ endpoints: [endpoint], getToken: () => 't', deviceId: 'd', attemptsMax: 1 })
        client.on('disconnected', ({ code, reason }) => console.log(code, /ECONNREFUSED/.test(reason)))
        client.connect()
      }`)
    const said = execFileSync(process.execPath, [join(folder, 'cjs/connect.cjs')], { encoding: 'utf8' })
    t.equal(said, 'connection-lost true\nconnection-lost true\n')
  })

  const { CommonJS, ESNext, Node16, NodeNext, Preserve } = ts.ModuleKind
  const { Node10, Bundler } = ts.ModuleResolutionKind
  const kinds: Array<[string, string, ts.CompilerOptions]> = [
    ['node10', 'cjs', { module: CommonJS, moduleResolution: Node10 }],
    ['node16 in a CommonJS package', 'cjs', { module: Node16 }],
    ['node16 in a package of ES modules', 'esm', { module: Node16 }],
    ['nodenext in a CommonJS package', 'cjs', { module: NodeNext }],
    ['nodenext in a package of ES modules', 'esm', { module: NodeNext }],
    ['bundler', 'esm', { module: ESNext, moduleResolution: Bundler }],
    ['bundler for browsers', 'esm', { module: Preserve, moduleResolution: Bundler, customConditions: ['browser'] }],
  ]
  const files = new Map<string, ts.SourceFile | undefined>()
  for (const [kind, package_, options] of kinds) {
    t.test(`has its types where moduleResolution is ${kind}`, async t => {
      const all: ts.CompilerOptions = {
        ...options, strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, types: [], skipDefaultLibCheck: true,
      }
      const host = ts.createCompilerHost(all)
      const { getSourceFile } = host
      // The library of the language is read once for all of them.
      host.getSourceFile = (path, ...rest) => {
        if (!path.includes('/typescript/lib/')) return getSourceFile(path, ...rest)
        if (!files.has(path)) files.set(path, getSourceFile(path, ...rest))
        return files.get(path)
      }
      const program = ts.createProgram([join(folder, package_, 'app.ts')], all, host)
      const problems = ts.getPreEmitDiagnostics(program)
      t.equal(ts.formatDiagnostics(problems, { ...host, getNewLine: () => '\n' }), '')
    })
  }
})
