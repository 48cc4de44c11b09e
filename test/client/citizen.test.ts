import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { GiveUp, TryLater, createClient, inMemory } from '../../client/node.js'
import type { ClientEvents, ReceivedDownlink } from '../../client/node.js'
import { givenClient, givenEdge, tokenUntil } from './given.js'

const downlink = (seq: number, text = `${seq}`) =>
  ({ op: 'downlink' as const, seq, messageId: `m${seq}`, service: '', payload: Buffer.from(text), requestedAtMs: 0 })

t.test('A client', async t => {
  t.test('says what state it is in', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url])
    t.equal(client.state, 'idle')
    client.connect()
    t.equal(client.state, 'connecting')
    const ready = client.ready()
    const peer = await edge.peer()
    await peer.accept()
    await ready
    t.equal(client.state, 'connected')
    const lost = client.once('disconnected')
    peer.send({ op: 'error', code: 'internal', message: '', retryAfterMs: 200 })
    peer.end()
    await lost
    t.equal(client.state, 'waiting')
    const again = client.once('connected')
    const second = await edge.peer()
    await second.accept()
    await again
    await client.ready()
    second.send({ op: 'kick', code: 'kicked', reason: 'out' })
    second.end()
    await t.rejects(client.once('missed'), { code: 'kicked', message: 'out' })
    t.equal(client.state, 'ended')
    await t.rejects(client.ready(), { code: 'kicked' })
    t.throws(() => client.connect(), { message: /this client has ended, kicked: out; make another one/ })
  })

  t.test('that is closed says so, and that it can not be connected again', async t => {
    const client = givenClient(t, ['tcp://127.0.0.1:1']).connect()
    const ended = client.once('disconnected')
    const ready = client.ready()
    const closed = client.close()
    t.equal(client.state, 'closed')
    t.match(await ended, { code: 'disconnected', reason: 'closed', willReconnect: false })
    await t.rejects(ready, { code: 'disconnected', message: 'closed' })
    await closed
    t.throws(() => client.connect(), { message: 'this client is closed; make another one with createClient' })
  })

  t.test('is closed, and not superseded, where a successor takes its storage over', async t => {
    const edge = await givenEdge(t)
    const takeOver: Array<() => void> = []
    const kept = inMemory()
    const storage = {
      ...kept,
      open: async (lost: () => void) => {
        takeOver.splice(0).forEach(lose => lose())
        takeOver.push(lost)
        await sleep(5)
        return await kept.open(lost)
      },
    }
    const first = givenClient(t, [edge.url], { storage }).connect()
    const ends: string[] = []
    first.on('disconnected', ({ code, reason }) => { ends.push(`${code}: ${reason}`) })
    first.on('kicked', ({ code }) => { ends.push(code) })
    const closed = first.close()
    const second = givenClient(t, [edge.url], { storage }).connect()
    const ready = second.ready()
    await (await edge.peer()).accept()
    await ready
    await closed
    t.strictSame(ends, ['disconnected: closed'])
  })

  t.test('calls a listener until it is stopped, and once where it is asked to', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url])
    const seen: string[] = []
    const stop = client.on('signal', () => { seen.push('on') })
    client.once('signal', () => { seen.push('once') })
    const [first, ready] = [client.once('signal'), client.ready()]
    client.connect()
    const peer = await edge.peer()
    await peer.accept()
    await ready
    const signal = { op: 'signal' as const, service: 's', payload: Buffer.from('{"a":1}'), roomId: '' }
    peer.send(signal)
    t.strictSame((await first).json(), { a: 1 })
    const second = client.once('signal')
    peer.send(signal)
    await second
    stop()
    const third = client.once('signal')
    peer.send(signal)
    await third
    t.strictSame(seen, ['on', 'once', 'on'])
  })

  t.test('refuses an event that there is not, and names the nearest', async t => {
    const client = givenClient(t, ['tcp://127.0.0.1:1'])
    for (const call of ['on', 'once', 'off'] as const) {
      t.throws(() => (client as any)[call]('donwlink', () => {}),
        { name: 'TypeError', message: '"donwlink" is no event. Did you mean "downlink"?' })
    }
    t.throws(() => client.on('connected', undefined as any), { name: 'TypeError' })
    await t.rejects((client as any).once('konnekted'), { message: '"konnekted" is no event. Did you mean "connected"?' })
  })

  t.test('takes no option that there is not: it would do nothing', async t => {
    const client = givenClient(t, ['tcp://127.0.0.1:1']) as any
    const room = client.room('lobby')
    for (const send of [
      client.send('x', { prio: 1 }), client.sendJson(1, { prio: 1 }), room.post('x', { prio: 1 }), room.postJson(1, { prio: 1 }),
    ]) await t.rejects(send, { name: 'TypeError', message: '"prio" is no option.' })
    await t.rejects(client.send('x', 'chat'), { name: 'TypeError' }, 'a service is no option either')
    await t.rejects(client.send('x', 5), { message: 'options: got 5, want an object' }, 'nor is a priority')
    t.throws(() => client.close(true), { message: 'options: got true, want an object' })
    t.throws(() => client.close({ endsession: true }), { message: '"endsession" is no option. Did you mean "endSession"?' })
  })

  const good = { endpoints: ['ws://a'], getToken: () => 't', deviceId: 'd' }
  for (const [options, message] of [
    [undefined, /^options: got undefined, want an object$/],
    [{ ...good, outboxmax: 1 }, /^"outboxmax" is no option. Did you mean "outboxMax"\?$/],
    [{ ...good, onMessage: 1 }, /^"onMessage" is no option.$/],
    [{ ...good, deviceId: 'half \ud83d' }, /^deviceId: got .*, want 1 to 256 bytes/],
    [{ ...good, deviceId: '😀'.repeat(65) }, /^deviceId: got .*, want 1 to 256 bytes/],
    [{ ...good, platform: 'x'.repeat(65) }, /^platform: got .*, want at most 64 bytes/],
    [{ ...good, client: 'x'.repeat(129) }, /^client: got .*, want at most 128 bytes/],
    [{ ...good, ack: 'never' }, /^ack: got "never", want auto or manual$/],
    [{ ...good, heartbeat: 'slow' }, /^heartbeat: got "slow", want dictated or adaptive$/],
    [{ ...good, handlerAttemptsMax: 0 }, /^handlerAttemptsMax: got 0, want an integer above 0$/],
    [{ ...good, storage: 'file' }, /^storage: got "file", want a storage/],
    [{ ...good, endpoints: 'http://a' }, /^URL: got "http:\/\/a", want ws/],
  ] as Array<[any, RegExp]>) {
    t.test(`is not made with ${message}`, async t => {
      t.throws(() => createClient(options), { name: 'TypeError', message })
    })
  }

  t.test('takes one endpoint as a text', async t => {
    const edge = await givenEdge(t)
    createClient({ endpoints: edge.url, getToken: () => 'a.b.c', deviceId: 'd' }).connect()
    const peer = await edge.peer()
    await peer.next('connect')
    peer.send({ op: 'kick', code: 'kicked', reason: '' })
  })
})

