import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../../cli/ledgerline.js', import.meta.url))

export interface Place {
  /** Where it runs: a directory of the test's own, so that no `.env` and no data are found by chance. */
  readonly cwd: string
  readonly env?: Record<string, string>
}

/** Starts `ledgerline` as a process of its own; whoever calls it sees to its end. */
export function start (args: string[], { cwd, env = {} }: Place) {
  const { PATH = '' } = process.env
  return spawn(process.execPath, [program, ...args], { cwd, env: { PATH, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
}

/** Runs `ledgerline` to its end. */
export async function run (args: string[], { input = '', ...place }: Place & { input?: string }) {
  const child = start(args, place)
  child.stdin.on('error', () => {}) // it may end without reading
  child.stdin.end(input)
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  return { code: code as number | null, stdout, stderr, lines: stdout.split('\n').filter(line => line !== '') }
}
