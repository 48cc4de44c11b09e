import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Outcome } from './simulate.js'

const program = fileURLToPath(new URL('main.js', import.meta.url))

/**
 * One run in a process of its own.
 *
 * @param options of `npm run simulate`
 * @param node options of Node's own
 */
export async function simulateInProcess (
  options: readonly string[], node: readonly string[] = [], env: NodeJS.ProcessEnv = {}
): Promise<Outcome> {
  return await new Promise((resolve, reject) => {
    const args = ['--enable-source-maps', ...node, program, '--json', ...options]
    execFile(process.execPath, args, { env: { ...process.env, ...env }, maxBuffer: 1 << 26 }, (err, stdout, stderr) => {
      try {
        resolve(JSON.parse(stdout) as Outcome)
      } catch {
        reject(new Error(`${options.join(' ')}: ${err?.message ?? 'no outcome'}\n${stderr}`))
      }
    })
  })
}
