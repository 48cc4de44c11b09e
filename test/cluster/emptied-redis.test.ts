import t, { type Test } from 'tap'
import { alive, connected } from '../gateway/edge/dialects.js'
import { until } from '../gateway/node.js'
import { complaintsOf } from '../lasting.js'
import { kafkaMissing } from './kafka.js'
import { everyRole, startCluster } from './nodes.js'
import { redisMissing } from './redis.js'

t.test('A cluster whose Redis has lost everything', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 450_000 }, async t => {
  const cluster = await startCluster(t, `emptied-${process.pid}`)
  const [edge, other] = await whileClockIsBack(t, 120_000, () =>
    Promise.all([cluster.start('edge', 'edge'), cluster.start('other', everyRole)]))

  await t.test('has started without a word of trouble', async t => {
    for (const node of [edge, other]) t.strictSame(complaintsOf(node.logged), [], node.nodeId)
  })

  await t.test('closes no connection of a node that is alive, however long it has been up', async t => {
    const { client: ann } = await connected(t, edge, 'TCP', 'ann')
    const { client: bob } = await connected(t, other, 'TCP', 'bob')
    const online = async (userId: string) =>
      (await other.request('GET', `/v1/users/${userId}/presence`)).text.includes('"online":true')
    await until('both are online', async () => await online('ann') && await online('bob'))
    await cluster.flush()
    await until('the tables are there again', async () =>
      await online('ann') && await online('bob') && (await other.request('GET', '/v1/nodes')).text.includes('"nodeId":"edge"'))
    // Long enough for whoever judges by what was absent meanwhile, and for every lease to run out twice.
    await new Promise(resolve => setTimeout(resolve, 4_000))
    t.strictSame(await cluster.facts(['NodeLost', 'ConnectionClosed']), [])
    for (const client of [ann, bob]) await alive(t, client)
  })
})

/** Nodes have the epoch of their start: started so, they are as old as that. */
async function whileClockIsBack<T> (t: Test, ms: number, work: () => Promise<T>): Promise<T> {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  Date.now = () => now() - ms
  const result = await work()
  Date.now = now
  return result
}
