import { basename, delimiter, dirname, relative, resolve } from 'node:path'

interface Started {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

/**
 * How whoever started this program starts it again, for commands in hints that run as they are printed: `ledgerline`,
 * `npx ledgerline`, `node .`, `node dist/cli/ledgerline.js`.
 */
export function ownCommand (started: Started = { argv: process.argv, env: process.env, cwd: process.cwd() }): string {
  const { argv, env, cwd } = started
  const program = argv[1] ?? ''
  const byNode = `node ${quoted(relative(cwd, program) || '.')}`
  if (basename(program) !== 'ledgerline' || program === cwd) return byNode
  const directory = dirname(program)
  if (isBin(directory)) return 'npx ledgerline'
  const isInPath = (env['PATH'] ?? '').split(delimiter).some(each => each !== '' && resolve(each) === directory)
  return isInPath ? 'ledgerline' : byNode
}

/** Of a package: npm puts it into the path of what it runs, but not into that of the terminal. */
function isBin (directory: string): boolean {
  return basename(directory) === '.bin' && basename(dirname(directory)) === 'node_modules'
}

/** For a shell. */
export function quoted (text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll('\'', '\'\\\'\'')}'`
}