t.test('A send', async t => {
  t.test('is refused at once where it is no text and no bytes', async t => {
    const client = givenClient(t, ['tcp://127.0.0.1:1'])
    for (const payload of [{ a: 1 }, 42, null, undefined, [1], true, Symbol('s')] as any[]) {
      await t.rejects(client.send(payload), { name: 'TypeError', message: /^payload: got \w+, want a text or bytes/ })
    }
    await t.rejects(client.send('\ud83d'), { name: 'TypeError', message: /surrogate/ })
    for (const service of ['\udc00', 'x'.repeat(257), '😀'.repeat(65), 42] as any[]) {
      await t.rejects(client.send('a', { service }), { name: 'TypeError', message: /^service: want at most 256 bytes/ })
    }
    for (const priority of [2 ** 31, 0.5, NaN, '1'] as any[]) {
      await t.rejects(client.send('a', { priority }), { name: 'TypeError', message: /^priority: want an integer/ })
    }
    const cycle: any = {}
    cycle.self = cycle
    for (const value of [undefined, () => {}, cycle, 1n]) await t.rejects(client.sendJson(value), { name: 'TypeError' })
    t.equal(client.unackedUplinks, 0)
  })

  t.test('takes views and buffers, as they were at the call, and JSON', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const bytes = Uint8Array.from([1, 2, 3, 4])
    client.send(bytes.subarray(1, 3))
    client.send(bytes.buffer)
    client.send(new DataView(bytes.buffer, 2))
    client.send(Uint16Array.from([0x0201]))
    bytes.fill(0)
    client.sendJson({ a: '😀', b: '\ud83d' }, { service: 's' })
    const peer = await edge.peer()
    await peer.accept({ uplinkWindow: 10 })
    const sent: string[] = []
    for (let i = 0; i < 5; i++) sent.push(Buffer.from((await peer.next('uplink')).payload).toString('latin1'))
    t.strictSame(sent.slice(0, 4), ['\x02\x03', '\x01\x02\x03\x04', '\x03\x04', '\x01\x02'])
    t.equal(Buffer.from(sent[4]!, 'latin1').toString(), '{"a":"😀","b":"\\ud83d"}')
  })

  t.test('before the bound is known is rejected once it is, and neither the connection nor what is behind it is lost', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { storage: inMemory() }).connect()
    const outcomes = ['a', 'b'.repeat(2000), 'c', 'd'.repeat(2000), 'e'].map(text => client.send(text))
    const peer = await edge.peer()
    await peer.accept({ frameBytesMax: 1024 })
    for (const i of [1, 3]) await t.rejects(outcomes[i]!, { code: 'payload-too-large', message: /2007 bytes, and 1024/ })
    for (const [seq, text] of [[1, 'a'], [2, 'c'], [3, 'e']] as const) {
      t.match(await peer.next('uplink'), { seq, payload: Buffer.from(text) })
    }
    peer.send({ op: 'uplinkAck', seq: 3, userSeqs: [1, 2, 3] })
    t.match(await outcomes[4], { seq: 3, userSeq: 3 })
    t.equal(edge.count(), 1)
  })
})

