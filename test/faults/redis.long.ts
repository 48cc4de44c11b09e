import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { missing, TestCluster } from './cluster.js'

t.test('A cluster whose Redis fails', { skip: missing, timeout: 850_000 }, async t => {
  const cluster = await TestCluster.start(t)
  const { redis } = cluster

  await t.test('goes on after FLUSHALL under load: what it held is read from the ledger again', async t => {
    await command(t, redis.url, client => client.flushall())
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('goes on after a restart that lost everything', async t => {
    await redis.restart({ empty: true })
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('goes on after a restart with a copy of a while ago', async t => {
    await redis.restart()
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('goes on after it was frozen for 30 s, and ip-config serves its last good list meanwhile', async t => {
    process.kill(redis.pid, 'SIGSTOP')
    await sleep(30_000)
    const answer = await fetch(`${cluster.node('p1').http}/v1/ip-config?transport=tcp`)
    t.match(await answer.json(), { endpoints: [/^tcp:/] })
    process.kill(redis.pid, 'SIGCONT')
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('goes on after links were lost for 5 s', async t => {
    await command(t, redis.url, async client => {
      for (const end = Date.now() + 5_000; Date.now() < end; await sleep(20)) {
        await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      }
    })
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await cluster.audit(t)
})

async function command (t: Test, url: string, work: (client: Redis) => Promise<unknown>): Promise<void> {
  const client = new Redis(url)
  t.teardown(() => { client.disconnect() })
  await work(client)
}
