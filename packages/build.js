import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import ts from 'typescript'

/*
  Makes the packages @ledgerline/client and @ledgerline/service, as they are published, from what tsc compiled:

    node packages/build.js [COMPILED [FOLDER]]

  `packages/NAME` has no code, so its package.json is private: npm refuses to publish it. What is made here is not.

  Each gets a folder of its own in FOLDER (COMPILED/packages):

    package.json, README.md, LICENSE
    *.js, *.cjs       each entry as one file, for `import` and for `require`
    types/esm/, cjs/  the declarations twice: TypeScript takes those in a package of "type": "commonjs" for `require`
*/

const root = fileURLToPath(new URL('..', import.meta.url))
const [compiled = join(root, 'dist'), folder = join(compiled, 'packages')] = process.argv.slice(2)
  .map(path => resolve(path))

const browser = { platform: 'browser', target: 'es2022', minify: true }
const node = { platform: 'node', target: 'node20.19', packages: 'external' }

/** By package: each file with the entry that it is made of; and the entries that have its declarations. */
const packages = {
  client: {
    files: {
      'ledgerline-client.min.js': ['client/browser.js', browser],
      'browser.cjs': ['client/browser.js', browser],
      'node.js': ['client/node.js', node],
      'node.cjs': ['client/node.js', node],
    },
    typesOf: ['client/browser.d.ts'],
  },
  service: {
    files: {
      'service.js': ['service/service.js', node],
      'service.cjs': ['service/service.js', node],
      'webhooks.js': ['service/webhooks.js', node],
      'webhooks.cjs': ['service/webhooks.js', node],
    },
    typesOf: ['service/service.d.ts', 'service/webhooks.d.ts'],
  },
}

/** @returns the declarations that `path` is made of, itself included */
function declarations (path, found = new Set()) {
  if (found.has(path)) return found
  found.add(path)
  for (const { fileName } of ts.preProcessFile(readFileSync(path, 'utf8')).importedFiles) {
    if (fileName.startsWith('.')) declarations(resolve(dirname(path), fileName.replace(/\.js$/, '.d.ts')), found)
  }
  return found
}

function copy (from, to) {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
}

for (const [name, { files, typesOf }] of Object.entries(packages)) {
  const into = join(folder, name)
  rmSync(into, { recursive: true, force: true })
  for (const [file, [entry, options]] of Object.entries(files)) {
    const format = file.endsWith('.cjs') ? 'cjs' : 'esm'
    const from = join(compiled, entry)
    const outfile = join(into, file)
    await build({ ...options, entryPoints: [from], format, bundle: true, logLevel: 'warning', absWorkingDir: root, outfile })
  }
  const types = new Set(typesOf.flatMap(entry => [...declarations(join(compiled, entry))]))
  for (const path of types) {
    for (const kind of ['esm', 'cjs']) copy(path, join(into, 'types', kind, relative(compiled, path)))
  }
  writeFileSync(join(into, 'types/cjs/package.json'), '{ "type": "commonjs" }\n')
  const { private: _, ...manifest } = JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8'))
  writeFileSync(join(into, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`)
  copy(join(root, 'packages', name, 'README.md'), join(into, 'README.md'))
  copy(join(root, 'LICENSE'), join(into, 'LICENSE'))
}
