import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, extname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/*
  Makes the pages of the console, from what tsc compiled:

    node console/build.js [COMPILED [FOLDER]]

    index.html   names the assets
    assets/      script, style and icon, each with a digest in its name: browsers keep them for good
*/

const root = fileURLToPath(new URL('..', import.meta.url))
const [compiled = join(root, 'dist'), folder = join(compiled, 'console/pages')] = process.argv.slice(2).map(path => resolve(path))

const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: { console: join(compiled, 'console/main.js'), style: join(root, 'console/style.css') },
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  logLevel: 'warning',
  outdir: folder,
  write: false,
})

rmSync(folder, { recursive: true, force: true })
mkdirSync(join(folder, 'assets'), { recursive: true })

/** @returns the name that it got */
function keep (name, bytes) {
  const extension = extname(name)
  const digest = createHash('sha256').update(bytes).digest('base64url').slice(0, 12)
  const kept = `${basename(name, extension)}-${digest}${extension}`
  writeFileSync(join(folder, 'assets', kept), bytes)
  return kept
}

const named = {
  ICON: keep('icon.svg', readFileSync(join(root, 'console/icon.svg'))),
  STYLE: keep('style.css', outputFiles.find(({ path }) => path.endsWith('.css')).contents),
  SCRIPT: keep('console.js', outputFiles.find(({ path }) => path.endsWith('.js')).contents),
}
const page = readFileSync(join(root, 'console/index.html'), 'utf8')
writeFileSync(join(folder, 'index.html'), page.replace(/ICON|STYLE|SCRIPT/g, word => named[word]))
