import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const compiled = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Builds the client as `npm run build:client` does, from the compiled files beside this one.
 *
 * @returns the text of the bundle for browsers
 */
export function buildBundle (folder: string): string {
  execFileSync(process.execPath, [`${root}client/build.js`, compiled, folder])
  return readFileSync(`${folder}/ledgerline-client.min.js`, 'utf8')
}
