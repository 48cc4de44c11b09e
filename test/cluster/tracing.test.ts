import t, { type Test } from 'tap'
import { singleObjectFormat, traceparentOf } from '../../ledger/kafka/format.js'
import { downlinks } from '../../schemas/streams.js'
import { ackedUpTo, connected, uplinks } from '../gateway/edge/dialects.js'
import { startTestNode, type TestNode, until } from '../gateway/node.js'
import { attributesOf, startCollector } from '../gateway/tracing-collector.js'
import { kafkaMissing, outsideKafka, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const traceparent = `00-${traceId}-00f067aa0ba902b7-01`
const topicPrefix = `tracing-${process.pid}`

/** One node has the sockets and the other one everything else, so that every trace crosses between them. */
async function given (t: Test) {
  const [collector, kafka, redis] = await Promise.all([startCollector(t), startKafka(t), startRedis(t)])
  const start = (nodeId: string, roles: string): Promise<TestNode> => startTestNode(t, {
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: topicPrefix,
    LEDGERLINE_NODE_ID: nodeId,
    LEDGERLINE_ROLES: roles,
    LEDGERLINE_PARTITIONS: '2',
    LEDGERLINE_DRAIN_MS: '0',
    LEDGERLINE_STOP_GRACE_MS: '0',
    LEDGERLINE_TRACE_USERS: 'ann',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  })
  const [edge, other] = await Promise.all([start('edge', 'edge'), start('other', 'users,push,projections,ip-config')])
  return { ...collector, brokers: kafka.brokers, edge, other }
}

t.test('A trace goes on over the nodes of a cluster', {
  skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 240_000,
}, async t => {
  const { spans, brokers, edge, other } = await given(t)
  const { client } = await connected(t, edge, 'TCP', 'bob')
  const received = async () => {
    const { seq, messageId } = await client.next()
    client.send({ op: 'downlinkAck', seq: seq! })
    return messageId
  }
  /** Spans of a message, as `name of node`. */
  const namesOf = (messageId: string) => spans
    .filter(span => attributesOf(span)['messaging.message.id'] === messageId)
    .map(span => `${span.name} of ${attributesOf(span)['ledgerline.node']}`)
    .toSorted()
  // An edge is told by the node table who it is beside.
  await until('the other node knows the edge', async () =>
    ((await other.request('GET', '/v1/nodes')).json as { nodes: unknown[] }).nodes.length === 2)

  await t.test('from a request to the edge that delivers', async t => {
    const response = await fetch(`${other.http}/v1/downlinks`, {
      method: 'POST',
      headers: { authorization: 'Bearer the-key-of-a-test-node', 'content-type': 'application/json', traceparent },
      body: JSON.stringify({ messageId: 'm1', to: { userIds: ['bob'] }, payload: 'hi' }),
    })
    t.equal(response.status, 202)
    t.equal(await received(), 'm1')
    const wanted = [
      'downlink ack of edge', 'downlink deliver of edge', 'downlink request of other', 'ledger append of other',
    ]
    await until('all spans are there', () => namesOf('m1').length === wanted.length)
    t.strictSame(namesOf('m1'), wanted)
    t.ok(spans.every(span => span.traceId === traceId))
  })

  await t.test('from a record of the stream downlinks', async t => {
    const producer = outsideKafka(brokers).producer()
    await producer.connect()
    t.teardown(() => producer.disconnect())
    const value = Buffer.from(singleObjectFormat.encode(downlinks, {
      messageId: 'm2',
      userIds: ['bob'],
      service: '',
      payload: Buffer.from('hi'),
      ttlMs: 60_000,
      delivery: 'durable',
      platforms: [],
      exceptDevices: [],
      devices: [],
      app: '',
      receipts: true,
      offlineAfterMs: -1,
      replaces: '',
      roomId: '',
    }))
    await producer.send({ topic: `${topicPrefix}.downlinks`, messages: [{ key: 'bob', value, headers: { traceparent } }] })
    t.equal(await received(), 'm2')
    await until('all spans are there', () => namesOf('m2').length === 4)
    t.ok(spans.every(span => span.traceId === traceId))
  })

  await t.test('from an uplink to the record of the stream, whose header goes on with it', async t => {
    const { client: ann } = await connected(t, edge, 'TCP', 'ann')
    ann.sendAll(uplinks(1, 1))
    await ackedUpTo(ann, 1)
    const wanted = ['ledger append of edge', 'uplink of edge', 'uplink publish of other']
    await until('all spans are there', () => namesOf('ann/1').length === wanted.length)
    t.strictSame(namesOf('ann/1'), wanted)
    const root = spans.find(({ name }) => name === 'uplink')!
    const consumer = outsideKafka(brokers).consumer({ groupId: 'outside' })
    t.teardown(() => consumer.disconnect())
    await consumer.connect()
    await consumer.subscribe({ topic: `${topicPrefix}.uplinks`, fromBeginning: true })
    const header = await new Promise(resolve => {
      consumer.run({ async eachMessage ({ message }) { resolve(String(message.headers!['traceparent'])) } })
    })
    t.equal(header, traceparentOf('ann/1'))
    t.equal(header, `00-${root.traceId}-${root.spanId}-01`)
  })
})
