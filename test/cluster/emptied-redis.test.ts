import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { openKafkaLog } from '../../ledger/kafka/log.js'
import { ledger, nodes } from '../../schemas/streams.js'
import { alive, connected } from '../gateway/edge/dialects.js'
import { startTestNode, until } from '../gateway/node.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

const topicPrefix = `emptied-${process.pid}`

t.test('A cluster whose Redis has lost everything', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 110_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const start = (nodeId: string, roles: string) => startTestNode(t, {
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: topicPrefix,
    LEDGERLINE_NODE_ID: nodeId,
    LEDGERLINE_ROLES: roles,
    LEDGERLINE_PARTITIONS: '4',
    LEDGERLINE_LEASE_MS: '1500',
    LEDGERLINE_DRAIN_MS: '0',
    LEDGERLINE_STOP_GRACE_MS: '0',
  })
  const [edge, other] = await whileClockIsBack(t, 120_000, () =>
    Promise.all([start('edge', 'edge'), start('other', 'edge,users,push,projections,ip-config')]))

  await t.test('has started without a word of trouble', async t => {
    for (const node of [edge, other]) t.strictSame(node.logged, [], node.nodeId)
  })

  await t.test('closes no connection of a node that is alive, however long it has been up', async t => {
    const { client: ann } = await connected(t, edge, 'TCP', 'ann')
    const { client: bob } = await connected(t, other, 'TCP', 'bob')
    const online = async (userId: string) =>
      (await other.request('GET', `/v1/users/${userId}/presence`)).text.includes('"online":true')
    await until('both are online', async () => await online('ann') && await online('bob'))
    const client = new Redis(redis.url)
    t.teardown(() => { client.disconnect() })
    await client.flushall()
    await until('the tables are there again', async () =>
      await online('ann') && await online('bob') && (await other.request('GET', '/v1/nodes')).text.includes('"nodeId":"edge"'))
    // Long enough for whoever judges by what was absent meanwhile, and for every lease to run out twice.
    await new Promise(resolve => setTimeout(resolve, 4_000))
    t.strictSame(await facts(t, kafka.brokers, ['NodeLost', 'ConnectionClosed']), [])
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

/** Which facts of these types the streams hold. */
async function facts (t: Test, brokers: readonly string[], types: readonly string[]): Promise<string[]> {
  const log = await openKafkaLog({
    brokers: [...brokers],
    topicPrefix,
    clientId: 'test',
    streams: [ledger, nodes].map(stream => ({ stream, partitions: 0 })),
    readOnly: true,
    failed: () => {},
  })
  t.teardown(() => log.close())
  const found: string[] = []
  for (const stream of [ledger, nodes]) {
    for (let partition = 0; partition < log.partitions(stream); partition++) {
      const { next } = await log.bounds(stream, partition)
      for await (const { items } of log.read<any>(stream, partition, { from: 0n, to: next })) {
        found.push(...items.map(({ fact }) => fact.type).filter(type => types.includes(type)))
      }
    }
  }
  return found
}
