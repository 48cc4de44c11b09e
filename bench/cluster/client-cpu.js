import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('./log-client.js', import.meta.url))

/** Runs `log-client.js` in a fresh process. */
export async function clientCpu ({ servers, options: { build, warmMs, windowMs }, profileDir }) {
  const profiling = profileDir ? ['--cpu-prof', `--cpu-prof-dir=${profileDir}`] : []
  const args = [...profiling, program, build, servers.brokers.join(','), String(warmMs), String(windowMs)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const [output, complaint, code] = await Promise.all([
    text(child.stdout), text(child.stderr), new Promise(resolve => child.once('exit', resolve)),
  ])
  if (code !== 0) throw new Error(`the log's client: ${complaint.trim()}`)
  const { nsPerEntry, ...more } = JSON.parse(output)
  return { rows: { log: { nsPerEntry } }, ...more }
}
