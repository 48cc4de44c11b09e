import t, { type Test } from 'tap'
import { traceparentOf } from '../../ledger/kafka/format.js'
import { ackedUpTo, connected } from './edge/dialects.js'
import { until } from './node.js'
import { attributesOf, type OtlpSpan } from './tracing-collector.js'
import { callerSpan, given, named, nanos, sampledByCaller, traceId } from './tracing-node.js'

const room = '/v1/rooms/chat/posts'

/** A node, and two members of a room on it. */
async function givenRoom (t: Test, env: Record<string, string> = {}) {
  const world = await given(t, env)
  const member = async (userId: string) => {
    const { client } = await connected(t, world.node, 'WebSocket JSON', userId, {
      token: await world.node.token(userId, { rooms: { '*': 'rw' } }),
    })
    client.send({ op: 'join', roomId: 'chat', roomSeq: -1 })
    t.match(await client.next(), { op: 'joined' })
    return client
  }
  return { ...world, ann: await member('ann'), bob: await member('bob') }
}

const of = (spans: readonly OtlpSpan[], messageId: string) =>
  spans.filter(span => attributesOf(span)['messaging.message.id'] === messageId)
const namesOf = (spans: readonly OtlpSpan[]) => spans.map(({ name }) => name).toSorted()

t.test('A post whose request is part of a sampled trace goes on with it', async t => {
  const { spans, ask, ann, bob, stop, started } = await givenRoom(t)
  await ask(room, { messageId: 'm1', payload: 'hi', service: 'chat' }, sampledByCaller)
  for (const client of [ann, bob]) t.match(await client.next(), { op: 'post', messageId: 'm1' })
  await until('the delivery has a span', () => named(spans, 'post deliver'))
  const ofPost = of(spans, 'm1')
  t.strictSame(namesOf(ofPost), ['post deliver', 'post publish', 'post request', 'room append'])
  t.ok(ofPost.every(span => span.traceId === traceId))

  const request = named(spans, 'post request')
  t.equal(request.parentSpanId, callerSpan, 'the caller\'s span has the request\'s in it')
  for (const name of ['room append', 'post publish', 'post deliver']) {
    t.equal(named(spans, name).parentSpanId, request.spanId, `and that has ${name}`)
  }
  t.match(attributesOf(request), { 'ledgerline.room': 'chat', 'ledgerline.service': 'chat', 'ledgerline.queued': 1 })
  t.match(attributesOf(named(spans, 'room append')), { 'messaging.destination.name': 'rooms', 'ledgerline.position': /@/ })
  t.match(attributesOf(named(spans, 'post publish')), { 'messaging.destination.name': 'posts' })
  t.match(attributesOf(named(spans, 'post deliver')), {
    'ledgerline.room': 'chat', 'ledgerline.seq': 1, 'ledgerline.members': 2, 'ledgerline.node': 'n1',
  })
  const [appendsAt] = nanos(named(spans, 'room append'))
  t.ok(nanos(named(spans, 'post deliver'))[1] >= appendsAt, 'members have it after that')

  await t.test('others are not traced', async t => {
    await ask(room, { messageId: 'm2', payload: 'hi' })
    await ask('/v1/rooms/other/posts', { messageId: 'm1', payload: 'hi' }) // the same id: another message
    ann.send({ op: 'uplink', seq: 1, roomId: 'chat', payload: 'up' })
    for (let left = 2; left > 0;) if ((await bob.next()).op === 'post') left--
    await stop()
    t.equal(spans.length, 4)
  })
  t.equal(started.lines.some(({ level }) => level >= 40), false, 'nothing went wrong')
})

t.test('A post of a chosen user is part of the trace of its uplink', async t => {
  const { spans, ann, bob, stop } = await givenRoom(t, { LEDGERLINE_TRACE_USERS: 'ann' })
  ann.send({ op: 'uplink', seq: 1, roomId: 'chat', payload: 'up' })
  await ackedUpTo(ann, 1)
  bob.send({ op: 'uplink', seq: 1, roomId: 'chat', payload: 'up' })
  for (let left = 2; left > 0;) if ((await bob.next()).op === 'post') left--
  await until('the delivery has a span', () => named(spans, 'post deliver'))
  await stop()
  const root = named(spans, 'uplink')
  t.equal(`00-${root.traceId}-${root.spanId}-01`, traceparentOf('ann/1'))
  t.strictSame(namesOf(spans), ['ledger append', 'post deliver', 'post publish', 'room append', 'uplink', 'uplink publish'])
  t.ok(spans.every(span => span === root || (span.traceId === root.traceId && span.parentSpanId === root.spanId)))
})

t.test('A broadcast goes on with the trace of its request until the edge is done with it', async t => {
  const { spans, ask, ann, bob, stop } = await givenRoom(t)
  await ask('/v1/broadcasts', { messageId: 'b1', payload: 'all', service: 'news' }, sampledByCaller)
  for (const client of [ann, bob]) t.match(await client.next(), { op: 'signal', service: 'news' })
  await until('its end has a span', () => named(spans, 'broadcast deliver'))
  await ask('/v1/broadcasts', { messageId: 'b2', payload: 'all' })
  for (const client of [ann, bob]) t.match(await client.next(), { op: 'signal' })
  await stop()
  t.strictSame(namesOf(spans), ['broadcast append', 'broadcast deliver', 'broadcast request'])
  const request = named(spans, 'broadcast request')
  t.match(request, { traceId, parentSpanId: callerSpan })
  for (const name of ['broadcast append', 'broadcast deliver']) {
    t.match(named(spans, name), { traceId, parentSpanId: request.spanId })
  }
  t.match(attributesOf(named(spans, 'broadcast deliver')), {
    'messaging.message.id': 'b1', 'ledgerline.state': 'done', 'ledgerline.sent': 2, 'ledgerline.slow': 0, 'ledgerline.left': 0,
  })
})

t.test('A share of all posts and broadcasts is traced by their ids', async t => {
  const { spans, ask, ann, stop } = await givenRoom(t, { LEDGERLINE_TRACE_RATIO: '1' })
  await ask(room, { messageId: 'm1', payload: 'hi' })
  t.match(await ann.next(), { op: 'post' })
  await ask('/v1/broadcasts', { messageId: 'b1', payload: 'all' })
  t.match(await ann.next(), { op: 'signal' })
  await until('both are delivered', () => named(spans, 'post deliver') && named(spans, 'broadcast deliver'))
  await stop()
  for (const [messageId, name] of [['m1', 'post request'], ['b1', 'broadcast request']] as const) {
    const root = named(of(spans, messageId), name)
    t.equal(`00-${root.traceId}-${root.spanId}-01`, traceparentOf(messageId))
    t.notOk(root.parentSpanId)
    t.equal(of(spans, messageId).length, messageId === 'm1' ? 4 : 3)
  }
})
