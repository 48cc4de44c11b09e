import { once } from 'node:events'
import { createServer } from 'node:http'
import t from 'tap'
import { traceparentOf } from '../../ledger/kafka/format.js'
import { hashOf } from '../../schemas/partitioning.js'
import { ackedUpTo, connected, uplinks } from './edge/dialects.js'
import { until } from './node.js'
import { attributesOf } from './tracing-collector.js'
import { apiKey, callerSpan, given, named, nanos, sampledByCaller, traceId } from './tracing-node.js'
import { secret, startReceiver } from './webhooks/receiver.js'

t.test('A downlink whose request is part of a sampled trace goes on with it', async t => {
  const { spans, resources, headers, node, push, stop, started } = await given(t, {
    OTEL_EXPORTER_OTLP_HEADERS: 'x-login=a%20secret', OTEL_SERVICE_NAME: 'chat',
  })
  const { client } = await connected(t, node, 'TCP', 'ann')
  await push('m1', `00-${traceId}-${callerSpan}-01`)
  const { seq } = await client.next()
  client.send({ op: 'downlinkAck', seq })
  await until('the ack has a span', () => named(spans, 'downlink ack'))
  const ofTrace = spans.filter(span => span.traceId === traceId)
  t.strictSame(ofTrace.map(({ name }) => name).toSorted(),
    ['downlink ack', 'downlink deliver', 'downlink request', 'ledger append'])

  const request = named(spans, 'downlink request')
  t.equal(request.parentSpanId, callerSpan, 'the caller\'s span has the request\'s in it')
  for (const name of ['ledger append', 'downlink deliver', 'downlink ack']) {
    t.equal(named(spans, name).parentSpanId, request.spanId, `and that has ${name}`)
    t.equal(attributesOf(named(spans, name))['messaging.message.id'], 'm1', name)
  }
  t.match(attributesOf(named(spans, 'downlink deliver')), { 'enduser.id': 'ann', 'ledgerline.seq': 1, 'ledgerline.node': 'n1' })
  t.match(attributesOf(named(spans, 'ledger append')), { 'ledgerline.position': /^\d+@\d+\.0$/ })
  const [startsAt, endsAt] = nanos(request)
  const [appendsAt, appendedAt] = nanos(named(spans, 'ledger append'))
  t.ok(startsAt <= appendsAt && appendsAt <= appendedAt && appendedAt <= endsAt, 'the request waits for the append')
  const [writtenAt, ackedAt] = nanos(named(spans, 'downlink ack'))
  t.equal(writtenAt, nanos(named(spans, 'downlink deliver'))[1], 'the ack begins where the delivery ends')
  t.ok(ackedAt >= writtenAt)
  t.match(resources[0], { 'service.name': 'chat', 'service.instance.id': 'n1' })
  t.equal(headers[0]!['x-login'], 'a secret')

  await t.test('others are not traced', async t => {
    await push('m2')
    await push('m3', `00-${traceId}-${callerSpan}-00`)
    await push('m4', 'no context')
    await push('m1', undefined, 'bob') // the same id: another message
    client.sendAll(uplinks(1, 3))
    for (let left = 3; left > 0;) if ((await client.next()).op === 'downlink') left--
    await stop()
    t.strictSame(spans.filter(span => attributesOf(span)['messaging.message.id'] !== 'm1'), [])
    t.equal(spans.filter(span => span.traceId === traceId).length, 4)
  })
  t.equal(started.lines.some(({ level }) => level >= 40), false, 'nothing went wrong')
})

t.test('Replies are traced: of a webhook by their user, of an ack in the trace of its request', async t => {
  const receiver = await startReceiver(t)
  receiver.answer = (_, response) => { response.writeHead(200).end('{"downlinks":[{"payload":"hi"}]}') }
  const webhook = { name: 'crm', url: receiver.url, secret, streams: ['uplinks'], users: ['ann'], reply: true }
  const { spans, node, stop } = await given(t, {
    LEDGERLINE_TRACE_USERS: 'ann', LEDGERLINE_WEBHOOKS: JSON.stringify([webhook]),
  })
  const { client } = await connected(t, node, 'TCP', 'ann')
  const { client: other } = await connected(t, node, 'TCP', 'bob')
  client.sendAll(uplinks(1, 1))
  await until('the reply of the webhook has a span', () => named(spans, 'downlink request'))
  const [ofWebhook] = spans.filter(({ name }) => name === 'downlink request')
  t.match(attributesOf(ofWebhook!)['messaging.message.id'], /^webhook\/crm\/msg_.*\/reply\/0$/)

  const response = await fetch(`${node.http}/v1/groups/orders/acks`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', traceparent: sampledByCaller },
    body: JSON.stringify({ cursors: ['x'], replies: [{ inReplyTo: 'bob/1', stream: 'uplinks', payload: 'hi' }] }),
  })
  t.equal(response.status, 200)
  t.match(await other.next(), { op: 'downlink', messageId: 'group/orders/uplinks/bob/1/reply/0' })
  await stop()
  const ofAck = spans.filter(span => span.traceId === traceId)
  t.strictSame(ofAck.map(({ name }) => name).toSorted(), ['downlink deliver', 'downlink request', 'ledger append'])
  t.equal(named(ofAck, 'downlink request').parentSpanId, callerSpan)
})

