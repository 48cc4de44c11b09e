import t from 'tap'
import { missing, TestCluster } from './cluster.js'

t.test('A cluster of three brokers', { skip: missing, timeout: 600_000 }, async t => {
  const cluster = await TestCluster.start(t, { brokers: 3 })

  await t.test('goes on after kill -9 of each of them in turn', async t => {
    for (let i = 0; i < 3; i++) {
      await cluster.kafka.stopBroker(i, 'SIGKILL')
      await cluster.heals(t)
      await cluster.kafka.startBroker(i)
      await cluster.heals(t)
    }
    await cluster.judge(t)
  })

  await cluster.audit(t)
})
