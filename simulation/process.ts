import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { FaultName } from './faults.js'
import type { PlannedStores } from './plan.js'
import type { Outcome } from './simulate.js'

const program = fileURLToPath(new URL('main.js', import.meta.url))

/** A world makes much that is gone soon: room for it to be so before it is moved. */
const nodeOptions = ['--enable-source-maps', '--max-semi-space-size=64']

/** A process that says nothing for so long of real time is in a loop, and is ended. */
const silentMsMax = 600_000
const stderrMax = 10_000

/** What a world is like, but for its seed. */
export interface Shape {
  readonly stores: PlannedStores
  readonly minutes: number
  readonly nodes: number | 'drawn'
  readonly devices: number
  readonly faultEveryMs: number
  readonly faults: readonly FaultName[]
}

export interface ProcessOptions {
  /** Of Node itself. */
  readonly node?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

/** As options of `npm run simulate`. */
export function optionsOf (seed: number, { stores, minutes, nodes, devices, faultEveryMs, faults }: Shape): string[] {
  const all = { seed, stores, minutes, nodes, devices, 'fault-every': faultEveryMs, faults: faults.join() || 'none' }
  return Object.entries(all).flatMap(([name, value]) => [`--${name}`, String(value)])
}

/**
 * Runs in a process of their own, one after the other. Whoever leaves the loop ends it.
 *
 * @param options of `npm run simulate`; with `--count` there is an outcome for each seed
 * @throws Error where the process ends before it has told of all
 */
export async function * simulateInProcess (
  options: readonly string[], { node = [], env = {} }: ProcessOptions = {}
): AsyncGenerator<Outcome> {
  const child = spawn(process.execPath, [...nodeOptions, ...node, program, '--json', ...options], {
    env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  const closed = once(child, 'close')
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr = (stderr + text).slice(-stderrMax) })
  let isSilent = false
  const silence = setTimeout(() => {
    isSilent = true
    child.kill('SIGKILL')
  }, silentMsMax)
  let isBroken = false
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      silence.refresh()
      const outcome = JSON.parse(line) as Outcome
      isBroken ||= outcome.violations.length > 0
      yield outcome
    }
    const [code] = await closed as [number | null]
    // 1: some promises were broken; or whatever Node ends a process for.
    if (code === 0 || (code === 1 && isBroken)) return
    throw new Error(`${options.join(' ')}: ${isSilent ? `nothing for ${silentMsMax / 60_000} minutes` : `ended with ${code}`}\n${stderr}`)
  } finally {
    clearTimeout(silence)
    child.kill('SIGKILL')
    await closed
  }
}

/** One run in a process of its own. */
export async function simulateOnce (options: readonly string[], process: ProcessOptions = {}): Promise<Outcome> {
  const runs = simulateInProcess(options, process)
  try {
    const { value } = await runs.next() as IteratorResult<Outcome, undefined>
    if (value === undefined) throw new Error(`${options.join(' ')}: no outcome`)
    return value
  } finally {
    await runs.return(undefined)
  }
}
