import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const compiled = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Builds the client for browsers as `npm run build:client` does, from the compiled files beside this one.
 *
 * @returns the text of the bundle
 */
export function buildBundle (folder: string): string {
  const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
  const [command, entry, ...options] = scripts['build:client'].split(' ')
  const output = `${folder}/ledgerline-client.min.js`
  execFileSync(`${root}node_modules/.bin/${command}`, [
    entry.replace(/^dist\//, compiled),
    ...options.filter((option: string) => !option.startsWith('--outfile=')),
    `--outfile=${output}`,
  ])
  return readFileSync(output, 'utf8')
}
