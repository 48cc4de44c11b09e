import { type Cluster, Redis } from 'ioredis'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectRedis } from '../../gateway/redis.js'
import { findExecutable, findPort, type ServerProcess, startProcess, type Teardown } from './server-process.js'

/** Redis on loopback, which writes to disk only to keep its keys over a restart. */
export interface TestRedis {
  readonly url: string
  readonly port: number
  /** Of the process; a stopped one's is its last. */
  readonly pid: number
  /** Kills it and removes its data, as the teardown does. */
  stop (): Promise<void>
  /** Ends it and runs it again on its port, with the keys that it had or, with `empty`, without. */
  restart (options?: { empty?: boolean }): Promise<void>
}

export interface TestRedisCluster {
  /** Names its three masters. */
  readonly url: string
  /** Of each master, which tells a client of the others. */
  readonly urls: string[]
  /** Of their processes. */
  readonly pids: number[]
}

const slots = 16_384

/** One line that says what to install; undefined where Redis can run. */
export function redisMissing (): string | undefined {
  return findExecutable('redis-server') === undefined ? 'needs Redis 7: apt-get install redis-server' : undefined
}

/**
 * @param options.args further arguments of `redis-server`
 * @throws when it does not serve; the message has what it wrote last
 */
export async function startRedis (t: Teardown, { args = [] }: { args?: readonly string[] } = {}): Promise<TestRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-redis-'))
  let server: ServerProcess | undefined
  const stop = async () => {
    await server?.end('SIGKILL')
    await rm(directory, { recursive: true, force: true })
  }
  t.teardown(stop)
  const port = await findPort()
  const start = async () => {
    server = await startProcess('redis-server', ['--bind', '127.0.0.1', '--port', `${port}`, '--dir', directory,
      '--save', '', '--appendonly', 'no', ...args], /Ready to accept connections/)
  }
  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid () { return server!.pid },
    stop,
    async restart ({ empty = false } = {}) {
      if (empty) await rm(join(directory, 'dump.rdb'), { force: true })
      else await withClient(port, async client => await client.save())
      await server!.end('SIGKILL')
      await start()
    },
  }
}

/**
 * Three masters that share all slots, without replicas.
 *
 * @param options.args further arguments of each
 * @param options.password that `args` gives them
 */
export async function startRedisCluster (
  t: Teardown, { args = () => [], password }: { args?: (i: number) => readonly string[], password?: string } = {}
): Promise<TestRedisCluster> {
  const masters: Array<{ port: number, busPort: number, pid: number }> = []
  for (let i = 0; i < 3; i++) {
    const busPort = await findPort()
    const { port, pid } = await startRedis(t, { args: ['--cluster-enabled', 'yes', '--cluster-port', `${busPort}`, ...args(i)] })
    masters.push({ port, busPort, pid })
  }
  for (const [i, { port }] of masters.entries()) {
    await withClient(port, async client => {
      const first = Math.floor(i * slots / masters.length)
      const last = Math.floor((i + 1) * slots / masters.length) - 1
      await client.call('CLUSTER', 'ADDSLOTSRANGE', first, last)
      // Given here, for masters that start with the same epoch spend a while on telling theirs apart.
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
      for (const other of masters.slice(0, i)) {
        await client.call('CLUSTER', 'MEET', '127.0.0.1', other.port, other.busPort)
      }
    }, password)
  }
  for (const { port } of masters) await withClient(port, waitForCluster, password)
  const hosts = masters.map(({ port }) => `127.0.0.1:${port}`)
  return { url: `redis://${hosts.join()}`, urls: hosts.map(host => `redis://${host}`), pids: masters.map(({ pid }) => pid) }
}

/** A connection as a node makes it, closed with the test. */
export async function connectedRedis (t: Teardown, url: string, commandTimeoutMs = 2000): Promise<Redis | Cluster> {
  const redis = await connectRedis(url, { commandTimeoutMs })
  t.teardown(() => { redis.disconnect() })
  return redis
}

async function waitForCluster (client: Redis): Promise<void> {
  for (;;) {
    const info = String(await client.call('CLUSTER', 'INFO'))
    if (info.includes('cluster_state:ok') && info.includes(`cluster_slots_ok:${slots}`)) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

async function withClient<T> (port: number, use: (client: Redis) => Promise<T>, password?: string): Promise<T> {
  const client = new Redis({ host: '127.0.0.1', port, ...(password === undefined ? {} : { password }) })
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}