t.test('Messages of a chosen user are traced from end to end', async t => {
  const { spans, node, push, stop } = await given(t, { LEDGERLINE_TRACE_USERS: 'ann' })
  const { client } = await connected(t, node, 'TCP', 'ann')
  const { client: other } = await connected(t, node, 'TCP', 'bob')
  client.sendAll(uplinks(1, 2))
  other.sendAll(uplinks(1, 2))
  await Promise.all([ackedUpTo(client, 2), ackedUpTo(other, 2)])
  await push('m1')
  await push('m2', undefined, 'bob')
  client.send({ op: 'downlinkAck', seq: (await client.next()).seq! })
  await until('the ack has a span', () => named(spans, 'downlink ack'))
  await stop()

  t.test('an uplink from its append to its ack, in the trace that readers of the stream are told', async t => {
    for (const userSeq of [1, 2]) {
      const id = `ann/${userSeq}`
      const ofUplink = spans.filter(span => attributesOf(span)['messaging.message.id'] === id)
      const root = named(ofUplink, 'uplink')
      t.equal(`00-${root.traceId}-${root.spanId}-01`, traceparentOf(id))
      t.notOk(root.parentSpanId)
      t.strictSame(ofUplink.map(({ name }) => name).toSorted(), ['ledger append', 'uplink', 'uplink publish'])
      for (const name of ['ledger append', 'uplink publish']) t.equal(named(ofUplink, name).parentSpanId, root.spanId)
      const [startsAt, ackedAt] = nanos(root)
      const [appendsAt, storedAt] = nanos(named(ofUplink, 'ledger append'))
      t.ok(startsAt === appendsAt && storedAt <= ackedAt && appendsAt <= storedAt)
    }
  })

  t.test('a downlink in the trace that its id makes', async t => {
    const ofDownlink = spans.filter(span => attributesOf(span)['messaging.message.id'] === 'm1')
    const root = named(ofDownlink, 'downlink request')
    t.equal(`00-${root.traceId}-${root.spanId}-01`, traceparentOf('m1'))
    t.strictSame(ofDownlink.map(({ name }) => name).toSorted(),
      ['downlink ack', 'downlink deliver', 'downlink request', 'ledger append'])
  })

  t.test('and those of others are not', async t => {
    t.notOk(spans.some(span => ['m2', 'bob/1', 'bob/2'].includes(String(attributesOf(span)['messaging.message.id']))))
  })
})

t.test('A share of all messages is traced, the same ones by whichever node', async t => {
  const { spans, node, stop } = await given(t, { LEDGERLINE_TRACE_RATIO: '0.25' })
  const { client } = await connected(t, node, 'TCP', 'ann')
  client.sendAll(uplinks(1, 200))
  await ackedUpTo(client, 200)
  await stop()
  const traced = spans.filter(({ name }) => name === 'uplink').map(({ traceId }) => traceId)
  const all = Array.from({ length: 200 }, (_, i) => `ann/${i + 1}`)
  const drawn = all.filter(id => hashOf(id) >>> 0 < 2 ** 30).map(id => traceparentOf(id).slice(3, 35))
  t.strictSame(traced.toSorted(), drawn.toSorted())
  t.ok(traced.length > 25 && traced.length < 80, `${traced.length} of 200`)
})

t.test('The log names the trace of a request', async t => {
  const { node, started } = await given(t)
  const response = await fetch(`${node.http}/v1/bans`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      traceparent: `00-${traceId}-${callerSpan}-01`,
    },
    body: JSON.stringify({ userId: 'eve', banId: 'b1', reason: 'spam' }),
  })
  t.equal(response.status, 202)
  const line = await until('it is logged', () => started.lines.find(({ msg }) => msg === 'an operator asks'))
  t.match(line, { trace_id: traceId, span_id: callerSpan })
})

t.test('A collector that is away takes nothing from anybody', async t => {
  const { node, push, stop, started } = await given(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', LEDGERLINE_TRACE_RATIO: '1',
  })
  const { client } = await connected(t, node, 'TCP', 'ann')
  client.sendAll(uplinks(1, 100))
  await ackedUpTo(client, 100)
  await push('m1')
  t.equal((await client.next()).op, 'downlink')
  t.strictSame(await stop(), { code: 0, signal: null })
  t.equal(started.lines.some(({ level }) => level >= 50), false)
})

t.test('A collector that refuses is told of in the log once, and its spans are counted', async t => {
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(401).end('the login a secret is none')
  }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close(); server.closeAllConnections() })
  await once(server, 'listening')
  const { node, push, started } = await given(t, {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-login=a%20secret',
    LEDGERLINE_TRACE_RATIO: '1',
  })
  const lost = async () => {
    const response = await fetch(`${node.http}/metrics`, { headers: { authorization: `Bearer ${apiKey}` } })
    return Number(/^ledgerline_spans_lost_total (\d+)$/m.exec(await response.text())?.[1])
  }
  t.equal(await lost(), 0)
  await push('m1')
  await until('they are counted', async () => await lost() === 2)
  await push('m2')
  await until('and the next ones', async () => await lost() === 4)
  const told = started.lines.filter(({ level }) => level >= 40)
  t.match(told, [{ level: 40, lost: 2, reason: /401/ }])
  t.equal(told.length, 1)
  t.notMatch(JSON.stringify(told), 'a secret')
})
