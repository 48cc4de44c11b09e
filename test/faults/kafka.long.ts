import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { missing, TestCluster } from './cluster.js'
import { blackHole, noFilter } from './network.js'

t.test('A cluster whose one broker fails', { skip: missing, timeout: 850_000 }, async t => {
  // A node that is lost would lose its connections.
  const cluster = await TestCluster.start(t, { env: { LEDGERLINE_LEASE_MS: '15000' } })
  const { kafka } = cluster

  await t.test('goes on after a restart of it', async t => {
    await kafka.stopBroker(0, 'SIGTERM')
    await kafka.startBroker(0)
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('keeps its connections while it is gone for 60 s, and loses nothing', async t => {
    const { clients } = cluster.traffic
    cluster.traffic.reconnects = false
    const connections = clients.reduce((sum, client) => sum + client.connections, 0)
    await kafka.stopBroker(0, 'SIGKILL')
    await sleep(60_000)
    t.equal(clients.filter(({ isOpen }) => isOpen).length, clients.length, 'every client is connected still')
    t.equal(clients.reduce((sum, client) => sum + client.connections, 0), connections, 'by the connection that it had')
    t.match(await cluster.ask('/readyz'), { ready: false, checks: { ledger: { ok: false } } }, 'and /readyz says so')
    await kafka.startBroker(0)
    await cluster.heals(t)
    cluster.traffic.reconnects = true
    await cluster.judge(t)
  })

  await t.test('goes on after its packets were dropped for 20 s', { skip: noFilter() }, async t => {
    const restore = blackHole(t, [`kafka://${kafka.brokers[0]!}`])
    await sleep(20_000)
    restore()
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await cluster.audit(t)
})
