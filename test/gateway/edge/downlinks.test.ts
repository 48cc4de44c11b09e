import t from 'tap'
import { startTestNode, until } from '../node.js'
import { alive, connected, dialects, type Speaker, TcpSpeaker, uplinks } from './dialects.js'
import { factsOf } from './facts.js'
import { type Heard } from './hand-avro.js'

for (const dialect of dialects) {
  t.test(`A downlink over ${dialect}`, async t => {
    const node = await startTestNode(t)

    t.test('comes with its service, its id and the time of its request', async t => {
      const before = Date.now()
      const { client } = await connected(t, node, dialect, 'one')
      await node.push('one', 'hi', { messageId: 'm-1', service: 'chat' })
      const { requestedAtMs, ...rest } = await client.next()
      t.strictSame(rest, { op: 'downlink', seq: 1, messageId: 'm-1', service: 'chat', payload: 'hi' })
      t.ok(requestedAtMs >= before && requestedAtMs <= Date.now())
    })

    t.test('comes once for one messageId', async t => {
      const { client } = await connected(t, node, dialect, 'idempotent')
      for (let times = 0; times < 3; times++) await node.push('idempotent', 'hi', { messageId: 'm-2' })
      t.match(await client.next(), { op: 'downlink', seq: 1 })
      await node.push('idempotent', 'next')
      t.match(await client.next(), { op: 'downlink', seq: 2, payload: 'next' })
    })

    for (const how of ['downlinkAck', 'ping'] as const) {
      t.test(`is done with when a ${how} acks it`, async t => {
        const userId = `acked-by-${how}`
        const { client } = await connected(t, node, dialect, userId)
        for (const payload of ['1', '2', '3']) await node.push(userId, payload)
        for (const seq of [1, 2, 3]) t.match(await client.next(), { seq })
        client.send(how === 'ping' ? { op: how, downlinkSeq: 2 } : { op: how, seq: 2 })
        if (how === 'ping') t.equal((await client.next()).op, 'pong')
        await alive(t, client)
        await node.gone(() => { client.destroy() })
        // It knows less than it acked: what it acked is gone for good and no gap of ours, so nothing was missed.
        const { client: again, welcome } = await connected(t, node, dialect, userId, { downlinkSeq: 0 })
        t.match(welcome, { downlinkSeq: 2, missed: 0 })
        t.match(await again.next(), { op: 'downlink', seq: 3 })
      })
    }

    t.test('that the application skips is done with, and so is what came before it', async t => {
      const userId = 'skips'
      const { client } = await connected(t, node, dialect, userId)
      for (const payload of ['1', '2', '3']) await node.push(userId, payload, { messageId: `m${payload}` })
      for (const seq of [1, 2, 3]) t.match(await client.next(), { seq })
      client.send({ op: 'downlinkSkipped', seq: 2, reason: '\u00e9'.repeat(200) })
      client.send({ op: 'downlinkSkipped', seq: 2, reason: 'again' })
      await alive(t, client)
      const skips = async () => (await factsOf(node, userId)).filter(({ type }) => type === 'DownlinkSkipped')
      await until('it is recorded', async () => (await skips()).length > 0)
      await node.gone(() => { client.destroy() })
      t.match(await skips(), [{ seq: 2, reason: '\u00e9'.repeat(128) }], 'once, its reason cut to 256 bytes')
      t.equal((await skips()).length, 1)
      const { client: again, welcome } = await connected(t, node, dialect, userId, { downlinkSeq: 2 })
      t.match(welcome, { downlinkSeq: 2, missed: 0 })
      t.match(await again.next(), { op: 'downlink', seq: 3 })
      again.send({ op: 'downlinkSkipped', seq: 3, reason: 'x' })
      await node.gone(() => { again.send({ op: 'disconnect', endSession: false }) })
      await until('it is recorded, also right before its end', async () => {
        const { json } = await node.request('GET', `/v1/users/${userId}/trace?messageId=m3`)
        return (json as { verdict: { code: string } }).verdict.code === 'skipped'
      })
    })

    for (const seq of [2, 0, -1]) {
      t.test(`that is skipped as ${seq}, which was never sent, ends the connection with protocol`, async t => {
        const userId = `skips ${seq}`
        const { client } = await connected(t, node, dialect, userId)
        await node.push(userId, '1')
        t.match(await client.next(), { seq: 1 })
        client.send({ op: 'downlinkSkipped', seq, reason: '' })
        t.match(await client.next(), { op: 'error', code: 'protocol' })
      })
    }

    t.test('waits for a user who has never been here', async t => {
      for (const payload of ['a', 'b']) await node.push('stranger', payload)
      const { client, welcome } = await connected(t, node, dialect, 'stranger')
      t.match(welcome, { resumed: false, downlinkSeq: 0, missed: 0 })
      t.match(await client.next(), { seq: 1, payload: 'a' })
      t.match(await client.next(), { seq: 2, payload: 'b' })
    })

    t.test('has a number of its own on each device', async t => {
      const { client: phone } = await connected(t, node, dialect, 'both')
      await node.push('both', 'phone only')
      t.match(await phone.next(), { seq: 1 })
      const { client: tablet } = await connected(t, node, dialect, 'both', { deviceId: 'tablet', sessionId: 's2' })
      await node.push('both', 'both')
      t.match(await phone.next(), { seq: 2, payload: 'both' })
      t.match(await tablet.next(), { seq: 1, payload: 'both' })
    })

    t.test('that expired is announced as missed, once, and before the next one', async t => {
      const { client: first } = await connected(t, node, dialect, 'late')
      await node.gone(() => { first.destroy() })
      for (let i = 0; i < 3; i++) await node.push('late', 'too late', { ttlMs: 1 })
      await new Promise(resolve => setTimeout(resolve, 20))
      await node.push('late', 'in time')

      const { client, welcome } = await connected(t, node, dialect, 'late')
      t.match(welcome, { resumed: true, downlinkSeq: 0, missed: 3 })
      t.match(await client.next(), { op: 'downlink', seq: 1, payload: 'in time' })
      client.send({ op: 'downlinkAck', seq: 1 })
      await alive(t, client)
      await node.gone(() => { client.destroy() })
      const { welcome: third } = await connected(t, node, dialect, 'late', { downlinkSeq: 1 })
      t.match(third, { downlinkSeq: 1, missed: 0 })
    })

    t.test('that was sent, not acked and then expired is announced too', async t => {
      const { client: first } = await connected(t, node, dialect, 'unacked')
      for (let i = 0; i < 2; i++) await node.push('unacked', 'soon gone', { ttlMs: 1_500 })
      for (const seq of [1, 2]) t.match(await first.next(), { seq })
      await node.gone(() => { first.destroy() })
      await new Promise(resolve => setTimeout(resolve, 1_520))
      const { client, welcome } = await connected(t, node, dialect, 'unacked')
      t.match(welcome, { downlinkSeq: 2, missed: 2 })
      await node.push('unacked', 'next')
      t.match(await client.next(), { seq: 3, payload: 'next' })
    })

    t.test('is announced as missed again to a client that was never heard of after connected', async t => {
      const { client: first } = await connected(t, node, dialect, 'deaf')
      await node.gone(() => { first.destroy() })
      await node.push('deaf', 'too late', { ttlMs: 1 })
      await new Promise(resolve => setTimeout(resolve, 20))
      // Uplinks sent behind connect do not show that its answer was read.
      const { client, welcome } = await connected(t, node, dialect, 'deaf', {}, uplinks(1, 3))
      t.equal(welcome.missed, 1)
      await node.gone(() => { reset(client) })
      const { welcome: third, client: last } = await connected(t, node, dialect, 'deaf')
      t.equal(third.missed, 1)
      await alive(t, last)
      await node.gone(() => { reset(last) })
      t.equal((await connected(t, node, dialect, 'deaf')).welcome.missed, 0)
    })

    t.test('that a slow client does not read costs it the connection, and nothing is skipped', async t => {
      const { client: slow } = await connected(t, node, dialect, 'slow')
      pause(slow)
      const before = await node.closed('slow-consumer')
      let sent = 0
      await until('the client is too slow', async () => {
        for (let i = 0; i < 20; i++) await node.push('slow', `${++sent} ${'x'.repeat(50_000)}`)
        return await node.closed('slow-consumer') > before
      })
      resume(slow)
      const { left } = await slow.closed()
      let read = 0
      for (const frame of left) {
        if (frame.op === 'downlink') t.equal(frame.seq, ++read)
        else t.equal(frame.code, 'slow-consumer')
      }
      t.ok(read < sent, 'it was cut off before the end')

      const { client, welcome } = await connected(t, node, dialect, 'slow', { downlinkSeq: read })
      t.match(welcome, { resumed: true, downlinkSeq: read, missed: 0 })
      for (let seq = read + 1; seq <= sent; seq++) {
        const frame: Heard = await client.next()
        t.equal(frame.seq, seq)
        t.ok(frame.payload.startsWith(`${seq} `))
        client.send({ op: 'downlinkAck', seq })
      }
      await alive(t, client)
    })

    t.test('leaves nothing in the log', async t => { t.strictSame(node.logged, []) })
  })
}

function socketOf (client: Speaker) {
  if (client instanceof TcpSpeaker) return client.client.socket
  return (client as unknown as { client: { ws: { _socket: import('node:net').Socket } } }).client.ws._socket
}

function pause (client: Speaker): void { socketOf(client).pause() }
function resume (client: Speaker): void { socketOf(client).resume() }
/** A connection that breaks, not one that ends. */
function reset (client: Speaker): void { socketOf(client).resetAndDestroy() }
