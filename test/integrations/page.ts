import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { startProcess } from '../faults/node-process.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
/** What the commands of a page need of the folder that a reader is in: the program, the client and the examples. */
const linked = ['package.json', 'dist', 'node_modules', 'client', 'examples', 'schemas']

/** What a page has in it, in order. */
interface Block {
  readonly language: string
  readonly text: string
}

/** What a step printed and what the page says it prints. */
interface Shown { readonly command: string, readonly printed: string, readonly wanted: string }

/**
 * Does what a page tells its reader, with a gateway in a process of its own: writes its programs into files, which are
 * named in the comment of their first line, and runs all its commands in one shell.
 *
 * @param page the text
 * @param env of the shell, beside what it needs anyway
 * @returns each command after which the page shows its output
 * @throws Error where a command fails, with all that was printed
 */
export async function follow (t: Test, page: string, env: Record<string, string> = {}): Promise<Shown[]> {
  const folder = t.testdir()
  for (const name of linked) symlinkSync(join(root, name), join(folder, name))
  mkdirSync(join(folder, 'data'))
  // As `npm start` does, with the keys that the gateway makes for itself.
  const gateway = await startProcess(t, join(folder, 'data'), { LEDGERLINE_API_KEYS: '', LEDGERLINE_JWT_SECRET: '' })
  const blocks = blocksOf(page)
  const steps: Array<{ command: string, wanted: string | undefined }> = []
  for (const { language, text } of blocks) {
    if (language === 'sh') steps.push({ command: text, wanted: undefined })
    else if (language === 'text') steps.at(-1)!.wanted = text
    else writeFileSync(join(folder, fileOf(text)), text)
  }
  const printed = await runAll(t, folder, steps.map(({ command }) => command), { ...env, LEDGERLINE_URL: gateway.http })
  return steps.flatMap(({ command, wanted }, i) => {
    return wanted === undefined ? [] : [{ command, printed: printed[i]!, wanted }]
  })
}

/** What varies from run to run a page writes as `…`. */
export function isAsShown ({ printed, wanted }: Shown): boolean {
  const pattern = wanted.split('…').map(part => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^\\n]*?')
  return new RegExp(`^${pattern}\\n?$`).test(printed)
}

function blocksOf (page: string): Block[] {
  const found = page.matchAll(/^```(\w+)\n([^]*?\n)```$/gm)
  return Array.from(found, ([, language, text]) => ({ language: language!, text: text! }))
}

function fileOf (program: string): string {
  const name = /^(?:\/\/|#) (\S+)$/m.exec(program.split('\n', 1)[0]!)?.[1]
  if (name === undefined) throw new Error(`a program does not name its file in the first line: ${program.slice(0, 80)}`)
  return name
}

/** One shell for all, for later commands use the variables of earlier ones. */
async function runAll (t: Test, folder: string, commands: string[], env: Record<string, string>): Promise<string[]> {
  const mark = '\u0001\n'
  const script = commands.map(command => `${command}\nprintf '\\001\\n'\n`).join('')
  const shell = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: folder, ...env },
    detached: true, // a group of its own, for what it left running to be ended with it
  })
  const end = () => {
    try {
      process.kill(-shell.pid!, 'SIGKILL')
    } catch {
      // all of it has ended
    }
  }
  t.teardown(end)
  shell.once('exit', end) // what it left running has its outputs open
  const [printed, complaints, [code]] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, 'exit')])
  if (code !== 0) throw new Error(`the commands ended with ${code}:\n${printed}\n${complaints}`)
  return printed.split(mark)
}
