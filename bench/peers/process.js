import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { cpus } from 'node:os'

const readyMsDefault = 15_000
const stopMsMax = 10_000
const stderrLinesMax = 20

/** Cores of the two sides; a server that shares its core with the load measures the scheduler. */
export const serverCore = 0
export const loadCore = 1

/** Whether processes can be pinned here: two cores and taskset (util-linux). */
export const pinned = cpus().length > 1 && spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0

/**
 * Starts a program in a session of its own, which gets more of a core than others, where this user may give it that.
 * Not by real-time priority: with that the threads of one process would stop each other for 100 ms at a time.
 */
const first = ['setsid', 'sh', '-c', 'echo -20 > /proc/self/autogroup && exec "$@"', 'sh']
export const goingFirst = spawnSync(first[0], [...first.slice(1), 'true'], { stdio: 'ignore' }).status === 0 ? first : []

const preload = new URL('./gc-on-signal.js', import.meta.url).href
const running = new Set()
process.on('exit', () => { for (const child of running) child.kill('SIGKILL') })
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

/** Flags that every JavaScript server gets alike. */
export function serverFlags (options) {
  return ['--expose-gc', '--import', preload, ...options.serverFlags]
}

/**
 * Starts `program` on `core`.
 *
 * @param {number} core
 * @param {string[]} command program and arguments
 * @param {import('node:child_process').SpawnOptions} [options]
 */
export function spawnPinned (core, command, options = {}) {
  const [program, ...args] = pinned ? ['taskset', '-c', String(core), ...command] : command
  const child = spawn(program, args, options)
  running.add(child)
  child.on('exit', () => running.delete(child))
  return child
}

/**
 * Starts a server on its core and waits for its JSON line with `msg: "ready"`.
 *
 * @returns {Promise<Server>}
 * @throws Error with the end of its standard error when it ends before, or is not ready in time
 *
 * @typedef {object} Server
 * @property {object} ready that line
 * @property {() => Promise<number>} collected collects garbage in a server with `serverFlags`: bytes of its heap in
 *   use after that
 * @property {() => Promise<void>} stop asks it to stop, and kills it when it does not
 */
export async function startServer (command, { env = {}, readyMsMax = readyMsDefault } = {}) {
  const child = spawnPinned(serverCore, command, {
    env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise(resolve => child.once('exit', resolve))
  const complaints = []
  createInterface({ input: child.stderr }).on('line', line => {
    complaints.push(line)
    if (complaints.length > stderrLinesMax) complaints.shift()
  })
  const stop = () => stopChild(child, ended)
  // What it prints is read as long as it runs, or it would block on a full pipe.
  const lines = createInterface({ input: child.stdout })
  const collected = () => {
    child.kill('SIGUSR2')
    return saying(lines, 'collected').then(({ heapUsed }) => heapUsed)
  }
  try {
    return { ready: await readyLine(child, lines, ended, readyMsMax), collected, stop }
  } catch (err) {
    await stop()
    throw new Error([err.message, ...complaints].join('\n'), { cause: err })
  }
}

async function readyLine (child, lines, ended, readyMsMax) {
  const failed = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`not ready within ${readyMsMax} ms`)), readyMsMax).unref()
    child.once('error', reject)
    ended.then(() => reject(new Error(`ended with ${child.exitCode ?? child.signalCode}`)))
  })
  return await Promise.race([saying(lines, 'ready'), failed])
}

/** The next line with this `msg`. */
function saying (lines, msg) {
  return new Promise(resolve => {
    lines.on('line', function heard (line) {
      if (!line.includes(`"${msg}"`)) return
      lines.off('line', heard)
      resolve(JSON.parse(line))
    })
  })
}

export async function stopChild (child, ended = new Promise(resolve => child.once('exit', resolve))) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMsMax)
  await ended
  clearTimeout(timer)
}
