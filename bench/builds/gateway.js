import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { startGenerator } from '../load/generator.js'
import { startShares } from '../cluster/shares.js'
import { processSeconds } from '../load/usage.js'
import { memoryOf } from '../measure/memory.js'
import { goingFirst } from '../peers/process.js'
import { startLedgerline } from '../peers/ledgerline.js'

const lookMs = 20
const restMs = 500
/** A checkpoint comes within a second, a user rests after two, and the checkpoint after that saves what is left. */
const quietMs = 4_000
const quietMsMax = 60_000
/** Of a core. One that works is about to write: it may take seconds to encode what it saves. */
const restShare = 0.2
/** Of the load generators. */
const first = new Set(['neighbours', 'high'])
/** Latencies are of the gateway as long as so many of the uplinks left on time. */
const lateMsMax = 10

/**
 * A gateway of one build in a process of its own, and what can be read of it from outside.
 *
 * @typedef {object} Gateway
 * @property {number} pid
 * @property {object} target for load generators
 * @property {string} dataDir
 * @property {(body: object) => Promise<object>} push `POST /v1/downlinks`, by its body
 * @property {() => Promise<string>} metrics as Prometheus reads them
 */

/**
 * @template T
 * @param {import('./measurements.js').Context} ctx
 * @param {{ limits?: 'default' | 'off', env?: object, serverFlags?: string[] }} wants
 * @param {(gateway: Gateway) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withGateway ({ program, dataDir }, { limits = 'default', env = {}, serverFlags = [] }, use) {
  const start = startLedgerline('tcp')
  const { pid, target, stop } = await start({ program, dataDir, limits, env, serverFlags, before: goingFirst })
  const metrics = () => ask(target, '/metrics')
  const push = async body => JSON.parse(await ask(target, '/v1/downlinks', body))
  try {
    return await use({ pid, target, dataDir, metrics, push })
  } finally {
    await stop()
  }
}

/**
 * Load generators by name, each a process of its own on the core of the load. The `neighbours`, whose latencies are
 * measured, and those of a `high` priority go before the others.
 *
 * @template T
 * @param {Gateway} gateway
 * @param {string[]} names
 * @param {(loads: Record<string, { pid: number, ask: Function }>) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withLoads ({ target }, names, use) {
  const loads = {}
  try {
    for (const name of names) {
      const before = first.has(name) ? goingFirst : []
      loads[name] = await startGenerator({ protocol: 'ledgerline-tcp', target }, { before })
    }
    return await use(loads)
  } finally {
    await Promise.all(Object.values(loads).map(load => load.stop()))
  }
}

/**
 * Starts to measure who works how much, in the words of the tables.
 *
 * @param {Gateway} gateway
 * @param {Record<string, { pid: number }>} loads
 * @returns {(lateMs: number) => object} ends the window; `lateMs` says how late the load sent
 */
export function startUsageOf ({ pid }, loads) {
  const end = startShares({ server: [pid], load: [process.pid, ...Object.values(loads).map(load => load.pid)] })
  return lateMs => {
    const { server = null, load = null, others = null } = end()
    return { serverCpu: server, loadCpu: load, othersCpu: others, loadBound: lateMs > lateMsMax }
  }
}

/**
 * A setting that only one of two builds may know: a variable that a build does not know is refused.
 *
 * @param {string} program
 * @param {Record<string, string>} env
 * @returns {Record<string, string>} those that the build has
 */
export function knownSettings (program, env) {
  const { stdout } = spawnSync(process.execPath, [program, 'start', '--help'], { encoding: 'utf8' })
  const flagOf = variable => `--${variable.replace(/^LEDGERLINE_/, '').toLowerCase().replaceAll('_', '-')}`
  return Object.fromEntries(Object.entries(env).filter(([variable]) => stdout.includes(flagOf(variable))))
}

/**
 * What a process has written, all its threads.
 *
 * @param {number} pid
 * @returns {{ written: number, handed: number }} bytes of pages that it made dirty in files on disks, where a kernel
 *   whose page cache has folios counts a whole one for one byte of it; bytes that it handed to the kernel, whatever for
 */
export function ioOf (pid) {
  const io = readFileSync(`/proc/${pid}/io`, 'latin1')
  const bytes = name => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(io)[1])
  return { written: bytes('write_bytes'), handed: bytes('wchar') }
}

/**
 * Runs `act` and waits until for `quietMs` nothing more has been written and the process has rested.
 *
 * @param {number} pid
 * @param {() => Promise<unknown>} act
 * @returns {Promise<{ bytes: number, handedBytes: number, steps: { atMs: number, bytes: number }[] }>} what was written
 *   and handed over from the beginning of `act` on, and when
 */
export async function writtenBy (pid, act) {
  const before = ioOf(pid)
  const startMs = performance.now()
  const steps = []
  let seen = before.written
  let changedAtMs = startMs
  const look = () => {
    const now = ioOf(pid).written
    if (now === seen) return
    changedAtMs = performance.now()
    steps.push({ atMs: Math.round(changedAtMs - startMs), bytes: now - seen })
    seen = now
  }
  const timer = setInterval(look, lookMs)
  try {
    await act()
    changedAtMs = performance.now()
    const endMs = changedAtMs + quietMsMax
    while (performance.now() - changedAtMs < quietMs && performance.now() < endMs) {
      const worked = processSeconds(pid)
      await wait(restMs)
      if (processSeconds(pid) - worked > restShare * restMs / 1000) changedAtMs = performance.now()
    }
  } finally {
    clearInterval(timer)
  }
  return { bytes: seen - before.written, handedBytes: ioOf(pid).handed - before.handed, steps }
}

/** Waits until the gateway writes nothing of its own accord, as after its start. */
export function untilQuiet (pid) {
  return writtenBy(pid, () => {})
}

/** Bytes that a directory takes on the disk. */
export function diskBytes (directory) {
  return readdirSync(directory, { recursive: true })
    .reduce((sum, name) => sum + 512 * statSync(join(directory, name)).blocks, 0)
}

/**
 * Watches a process's memory.
 *
 * @param {number} pid
 * @returns {() => { rssBytesMax: number, anonBytesMax: number }} ends it; the first is the kernel's own high-water mark
 */
export function watchMemory (pid) {
  let anonBytesMax = 0
  const timer = setInterval(() => {
    try {
      anonBytesMax = Math.max(anonBytesMax, memoryOf(pid).anonBytes)
    } catch {
      clearInterval(timer) // it is gone, which who ends this is told
    }
  }, lookMs)
  return () => {
    clearInterval(timer)
    const { rssBytesMax, anonBytes } = memoryOf(pid)
    return { rssBytesMax, anonBytesMax: Math.max(anonBytesMax, anonBytes) }
  }
}

/** @returns {Promise<string>} the body of a good answer */
async function ask ({ controlPort, apiKey }, path, body) {
  const response = await fetch(`http://127.0.0.1:${controlPort}${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${apiKey}`, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
    signal: AbortSignal.timeout(60_000),
  })
  const text = await response.text()
  if (response.status >= 300) throw new Error(`${path}: got ${response.status}: ${text.slice(0, 200)}`)
  return text
}
