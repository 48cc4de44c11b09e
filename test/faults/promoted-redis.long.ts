import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startSentinel } from '../cluster/redis-sentinel.js'
import { missing, TestCluster } from './cluster.js'
import { until } from './node-process.js'

t.test('A cluster whose Redis has a replica', { skip: missing, timeout: 850_000 }, async t => {
  const { url, master, replica, ...sentinel } = await startSentinel(t)
  const cluster = await TestCluster.start(t, { env: { REDIS_URL: url, LEDGERLINE_LEASE_MS: '15000' }, redis: master })
  cluster.traffic.reconnects = false // nobody may lose a connection, and nobody leaves one because it is silent
  const connections = () => cluster.traffic.clients.map(({ connections }) => connections)

  await t.test('goes on after the two have changed places: nobody goes on talking to the old master', async t => {
    const before = connections()
    await sentinel.failOver()
    await until(async () => await sentinel.masterPort() === replica.port, 50)
    await cluster.heals(t)
    await cluster.judge(t)
    t.strictSame(connections(), before, 'no client was disconnected')
    await sentinel.failOver()
    // Sentinel waits for twice its timeout before it does the next one.
    await until(async () => {
      if (await sentinel.masterPort() === master.port) return true
      await sentinel.failOver().catch(() => {})
      return false
    }, 1_000)
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('goes on with a replica that lacks the last writes, and has them again from the log', async t => {
    const before = connections()
    const old = new Redis(master.port)
    t.teardown(() => { old.disconnect() })
    await until(async () => /connected_slaves:1/.test(await old.info('replication')), 50)
    await sentinel.holdReplication()
    const offset = async () => Number(/master_repl_offset:(\d+)/.exec(await old.info('replication'))?.[1])
    const held = await offset()
    const acked = cluster.traffic.clients.map(({ acked }) => acked.size)
    await until(() => cluster.traffic.clients.every(({ acked: { size } }, i) => size > acked[i]! + 20), 50)
    await sleep(2_000) // so that states and tables are saved that the replica does not hear of
    t.ok(await offset() > held + 10_000, 'the master was given what the replica was not')
    await master.stop()
    await until(async () => await sentinel.masterPort() === replica.port, 50)
    await cluster.heals(t)
    await cluster.judge(t)
    t.strictSame(connections(), before, 'no client was disconnected')
  })

  await cluster.audit(t)
})
