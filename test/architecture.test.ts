import { readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t from 'tap'
import ts from 'typescript'

const root = fileURLToPath(new URL('../../', import.meta.url))
const { mayImport } = await import(pathToFileURL(join(root, 'eslint.config.js')).href) as {
  mayImport: Readonly<Record<string, readonly string[]>>
}
const folders = Object.keys(mayImport)

/** What `text` imports: static, dynamic and of types. */
function importNames (text: string): string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName)
}

/** Those of its imports that are files of ours, relative to the root. */
function importsOf (file: string, text: string): string[] {
  return importNames(text).filter(name => name.startsWith('.')).map(name => normalize(join(file, '..', name)))
}

/** Imports of a folder that it may not have, `FILE -> IMPORT` each. */
function strangersOf (folder: string): string[] {
  const sources = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => /\.tsx?$/.test(name)).map(name => join(folder, name))
  return sources.flatMap(file => importsOf(file, readFileSync(join(root, file), 'utf8'))
    .filter(imported => ![folder, ...mayImport[folder]!].includes(imported.split('/')[0]!))
    .map(imported => `${file} -> ${imported}`))
}

/** Names of what has a clock, chance or I/O, where `node` is one. */
function impureNameOf (node: ts.Node): string | undefined {
  if (ts.isNewExpression(node) && node.expression.getText() === 'Date' && !node.arguments?.length) return 'new Date()'
  if (ts.isPropertyAccessExpression(node) && /^(Date\.now|Math\.random)$/.test(node.getText())) return node.getText()
  const isName = ts.isIdentifier(node) && !(ts.isPropertyAccessExpression(node.parent) && node.parent.name === node)
  const impure = ['process', 'performance', 'fetch', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']
  return isName && impure.includes(node.text) ? node.text : undefined
}

/** What a compiled file and all that it imports use that is not pure, `FILE: NAME` each. */
function impurities (file: string, seen = new Set<string>()): string[] {
  if (seen.has(file)) return []
  seen.add(file)
  const text = readFileSync(join(root, 'dist', file), 'utf8')
  const found = new Set(importNames(text).filter(name => !name.startsWith('.')))
  const look = (node: ts.Node): void => {
    const name = impureNameOf(node)
    if (name !== undefined) found.add(name)
    ts.forEachChild(node, look)
  }
  look(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  const here = [...found].map(name => `${file}: ${name}`)
  return [...here, ...importsOf(file, text).flatMap(each => impurities(each, seen))]
}

t.test('Imports', async t => {
  for (const folder of folders) {
    t.test(`of ${folder}/ are of ${mayImport[folder]!.join(', ') || 'itself'} alone`, async t => {
      t.strictSame(strangersOf(folder), [])
    })
  }

  t.test('have rules for every folder of sources', async t => {
    const sources = readdirSync(root, { withFileTypes: true }).filter(entry => entry.isDirectory() &&
      !entry.name.startsWith('.') && !['dist', 'node_modules', 'test', 'bench'].includes(entry.name) &&
      readdirSync(join(root, entry.name), { recursive: true, encoding: 'utf8' })
        .some(name => name.endsWith('.ts') && !name.includes('node_modules')))
    t.strictSame(sources.map(({ name }) => name).sort(), [...folders].sort())
  })
})

t.test('A fold', async t => {
  for (const fold of ['actors/user/fold.js', 'actors/rooms/fold.js']) {
    t.test(`in ${fold} has no clock, chance, I/O nor package, and neither has what it imports`, async t => {
      t.strictSame(impurities(fold), [])
    })
  }
})
