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

/** One node has the sockets, one is asked, and one has everything else, so that every trace crosses between them. */
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
  const [edge, other, asked] = await Promise.all([
    start('edge', 'edge'), start('other', 'users,projections,ip-config'), start('asked', 'push'),
  ])
  return { ...collector, brokers: kafka.brokers, edge, other, asked }
}

t.test('A trace goes on over the nodes of a cluster', {
  skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 240_000,
}, async t => {
  const { spans, brokers, edge, other, asked } = await given(t)
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
  for (const node of [other, asked]) {
    await until('it knows the others', async () =>
      ((await node.request('GET', '/v1/nodes')).json as { nodes: unknown[] }).nodes.length === 3)
  }

  const ask = async (path: string, body: object): Promise<void> => {
    const response = await fetch(asked.http + path, {
      method: 'POST',
      headers: { authorization: 'Bearer the-key-of-a-test-node', 'content-type': 'application/json', traceparent },
      body: JSON.stringify(body),
    })
    t.equal(response.status, 202)
  }
  const ofPost = [
    'post deliver of edge', 'post publish of other', 'post request of asked', 'room append of asked',
  ]

  await t.test('from a request to the edge that delivers', async t => {
    await ask('/v1/downlinks', { messageId: 'm1', to: { userIds: ['bob'] }, payload: 'hi' })
    t.equal(await received(), 'm1')
    const wanted = [
      'downlink ack of edge', 'downlink deliver of edge', 'downlink request of asked', 'ledger append of asked',
    ]
    await until('all spans are there', () => namesOf('m1').length === wanted.length)
    t.strictSame(namesOf('m1'), wanted)
    t.ok(spans.every(span => span.traceId === traceId))
  })

  await t.test('from a post over the owner of the room to the edge of its members', async t => {
    const token = await edge.token('cy', { rooms: { '*': 'rw' } })
    const { client: cy } = await connected(t, edge, 'TCP', 'cy', { token })
    cy.send({ op: 'join', roomId: 'chat', roomSeq: -1 })
    t.match(await cy.next(), { op: 'joined' })
    await ask('/v1/rooms/chat/posts', { messageId: 'p1', payload: 'hi' })
    t.match(await cy.next(), { op: 'post', messageId: 'p1' })
    await until('all spans are there', () => namesOf('p1').length === ofPost.length)
    t.strictSame(namesOf('p1'), ofPost)
    t.ok(spans.every(span => span.traceId === traceId))
  })

  await t.test('from a broadcast to each edge', async t => {
    await ask('/v1/broadcasts', { messageId: 'b1', payload: 'all' })
    t.match(await client.next(), { op: 'signal' })
    const wanted = ['broadcast append of asked', 'broadcast deliver of edge', 'broadcast request of asked']
    await until('all spans are there', () => namesOf('b1').length === wanted.length)
    t.strictSame(namesOf('b1'), wanted)
    t.ok(spans.every(span => span.traceId === traceId))
  })

  await t.test('from records of the stream downlinks', async t => {
    const producer = outsideKafka(brokers).producer()
    await producer.connect()
    t.teardown(() => producer.disconnect())
    const record = (messageId: string, roomId: string) => Buffer.from(singleObjectFormat.encode(downlinks, {
      messageId,
      userIds: roomId === '' ? ['bob'] : [],
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
      roomId,
    }))
    const messages = [record('m2', ''), record('p2', 'chat')].map(value => ({ key: 'bob', value, headers: { traceparent } }))
    await producer.send({ topic: `${topicPrefix}.downlinks`, messages })
    t.equal(await received(), 'm2')
    await until('all spans are there', () => namesOf('m2').length === 4 && namesOf('p2').length === ofPost.length)
    t.strictSame(namesOf('p2'), ofPost)
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
