import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setPriority } from 'node:os'

export interface Outcome {
  readonly ok: boolean
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Why tests were skipped, a line for each, or that none ran. */
  readonly notes: readonly string[]
  /** All that it wrote. */
  readonly output: string
  readonly seconds: number
  /** Of processor time, its own and that of the processes that it started and saw end; undefined where not known. */
  readonly cpuSeconds: number | undefined
}

export interface RunOptions {
  /** Bounds what hangs: tap ends the file after it, and whoever does not end then is killed. */
  readonly timeoutSeconds: number
  readonly isBackground: boolean
}

const lowestPriority = 19
/** For tap to say what hangs. */
const graceMs = 60_000
/** What a process of the file may hold its output open for, after it. */
const outputMs = 10_000
/** What tap itself says of a file that has no test. */
const unregistered = 'no tests found'

const running = new Set<ReturnType<typeof spawn>>()

/**
 * Runs a file of tests in a process of its own, as `node FILE` does. tap's own command puts a TypeScript loader and a
 * recorder of all modules into it, and into every gateway that it starts: half of the processor time of all tests.
 */
export async function runFile (path: string, { timeoutSeconds, isBackground }: RunOptions): Promise<Outcome> {
  const startMs = performance.now()
  const child = spawn(process.execPath, ['--enable-source-maps', path], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TAP_TIMEOUT: `${timeoutSeconds}` },
  })
  running.add(child)
  if (isBackground) setPriority(child.pid!, lowestPriority)
  const parts: Buffer[] = []
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', part => { parts.push(part) })
  const timer = setTimeout(() => { child.kill('SIGKILL') }, timeoutSeconds * 1_000 + graceMs)
  let cpuSeconds: number | undefined
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(resolve => {
    child.once('close', (code, signal) => { resolve([code, signal]) })
    child.once('exit', () => {
      cpuSeconds = endedProcessesTook()
      setTimeout(() => { for (const stream of [child.stdout!, child.stderr!]) stream.destroy() }, outputMs).unref()
    })
  })
  clearTimeout(timer)
  running.delete(child)
  const output = Buffer.concat(parts).toString()
  return { ...countsOf(output, code, signal), output, seconds: (performance.now() - startMs) / 1_000, cpuSeconds }
}

/** Kills what runs: nobody wants to know any more. */
export function killAll (): void {
  for (const child of running) child.kill('SIGTERM')
}

/**
 * What tap's last words say. A file of which the whole plan is to run nothing is one skip where it says why, and has
 * failed where it does not: its tests were never registered. One that did not come to its last words, or ended with
 * trouble that none of its tests had, has failed.
 */
export function countsOf (
  output: string, code: number | null, signal: NodeJS.Signals | null
): Pick<Outcome, 'ok' | 'passed' | 'failed' | 'skipped' | 'notes'> {
  const counts = /^# \{ total: .*\}$/m.exec(output)?.[0]
  const read = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(counts ?? '')?.[1] ?? 0)
  const isWhole = counts !== undefined || /^1\.\.0/m.test(output)
  const hasEnded = code === 0 && signal === null && isWhole && read('fail') === 0
  if (hasEnded && read('total') === 0) return withoutTests(output)
  return {
    ok: hasEnded,
    passed: read('pass'),
    failed: Math.max(read('fail'), hasEnded ? 0 : 1),
    skipped: read('skip') + read('todo'),
    notes: (output.match(/^.*# (?:SKIP|TODO).*$/gm) ?? []).map(line => line.trim()),
  }
}

function withoutTests (output: string) {
  const reason = /^1\.\.0 # (.+)$/m.exec(output)?.[1]
  const ok = reason !== undefined && reason !== unregistered
  const counts = { passed: 0, failed: ok ? 0 : 1, skipped: ok ? 1 : 0 }
  return { ok, ...counts, notes: [ok ? `skipped: ${reason}` : 'no test ran, and the file does not say why'] }
}

let tookBefore = 0

/** Processor time of the processes that ended since the last call, seconds: the kernel adds it up as each is reaped. */
function endedProcessesTook (): number | undefined {
  try {
    const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]!.split(' ')
    const took = (Number(fields[13]) + Number(fields[14])) / 100
    const since = took - tookBefore
    tookBefore = took
    return since
  } catch {
    return undefined
  }
}
