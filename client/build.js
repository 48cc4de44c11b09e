import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import ts from 'typescript'

/*
  Makes the builds of the client that package.json names, from what tsc compiled:

    node client/build.js [COMPILED [FOLDER]]

    ledgerline-client.min.js   an ES module for browsers and bundlers, without imports
    cjs/browser.cjs            the same for `require`
    cjs/node.cjs               Node's for `require`
    cjs/client/*.d.ts ...      the declarations once more, which are those of CommonJS through the package.json there
*/

const root = fileURLToPath(new URL('..', import.meta.url))
const [compiled = join(root, 'dist'), folder = join(compiled, 'client')] = process.argv.slice(2).map(path => resolve(path))

const browser = { entryPoints: [join(compiled, 'client/browser.js')], platform: 'browser', target: 'es2022', minify: true }
const node = { entryPoints: [join(compiled, 'client/node.js')], platform: 'node', target: 'node20.19', packages: 'external' }
const builds = [
  { ...browser, format: 'esm', outfile: join(folder, 'ledgerline-client.min.js') },
  { ...browser, format: 'cjs', outfile: join(folder, 'cjs/browser.cjs') },
  { ...node, format: 'cjs', outfile: join(folder, 'cjs/node.cjs') },
]
for (const options of builds) await build({ ...options, bundle: true, logLevel: 'warning', absWorkingDir: root })

/** @returns the declarations that `path` is made of, itself included */
function declarations (path, found = new Set()) {
  if (found.has(path)) return found
  found.add(path)
  for (const { fileName } of ts.preProcessFile(readFileSync(path, 'utf8')).importedFiles) {
    if (fileName.startsWith('.')) declarations(resolve(dirname(path), fileName.replace(/\.js$/, '.d.ts')), found)
  }
  return found
}

for (const path of declarations(join(compiled, 'client/browser.d.ts'))) {
  const copy = join(folder, 'cjs', relative(compiled, path))
  mkdirSync(dirname(copy), { recursive: true })
  copyFileSync(path, copy)
}
writeFileSync(join(folder, 'cjs/package.json'), '{ "type": "commonjs" }\n')
