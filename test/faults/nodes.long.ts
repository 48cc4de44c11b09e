import t from 'tap'
import { leaseMs, missing, TestCluster } from './cluster.js'

t.test('A cluster under load', { skip: missing, timeout: 850_000 }, async t => {
  const cluster = await TestCluster.start(t)

  await t.test('goes on after kill -9 of an edge: sessions resume on the other, and presence says so', async t => {
    await cluster.kill('e1')
    await cluster.heals(t)
    await cluster.presenceMoved('e1')
    await cluster.judge(t)
    await cluster.startNodes('e1')
  })

  await t.test('goes on after kill -9 of a users node', async t => {
    await cluster.kill('u1')
    await cluster.heals(t)
    await cluster.judge(t)
    await cluster.startNodes('u1')
    await cluster.heals(t)
  })

  await t.test('goes on without its only projections node, whose tables catch up when it is back', async t => {
    await cluster.kill('p1')
    await cluster.heals(t)
    await cluster.startNodes('p1')
    await cluster.judge(t)
  })

  await t.test('comes back after kill -9 of all nodes at once', async t => {
    const names = [...cluster.nodes.keys()]
    await Promise.all(names.map(name => cluster.kill(name)))
    await cluster.startNodes(...names)
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('is not harmed by a users node that sleeps for 15 s, until others have its partitions, and believes that it still owns its partitions', async t => {
    const { pid } = cluster.node('u2')
    process.kill(pid, 'SIGSTOP')
    const asleep = new Promise(resolve => setTimeout(resolve, 15_000))
    await cluster.heals(t)
    await asleep
    process.kill(pid, 'SIGCONT')
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('is not harmed by an edge that sleeps through its lease', async t => {
    const { pid } = cluster.node('e2')
    process.kill(pid, 'SIGSTOP')
    await new Promise(resolve => setTimeout(resolve, 3 * leaseMs))
    process.kill(pid, 'SIGCONT')
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('hands its partitions on when a users node is asked to stop', async t => {
    t.strictSame(await cluster.kill('u1', 'SIGTERM'), { code: 0, signal: null })
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await t.test('goes on while its partitions move every 5 s', async t => {
    for (let i = 0; i < 2; i++) {
      await cluster.startNodes('u1')
      await new Promise(resolve => setTimeout(resolve, 5_000))
      await cluster.kill('u1', i % 2 === 0 ? 'SIGKILL' : 'SIGTERM')
      await new Promise(resolve => setTimeout(resolve, 5_000))
    }
    await cluster.heals(t)
    await cluster.judge(t)
  })

  await cluster.audit(t)
})