t.test('A downlink', async t => {
  t.test('can be read as text and as JSON', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const next = client.once('downlink')
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1, '{"text":"příliš"}'))
    const received = await next
    t.equal(received.text(), '{"text":"příliš"}')
    t.strictSame(received.json(), { text: 'příliš' })
  })

  t.test('goes again only to the listener that failed at it', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const calls: string[] = []
    let isWorking = 0
    client.on('downlink', async () => {
      calls.push('slow')
      isWorking++
      await sleep(30)
      isWorking--
    })
    client.on('downlink', () => {
      calls.push('broken')
      if (calls.length === 2) throw new Error('once')
    })
    client.on('failed', () => { t.equal(isWorking, 0, 'and not before the others are through') })
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1))
    t.match(await peer.next('downlinkAck'), { seq: 1 })
    t.strictSame(calls, ['slow', 'broken', 'broken'])
  })

  t.test('that no handler can digest is skipped after five tries, the server is told, and the others come', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const seen: number[] = []
    const failed: Array<ClientEvents['failed']> = []
    client.on('downlink', ({ seq, json }) => {
      seen.push(seq)
      json()
    })
    client.on('failed', event => { failed.push(event) })
    const skipped = client.once('skipped')
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1, 'no JSON'), ...[2, 3, 4, 5, 6].map(seq => downlink(seq)))
    t.match(await skipped, { seq: 1, messageId: 'm1', error: { name: 'SyntaxError' } })
    const told: any[] = []
    do told.push(await peer.any())
    while (told.at(-1).seq !== 6)
    t.match(told[0], { op: 'downlinkSkipped', seq: 1, reason: /JSON/ }, 'and nothing was acked before')
    t.strictSame(seen, [1, 1, 1, 1, 1, 2, 3, 4, 5, 6])
    t.equal(failed.length, 4)
  })

  t.test('that is skipped while there is no connection is told as such on the next one, also by the next run', async t => {
    const edge = await givenEdge(t)
    const storage = inMemory()
    const options = { storage, handlerAttemptsMax: 1 }
    const first = givenClient(t, [edge.url], { ...options, random: () => 0.99 }) // it stays away until it is closed
    let fail = () => {}
    first.on('downlink', async ({ seq }) => {
      if (seq === 2) await new Promise((_resolve, reject) => { fail = () => reject(new Error('bad')) })
    })
    first.connect()
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1), downlink(2), downlink(3))
    await peer.next('downlinkAck')
    const lost = first.once('disconnected')
    peer.cut()
    await lost
    const skipped = first.once('skipped')
    fail()
    await skipped
    await sleep(5)
    await first.close()

    const second = givenClient(t, [edge.url], options)
    const seen: number[] = []
    second.on('downlink', ({ seq }) => { seen.push(seq) })
    second.connect()
    let again = await edge.peer()
    if ((await again.next('connect')).downlinkSeq !== 1) t.fail('it is not named as done with')
    again.cut() // before anything was said
    again = await edge.peer()
    t.match(await again.accept({ downlinkSeq: 1 }), { downlinkSeq: 1 })
    again.send(downlink(2), downlink(3), downlink(4))
    t.match(await again.next('downlinkSkipped'), { seq: 2, reason: 'bad' })
    t.match(await again.any(), { op: /downlinkAck|ping/ })
    again.send({ op: 'pong', uplinkSeq: 0 })
    while (!seen.includes(4)) await sleep(1)
    await second.close()
    t.strictSame([...(await storage.open(() => {})).keys()].filter(key => key.startsWith('skipped/')), [])
  })

  t.test('that was skipped comes again where an operator has it redelivered', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { handlerAttemptsMax: 1 })
    const seen: number[] = []
    client.on('downlink', ({ seq }) => {
      seen.push(seq)
      if (seq === 1) throw new Error('old version')
    })
    client.connect()
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1))
    await peer.next('downlinkSkipped')
    peer.send({ ...downlink(2), messageId: 'm1' })
    t.match(await peer.next('downlinkAck'), { seq: 2 })
    t.strictSame(seen, [1, 2])
  })

  t.test('is tried for ever where the application wants that', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { handlerAttemptsMax: Infinity })
    const tries: ReceivedDownlink[] = []
    client.on('downlink', each => {
      tries.push(each)
      if (tries.length < 20) throw new Error('not yet')
    })
    client.connect()
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1))
    t.match(await peer.next('downlinkAck'), { seq: 1 })
    t.equal(tries.length, 20)
  })
})

