import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBundle } from '../client/bundle.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

export type PackageName = 'ledgerline' | '@ledgerline/client' | '@ledgerline/service'

/**
 * The packages as they are published.
 *
 * @param folder gets what is made
 * @returns the tarball of each
 */
export function packAll (folder: string): Readonly<Record<PackageName, string>> {
  const built = join(folder, 'built')
  buildBundle(built)
  return {
    ledgerline: pack(root, folder),
    '@ledgerline/client': pack(join(built, 'client'), folder),
    '@ledgerline/service': pack(join(built, 'service'), folder),
  }
}

function pack (from: string, into: string): string {
  const said = execFileSync('npm', ['pack', from, '--json', '--ignore-scripts', '--pack-destination', into],
    { cwd: into, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [{ filename }] = JSON.parse(said)
  return join(into, filename)
}

/** Unpacks a tarball to where `npm install` in `folder` would, without what it depends on. */
export function install (tarball: string, name: PackageName, folder: string): string {
  const into = join(folder, 'node_modules', name)
  mkdirSync(into, { recursive: true })
  execFileSync('tar', ['xzf', tarball, '-C', into, '--strip-components=1'])
  return into
}
