import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { nodes } from '../../schemas/streams.js'
import { startTestNode, until } from '../gateway/node.js'
import { complaintsOf } from '../lasting.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

const partitions = 48
const restMs = 4_000

t.test('A node with many partitions', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 450_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const env = (prefix: string) => ({
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: prefix,
    LEDGERLINE_PARTITIONS: `${partitions}`,
    LEDGERLINE_DRAIN_MS: '0',
    LEDGERLINE_STOP_GRACE_MS: '0',
  })
  const client = new Redis(redis.url)
  t.teardown(() => { client.disconnect() })
  /** Scripts, and hashes that are read whole, whether by a script or not. */
  const asked = async () => {
    const calls = [...(await client.info('commandstats')).matchAll(/cmdstat_(evalsha|hgetall):calls=(\d+)/g)]
    return Object.fromEntries(calls.map(([, name, count]) => [name, Number(count)])) as Record<string, number>
  }

  await t.test('asks Redis for all of them together', async t => {
    await client.config('RESETSTAT')
    await startTestNode(t, env('rest'))
    const { evalsha: atStart = 0 } = await asked()
    t.comment(`${atStart} scripts at its start`)
    t.ok(atStart < 10 * partitions, 'at its start some calls a partition')

    // On a busy machine what belongs to the start goes on for a while.
    await until('it asks as seldom as one with a single partition while nothing happens', async () => {
      const before = await asked()
      const sinceMs = performance.now()
      await new Promise(resolve => setTimeout(resolve, restMs))
      const after = await asked()
      const seconds = (performance.now() - sinceMs) / 1_000
      const count = (name: string) => (after[name] ?? 0) - (before[name] ?? 0)
      const perSecond = (count('evalsha') + count('hgetall')) / seconds
      t.comment(`${perSecond.toFixed(1)} a second at rest`)
      return perSecond <= 20
    })
  })

  await t.test('has one partition of the stream nodes', async t => {
    t.equal(await partitionsOfNodes(t, kafka.brokers, 'rest'), 1)
  })

  await t.test('keeps those that the stream has from before', async t => {
    const node = await startTestNode(t, { ...env('before'), KAFKA_PARTITIONS: 'nodes=3', LEDGERLINE_PARTITIONS: '2' })
    await node.stop()
    const again = await startTestNode(t, { ...env('before'), LEDGERLINE_PARTITIONS: '2' })
    t.equal(await partitionsOfNodes(t, kafka.brokers, 'before'), 3)
    await until('the node stands in its table', async () => {
      const { nodes } = (await again.request('GET', '/v1/nodes')).json as { nodes: Array<{ alive: boolean }> }
      return nodes.length === 1 && nodes[0]!.alive
    })
    t.strictSame(complaintsOf(again.logged), [], 'without a complaint')
  })
})

async function partitionsOfNodes (t: Test, brokers: readonly string[], topicPrefix: string): Promise<number> {
  const log = await openKafkaLog({
    brokers: [...brokers],
    topicPrefix,
    clientId: 'test',
    readOnly: true,
    failed: () => {},
    streams: [{ stream: nodes, partitions: 0 }],
  })
  t.teardown(() => log.close())
  return log.partitions(nodes)
}
