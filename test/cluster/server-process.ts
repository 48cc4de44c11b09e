import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'

/** Anything that ends what it started: a tap test, or `servers.ts` run by hand. */
export interface Teardown { teardown (done: () => unknown): void }

/** A server that somebody else wrote, in a process of its own. */
export interface ServerProcess {
  readonly pid: number
  /** Sends the signal and resolves when the process is gone; at once where it already is. */
  end (signal: NodeJS.Signals): Promise<void>
}

/** Bounds what hangs: on a busy machine three brokers that start at once take most of a minute. */
const readyWithinMs = 180_000
const logCharsMax = 20_000

/** The path of an executable, as a shell would find it. */
export function findExecutable (name: string): string | undefined {
  return (process.env['PATH'] ?? '').split(delimiter).map(directory => join(directory, name)).find(isExecutable)
}

function isExecutable (path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Starts a server and waits for the line that says it serves.
 *
 * @param ready matches what the server writes once it serves
 * @throws when it ends before, or is not ready within three minutes; the message has what it wrote last
 */
export async function startProcess (command: string, args: readonly string[], ready: RegExp): Promise<ServerProcess> {
  const [executable, ...before] = dyingWithUs(command)
  const child = spawn(executable!, [...before, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = () => { child.kill('SIGKILL') }
  process.on('exit', kill)
  let isGone = false
  const gone = once(child, 'close').finally(() => {
    isGone = true
    process.off('exit', kill)
  })
  let log = ''
  const failure = await new Promise<string | undefined>(resolve => {
    const timer = setTimeout(() => resolve(`is not ready within ${readyWithinMs} ms`), readyWithinMs)
    const settle = (reason?: string) => {
      clearTimeout(timer)
      resolve(reason)
    }
    const collect = (chunk: Buffer) => {
      log = (log + chunk).slice(-logCharsMax)
      if (ready.test(log)) settle()
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    gone.then(([code, signal]) => settle(`ended with ${code ?? signal}`), err => settle(String(err)))
  })
  if (failure !== undefined) {
    kill()
    throw new Error(`${command} ${failure}\n${log}`)
  }
  // Read on and forget: a full pipe would stop the server.
  for (const stream of [child.stdout, child.stderr]) stream.removeAllListeners('data').resume()
  return {
    pid: child.pid!,
    async end (signal) {
      if (isGone) return
      child.kill(signal)
      await gone
    },
  }
}

/** A test that is itself killed runs no teardown; where Linux offers it, the kernel then kills the server. */
function dyingWithUs (command: string): string[] {
  const setpriv = findExecutable('setpriv')
  return setpriv === undefined ? [command] : [setpriv, '--pdeathsig', 'KILL', command]
}

/**
 * A free port of loopback, below those that the system gives to outgoing connections: so a server that is stopped for a
 * while finds its port free when it comes back. No other test is given it while this process lives.
 */
export async function findPort (): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.trunc(Math.random() * 15_000)
    if (given.has(port)) continue
    given.add(port)
    if (await isOurs(port) && await isFree(port)) return port
  }
}

/**
 * A server listens seconds after its port was chosen, and not while it is stopped; another test would find it free. So
 * whoever is given one holds a name for it, which the kernel frees with the process (Linux alone has such names).
 */
async function isOurs (port: number): Promise<boolean> {
  if (process.platform !== 'linux') return true
  const holder = createServer()
  try {
    await once(holder.listen(`\0ledgerline-test-port-${port}`), 'listening')
    holder.unref()
    return true
  } catch {
    return false
  }
}

/** A port is free until its server listens, and while that is stopped: nobody else of this process gets it then. */
const given = new Set<number>()

async function isFree (port: number): Promise<boolean> {
  const server = createServer()
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}