t.test('getToken', async t => {
  t.test('can say that there will be none', async t => {
    const client = givenClient(t, ['tcp://127.0.0.1:1'], { getToken: () => { throw new GiveUp('log in again') } })
    const ended = client.connect().once('disconnected')
    t.match(await ended, { code: 'no-token', reason: 'log in again', willReconnect: false })
    t.equal(client.state, 'ended')
  })

  t.test('can say when to ask again', async t => {
    const edge = await givenEdge(t)
    let asked = 0
    const client = givenClient(t, [edge.url], {
      getToken: () => {
        if (asked++ === 0) throw new TryLater('maintenance', 150)
        return 'a.b.c'
      },
    })
    const beforeMs = performance.now()
    await sleep(1) // a timer counts from the begin of its turn, which is now a later one
    const lost = client.connect().once('disconnected')
    t.match(await lost, { code: 'no-token', reason: 'maintenance', willReconnect: true, retryInMs: 150 })
    await edge.peer()
    t.ok(performance.now() - beforeMs >= 145)
  })

  t.test('is asked before the token expires, and the new one goes out on the open connection', async t => {
    const edge = await givenEdge(t)
    const nowMs = 1_700_000_000_000
    const asked: unknown[] = []
    givenClient(t, [edge.url], {
      getToken: request => {
        asked.push(request)
        return tokenUntil(nowMs / 1000 + 2 * asked.length)
      },
    }).connect()
    const peer = await edge.peer()
    await peer.accept({ serverTimeMs: nowMs }) // whatever our own clock says
    t.match(await peer.next('token'), { token: tokenUntil(nowMs / 1000 + 4) })
    peer.send({ op: 'tokenAccepted', expiresAtMs: nowMs + 4_000 })
    t.match(await peer.next('token'), { token: tokenUntil(nowMs / 1000 + 6) })
    t.equal(edge.count(), 1)
    t.strictSame(asked, [{ isExpired: false }, { isExpired: true }, { isExpired: true }], 'a cached one will not do')
  })
})
