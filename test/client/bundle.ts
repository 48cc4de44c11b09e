import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const compiled = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Builds the packages as `npm run build:packages` does, from the compiled files beside this one.
 *
 * @returns the text of the bundle for browsers, which is `client/ledgerline-client.min.js` in the folder
 */
export function buildBundle (folder: string): string {
  execFileSync(process.execPath, [`${root}packages/build.js`, compiled, folder])
  return readFileSync(`${folder}/client/ledgerline-client.min.js`, 'utf8')
}
