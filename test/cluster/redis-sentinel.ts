import { Redis } from 'ioredis'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis, type TestRedis } from './redis.js'
import { findPort, startProcess, type Teardown } from './server-process.js'

/** A master with one replica, and a Sentinel that promotes the replica when the master does not answer for 5 s. */
export interface TestSentinel {
  /** By way of the Sentinel. */
  readonly url: string
  /** The first master, and its replica. */
  readonly master: TestRedis
  readonly replica: TestRedis
  /** From now on the replica gets no more of what the master is given. */
  holdReplication (): Promise<void>
  /** Has the replica take over while both live: the master becomes a replica, and keeps its connections. */
  failOver (): Promise<void>
  /** Port of the one that Sentinel takes for the master. */
  masterPort (): Promise<number>
}

const name = 'main'

/** @throws when one of them does not serve */
export async function startSentinel (t: Teardown): Promise<TestSentinel> {
  const [master, replica] = [await startRedis(t), await startRedis(t)]
  const ask = async <T>(port: number, work: (client: Redis) => Promise<T>): Promise<T> => {
    const client = new Redis({ host: '127.0.0.1', port })
    try {
      return await work(client)
    } finally {
      client.disconnect()
    }
  }
  await ask(replica.port, client => client.call('REPLICAOF', '127.0.0.1', `${master.port}`))
  await until(async () => /master_link_status:up/.test(await ask(replica.port, client => client.info('replication'))))

  const port = await findPort()
  const directory = mkdtempSync(join(tmpdir(), 'ledgerline-sentinel-'))
  t.teardown(() => { rmSync(directory, { recursive: true, force: true }) })
  const file = join(directory, 'sentinel.conf')
  writeFileSync(file, `bind 127.0.0.1\nport ${port}\nsentinel monitor ${name} 127.0.0.1 ${master.port} 1\n` +
    `sentinel down-after-milliseconds ${name} 5000\nsentinel failover-timeout ${name} 5000\n`)
  const sentinel = await startProcess('redis-server', [file, '--sentinel'], /Sentinel ID is/)
  t.teardown(() => sentinel.end('SIGKILL'))
  const sentinelSays = (...args: string[]) => ask(port, client => client.call('SENTINEL', ...args))
  await until(async () => JSON.stringify(await sentinelSays('REPLICAS', name)).includes(`${replica.port}`))
  return {
    url: `redis+sentinel://127.0.0.1:${port}/${name}`,
    master,
    replica,
    async holdReplication () {
      // A user whom the master does not know: the link that is cut does not come again.
      await ask(replica.port, async client => {
        await client.config('SET', 'masteruser', 'nobody')
        await client.config('SET', 'masterauth', 'nothing')
      })
      await ask(master.port, client => client.call('CLIENT', 'KILL', 'TYPE', 'replica'))
      await until(async () => /master_link_status:down/.test(await ask(replica.port, client => client.info('replication'))))
    },
    async failOver () { await sentinelSays('FAILOVER', name) },
    async masterPort () { return Number((await sentinelSays('GET-MASTER-ADDR-BY-NAME', name) as string[])[1]) },
  }
}

async function until (holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 120_000; !await holds(); await new Promise(resolve => setTimeout(resolve, 50))) {
    if (Date.now() > end) throw new Error('Sentinel, or the replica, is not as it must be')
  }
}
