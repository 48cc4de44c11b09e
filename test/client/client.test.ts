import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Client } from '../../client/client.js'
import { type ClientEvents, inMemory } from '../../client/node.js'
import { openTcp } from '../../client/transport-tcp.js'
import { recallService } from '../../schemas/text.js'
import { connected, givenClient, givenEdge, tokenUntil } from './given.js'

const accepted = { op: 'uplinkAck' as const }
const downlink = (seq: number) =>
  ({ op: 'downlink' as const, seq, messageId: `m${seq}`, service: '', payload: Buffer.from(`${seq}`), requestedAtMs: 0 })

t.test('A client', async t => {
  t.test('says who it is, and sends what waits once it is connected', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { platform: 'ios', client: 'app/1' }).connect()
    const sent = client.send('hi', { service: 'chat', priority: 2 })
    const peer = await edge.peer()
    t.match(await peer.accept(),
      { token: 'token', deviceId: 'phone', platform: 'ios', client: 'app/1', sessionId: /^.{36}$/, downlinkSeq: 0 })
    t.match(await peer.next('uplink'), { seq: 1, service: 'chat', payload: Buffer.from('hi'), priority: 2 })
    peer.send({ ...accepted, seq: 1, userSeqs: [7] })
    t.strictSame(await sent, { seq: 1, userSeq: 7 })
  })

  t.test('has no more than the window unacked', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    for (let i = 1; i <= 6; i++) client.send(`${i}`).catch(() => {})
    const peer = await edge.peer()
    await peer.accept({ uplinkWindow: 4 })
    t.strictSame(await peer.nextSeqs(4), [1, 2, 3, 4])
    peer.send({ ...accepted, seq: 2, userSeqs: [1, 2] })
    t.strictSame(await peer.nextSeqs(2), [5, 6])
  })

  t.test('comes back with the same session and sends again what was not accepted', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const sends = [client.send('1'), client.send('2'), client.send('3')]
    const first = await edge.peer()
    const { sessionId } = await first.accept()
    await first.nextSeqs(3)
    first.cut()
    const second = await edge.peer()
    t.equal((await second.accept({ resumed: true, uplinkSeq: 2 })).sessionId, sessionId)
    t.strictSame(await second.nextSeqs(1), [3])
    second.send({ ...accepted, seq: 3, userSeqs: [3] })
    t.strictSame((await Promise.all(sends)).map(each => each.seq), [1, 2, 3])
  })

  t.test('waits after a refusal and sends again from the expected seq', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const refused: Array<ClientEvents['refused']> = []
    client.on('refused', event => refused.push(event))
    for (let i = 1; i <= 3; i++) client.send(`${i}`).catch(() => {})
    const peer = await edge.peer()
    await peer.accept()
    await peer.nextSeqs(3)
    peer.send(
      { ...accepted, seq: 1, userSeqs: [1] },
      { op: 'uplinkRefused', expectedSeq: 2, code: 'ledger-unavailable', retryAfterMs: 120 },
      { op: 'uplinkRefused', expectedSeq: 2, code: 'ledger-unavailable', retryAfterMs: 120 })
    const beforeMs = performance.now()
    t.strictSame(await peer.nextSeqs(2), [2, 3])
    t.ok(performance.now() - beforeMs >= 110)
    t.strictSame(refused, [{ expectedSeq: 2, code: 'ledger-unavailable', waitMs: 120 }])
  })

  t.test('begins a new session where the server lost the old one', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const first = await edge.peer()
    const { sessionId } = await first.accept()
    const sent = client.send('1')
    await first.nextSeqs(1)
    first.send({ ...accepted, seq: 1, userSeqs: [1] })
    await sent
    client.send('2').catch(() => {})
    await first.nextSeqs(1)
    first.cut()
    await (await edge.peer()).accept({ uplinkSeq: 0 })
    const third = await edge.peer()
    t.not((await third.accept()).sessionId, sessionId)
    t.match(await third.next('uplink'), { seq: 1, payload: Buffer.from('2') })
  })

  t.test('acks a downlink once its listener is done', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const begun = new Promise<() => void>(resolve => {
      client.on('downlink', async () => await new Promise<void>(_resolve => { resolve(_resolve) }))
    })
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1))
    const acked = peer.next('downlinkAck')
    const done = await begun
    t.equal(await Promise.race([acked, sleep(50, 'nothing')]), 'nothing')
    done()
    t.match(await acked, { seq: 1 })
  })

  t.test('acks many downlinks with few frames, for each counts against its rate', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    client.on('downlink', () => {})
    const peer = await edge.peer()
    await peer.accept()
    for (let seq = 1; seq <= 200; seq++) {
      peer.send(downlink(seq))
      await new Promise(resolve => setImmediate(resolve))
    }
    let acks = 1
    while ((await peer.next('downlinkAck')).seq < 200) acks++
    t.ok(acks < 100, `${acks} acks`)
  })

  t.test('keeps downlinks until somebody listens', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1), { op: 'signal', service: 's', payload: Buffer.from('x'), roomId: '' })
    await new Promise(resolve => client.on('signal', resolve))
    const payloads: string[] = []
    client.on('downlink', ({ payload }) => payloads.push(Buffer.from(payload).toString()))
    t.match(await peer.next('downlinkAck'), { seq: 1 })
    t.strictSame(payloads, ['1'])
  })

  for (const ack of ['auto', 'manual'] as const) {
    t.test(`tells that a downlink was taken back, and acks that itself, where acks are ${ack}`, async t => {
      const edge = await givenEdge(t)
      const client = givenClient(t, [edge.url], { ack }).connect()
      const peer = await edge.peer()
      await peer.accept()
      peer.send({ ...downlink(1), service: 'ledgerline.recall', payload: Buffer.from('m0') }, downlink(2))
      const told: string[] = []
      client.on('recall', ({ messageId }) => { told.push(messageId) })
      t.match(await peer.next('downlinkAck'), { seq: 1 })
      client.on('downlink', downlink => {
        told.push(downlink.messageId)
        downlink.ack()
      })
      t.match(await peer.next('downlinkAck'), { seq: 2 })
      t.strictSame(told, ['m0', 'm2'])
    })
  }

  t.test('acks a recall that no listener wants, once somebody listens for downlinks', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const peer = await edge.peer()
    await peer.accept()
    peer.send({ ...downlink(1), service: 'ledgerline.recall', payload: Buffer.from('m0') })
    const told: string[] = []
    client.on('downlink', ({ messageId }) => { told.push(messageId) })
    t.match(await peer.next('downlinkAck'), { seq: 1 })
    t.strictSame(told, [])
  })

  t.test('gets the downlink again at which a listener failed', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const seen: number[] = []
    const failed: Array<ClientEvents['failed']> = []
    client.on('failed', event => failed.push(event))
    client.on('downlink', ({ seq }) => {
      seen.push(seq)
      if (seen.length === 2) throw new Error('broken')
    })
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1), downlink(2))
    while ((await peer.next('downlinkAck')).seq < 2);
    t.strictSame(seen, [1, 2, 2])
    t.match(failed, [{ seq: 2, messageId: 'm2', error: { message: 'broken' }, retryInMs: 0 }])
  })

  t.test('tells what it missed also where its session is not taken for its own', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const missed = new Promise(resolve => client.on('missed', resolve))
    await (await edge.peer()).accept({ missed: 2, downlinkSeq: 2, uplinkSeq: 7 })
    t.strictSame(await missed, { count: 2 })
  })

  t.test('tells what it missed', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const missed = new Promise(resolve => client.on('missed', resolve))
    await (await edge.peer()).accept({ missed: 3, downlinkSeq: 3 })
    t.strictSame(await missed, { count: 3 })
  })

  t.test('pings when it has nothing to say', async t => {
    const edge = await givenEdge(t)
    givenClient(t, [edge.url]).connect()
    const peer = await edge.peer()
    await peer.accept({ heartbeatMs: 30, downlinkSeq: 4 })
    t.match(await peer.next('ping'), { downlinkSeq: 4 })
    peer.send({ op: 'pong', uplinkSeq: 0 })
    await peer.next('ping')
  })

  t.test('ends when it is kicked, and fails what waits', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const kicked = new Promise(resolve => client.on('kicked', resolve))
    const ended = new Promise(resolve => client.on('disconnected', resolve))
    const sent = client.send('1')
    const peer = await edge.peer()
    await peer.accept()
    peer.send({ op: 'kick', code: 'superseded', reason: 'newer' })
    peer.end()
    await t.rejects(sent, { code: 'superseded' })
    t.strictSame(await kicked, { code: 'superseded', reason: 'newer', willReconnect: false })
    t.strictSame(await ended, { code: 'superseded', reason: 'newer', willReconnect: false, retryInMs: 0 })
    await t.rejects(client.send('2'), { code: 'disconnected' })
    await sleep(20)
    t.equal(edge.count(), 1)
  })

  for (const [code, willReconnect] of [['bad-token', false], ['protocol', false], ['slow-consumer', true],
    ['token-expired', true], ['from-the-future', true]] as const) {
    t.test(`${willReconnect ? 'comes back' : 'stays away'} after ${code}`, async t => {
      const edge = await givenEdge(t)
      const client = givenClient(t, [edge.url], { getToken: () => tokenUntil(2_000_000_000) }).connect()
      const ended = new Promise(resolve => client.on('disconnected', resolve))
      const peer = await edge.peer()
      await peer.accept()
      peer.send({ op: 'error', code, message: 'why', retryAfterMs: 0 })
      peer.end()
      t.match(await ended, { code, reason: 'why', willReconnect })
      if (willReconnect) await edge.peer()
    })
  }

  t.test('asks for a token before each attempt', async t => {
    const edge = await givenEdge(t)
    let count = 0
    givenClient(t, [edge.url], { getToken: async () => `token ${++count}` }).connect()
    const first = await edge.peer()
    t.equal((await first.accept()).token, 'token 1')
    first.cut()
    t.equal((await (await edge.peer()).accept()).token, 'token 2')
  })

  t.test('waits longer after each attempt that failed, and after a connection that did not last', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { random: () => 0.05 }).connect()
    const waits: number[] = []
    client.on('disconnected', ({ retryInMs }) => waits.push(retryInMs))
    for (let i = 0; i < 3; i++) (await edge.peer()).cut()
    const peer = await edge.peer()
    const isConnected = new Promise(resolve => client.on('connected', resolve))
    await peer.accept()
    await isConnected
    peer.cut()
    await edge.peer()
    t.strictSame(waits, [50, 100, 200, 400])
  })

  t.test('tries the next endpoint each time', async t => {
    const edges = [await givenEdge(t), await givenEdge(t)]
    givenClient(t, edges.map(edge => edge.url)).connect()
    for (const i of [0, 1, 0]) (await edges[i]!.peer()).cut()
  })

  t.test('goes where a redirect sends it', async t => {
    const [full, other] = [await givenEdge(t), await givenEdge(t)]
    // it would wait for most of a second otherwise
    const client = givenClient(t, [full.url], { random: () => 0.99 }).connect()
    const lost = client.once('disconnected')
    const peer = await full.peer()
    await peer.next('connect')
    peer.send({ op: 'redirect', endpoints: [other.url], retryAfterMs: 60_000, code: 'redirected' })
    peer.end()
    t.match(await lost, { code: 'redirected', retryInMs: 0 })
    await (await other.peer()).accept()
  })

  t.test('follows three redirects in a row, and waits then', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { random: () => 0.05 }).connect()
    const waits: number[] = []
    client.on('disconnected', ({ retryInMs }) => waits.push(retryInMs))
    for (let i = 0; i < 5; i++) {
      const peer = await edge.peer()
      await peer.next('connect')
      peer.send({ op: 'redirect', endpoints: [edge.url], retryAfterMs: 70, code: 'redirected' })
      peer.end()
    }
    await edge.peer()
    t.strictSame(waits.map(waitMs => waitMs > 0), [false, false, false, true, true])
  })

  t.test('tries at once when it is told that the network changed', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { random: () => 0.99 }).connect()
    const first = await edge.peer()
    const lost = new Promise(resolve => client.on('disconnected', resolve))
    first.cut()
    await lost
    t.equal(client.state, 'waiting')
    client.networkChanged()
    t.equal(client.state, 'connecting')
    await edge.peer()
  })

  t.test('pings at once, and no connection is lost, when it is told so while it has one', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const connected = new Promise(resolve => client.on('connected', resolve))
    const peer = await edge.peer()
    await peer.accept()
    await connected
    client.networkChanged()
    await peer.next('ping')
    peer.send({ op: 'pong', uplinkSeq: 0 })
    t.equal(edge.count(), 1)
  })

  t.test('moves before it leaves, unseen by the application', async t => {
    const [old, other] = [await givenEdge(t), await givenEdge(t)]
    const client = givenClient(t, [old.url]).connect()
    const events: string[] = []
    for (const name of ['connected', 'disconnected', 'kicked', 'migrating', 'migrated'] as const) {
      client.on(name, () => events.push(name))
    }
    const first = await old.peer()
    const { sessionId } = await first.accept()
    const sent = client.send('1')
    await first.nextSeqs(1)
    first.send({ op: 'migrate', withinMs: 1000, endpoints: [other.url], reason: 'deploy' })
    const second = await other.peer()
    t.equal((await second.next('connect')).sessionId, sessionId)
    first.send({ op: 'kick', code: 'superseded', reason: '' })
    first.end()
    await first.closed()
    second.send({ ...connected, resumed: true })
    t.strictSame(await second.nextSeqs(1), [1])
    second.send({ ...accepted, seq: 1, userSeqs: [1] })
    await sent
    t.strictSame(events, ['connected', 'migrating', 'migrated'])
  })

  t.test('goes on over the old connection until it has moved, and takes nothing twice', async t => {
    const [old, other] = [await givenEdge(t), await givenEdge(t)]
    const client = givenClient(t, [old.url]).connect()
    const seen: number[] = []
    client.on('downlink', ({ seq }) => { seen.push(seq) })
    const sends = [client.send('1'), client.send('2'), client.send('3')]
    const first = await old.peer()
    await first.accept()
    await first.nextSeqs(3)
    first.send({ op: 'migrate', withinMs: 1000, endpoints: [other.url], reason: 'deploy' })
    const second = await other.peer()
    const hello = await second.next('connect')
    // While the new node opens, the old one still serves: its acks and downlinks are ahead of what connect said.
    first.send({ ...accepted, seq: 1, userSeqs: [1] }, downlink(1))
    t.match(await first.next('downlinkAck'), { seq: 1 })
    await sends[0]
    second.send({ ...connected, resumed: true, uplinkSeq: 0, downlinkSeq: 0 })
    t.equal(hello.downlinkSeq, 0)
    t.strictSame(await second.nextSeqs(2), [2, 3])
    await first.next('disconnect')
    first.send({ ...accepted, seq: 2, userSeqs: [1, 2] }, downlink(2))
    t.match(await sends[1], { seq: 2, userSeq: 2 }, 'a late ack of the old node is as true')
    second.send(downlink(1), downlink(2), { ...accepted, seq: 3, userSeqs: [1, 2, 3] })
    let acked = 0
    while (acked < 2) acked = (await second.next('downlinkAck')).seq // both at once, where they come close together
    t.match(await sends[2], { seq: 3, userSeq: 3 })
    t.strictSame(seen, [1, 2])
  })

  t.test('tries the next endpoint where it can not move to the first, and stays where there is none', async t => {
    const [old, other] = [await givenEdge(t), await givenEdge(t)]
    const client = givenClient(t, [old.url], { random: () => 0.01 }).connect()
    const events: string[] = []
    client.on('disconnected', ({ code }) => events.push(code))
    const first = await old.peer()
    await first.accept()
    first.send({ op: 'migrate', withinMs: 2000, endpoints: ['tcp://127.0.0.1:1', other.url], reason: 'deploy' })
    const second = await other.peer()
    await second.accept()
    await first.next('disconnect')
    second.send({ op: 'migrate', withinMs: 50, endpoints: ['tcp://127.0.0.1:1'], reason: 'deploy' })
    await sleep(100)
    const sent = client.send('still here')
    t.strictSame(await second.nextSeqs(1), [1])
    second.send({ ...accepted, seq: 1, userSeqs: [1] })
    await sent
    t.strictSame(events, [])
  })

  t.test('connects anew where both connections are lost while it moves', async t => {
    const [old, other] = [await givenEdge(t), await givenEdge(t)]
    const client = givenClient(t, [old.url]).connect()
    const lost = new Promise(resolve => client.on('disconnected', resolve))
    const first = await old.peer()
    await first.accept()
    first.send({ op: 'migrate', withinMs: 1000, endpoints: [other.url], reason: 'deploy' })
    const second = await other.peer()
    await second.next('connect')
    first.cut()
    await sleep(50) // so that the client has seen it
    second.cut()
    t.match(await lost, { code: 'connection-lost', willReconnect: true })
    await (await old.peer()).accept()
  })

  t.test('comes back where a move that it had given up is taken late, and supersedes the connection it stayed with', async t => {
    const [old, other] = [await givenEdge(t), await givenEdge(t)]
    const client = givenClient(t, [old.url], { random: () => 0.7 }).connect()
    const ended: unknown[] = []
    client.on('disconnected', ({ code, willReconnect }) => { ended.push([code, willReconnect]) })
    const first = await old.peer()
    await first.accept()
    first.send({ op: 'migrate', withinMs: 100, endpoints: [other.url], reason: 'deploy' })
    const second = await other.peer()
    await second.next('connect')
    second.cut()
    await sleep(50) // so that the client has seen it
    first.send({ op: 'kick', code: 'superseded', reason: 'newer' })
    first.end()
    const third = await Promise.race([old.peer(), other.peer()])
    await third.accept()
    t.strictSame(ended.splice(0), [['superseded', true]])
    const gone = client.once('disconnected')
    third.send({ op: 'kick', code: 'superseded', reason: 'newer' })
    third.end()
    t.match(await gone, { code: 'superseded', willReconnect: false }, 'once: another client is another matter')
  })

  t.test('comes back where a connect that was not answered is taken late, and supersedes the next one', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const ended: unknown[] = []
    client.on('disconnected', ({ code, willReconnect }) => { ended.push([code, willReconnect]) })
    const first = await edge.peer()
    await first.next('connect')
    first.send({ op: 'error', code: 'ledger-unavailable', message: 'slow', retryAfterMs: 1 })
    first.end()
    const second = await edge.peer()
    await second.accept()
    second.send({ op: 'kick', code: 'superseded', reason: 'login policy' })
    second.end()
    const third = await edge.peer()
    await third.accept()
    t.strictSame(ended.splice(0), [['ledger-unavailable', true], ['superseded', true]])
    const gone = client.once('disconnected')
    third.send({ op: 'kick', code: 'superseded', reason: 'login policy' })
    third.end()
    t.match(await gone, { code: 'superseded', willReconnect: false }, 'once: another client is another matter')
  })

  t.test('stays away where it is superseded after a connect that was refused', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const first = await edge.peer()
    await first.next('connect')
    first.send({ op: 'error', code: 'key-set-unavailable', message: 'no keys', retryAfterMs: 1 })
    first.end()
    const second = await edge.peer()
    await second.accept()
    const gone = client.once('disconnected')
    second.send({ op: 'kick', code: 'superseded', reason: 'newer' })
    second.end()
    t.match(await gone, { code: 'superseded', willReconnect: false })
  })

  t.test('tells getToken when the last token had expired', async t => {
    const edge = await givenEdge(t)
    const asked: boolean[] = []
    givenClient(t, [edge.url], {
      getToken: ({ isExpired }) => {
        asked.push(isExpired)
        return 'token'
      },
    }).connect()
    const first = await edge.peer()
    await first.next('connect')
    first.send({ op: 'error', code: 'token-expired', message: '', retryAfterMs: 0 })
    first.end()
    await (await edge.peer()).accept()
    t.strictSame(asked, [false, true])
  })

  t.test('says that getToken failed, and asks again', async t => {
    const edge = await givenEdge(t)
    let isBroken = true
    const client = givenClient(t, [edge.url], {
      getToken: () => {
        if (isBroken) throw new Error('no token today')
        return 'token'
      },
    })
    const reasons: string[] = []
    client.on('disconnected', ({ reason }) => {
      reasons.push(reason)
      isBroken = false
    })
    client.connect()
    await (await edge.peer()).accept()
    t.strictSame(reasons, ['no token today'])
  })

  t.test('refuses what makes too large a frame', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const isConnected = new Promise(resolve => client.on('connected', resolve))
    await (await edge.peer()).accept({ frameBytesMax: 1024 })
    await isConnected
    await t.rejects(client.send(Buffer.alloc(1024)), { code: 'payload-too-large' })
  })

  for (const [how, isDone] of Object.entries({
    'once it is told': (client: Client) => client.once('downlink'),
    'by its listener': (client: Client) => new Promise<void>(resolve => { client.on('downlink', () => resolve()) }),
    'by its listener, with promises': (client: Client) => new Promise<void>(resolve => {
      client.on('downlink', async () => {
        await sleep(1)
        resolve()
      })
    }),
    'by several': (client: Client) => {
      client.on('downlink', async () => { await undefined })
      return new Promise<void>(resolve => { client.on('downlink', () => resolve()) })
    },
    recalled: (client: Client) => new Promise<void>(resolve => { client.on('recall', () => resolve()) }),
  })) {
    t.test(`acks what was done with just before it is closed, ${how}, and takes no more`, async t => {
      const edge = await givenEdge(t)
      const client = givenClient(t, [edge.url]).connect()
      const seen: number[] = []
      client.on('downlink', ({ seq }) => { seen.push(seq) })
      const closed = isDone(client).then(() => client.close())
      const peer = await edge.peer()
      await peer.accept()
      const first = how === 'recalled' ? { ...downlink(1), service: recallService } : downlink(1)
      peer.send(first, downlink(2))
      t.match(await peer.any(), { op: 'downlinkAck', seq: 1 })
      t.match(await peer.any(), { op: 'disconnect' })
      peer.end()
      await closed
      t.strictSame(seen, how === 'recalled' ? [] : [1])
    })
  }

  for (const how of ['the page is left', 'another client takes its storage over']) {
    t.test(`sends the ack that waits for its time where ${how}`, async t => {
      const edge = await givenEdge(t)
      let leave = () => {}
      const kept = inMemory()
      const storage = {
        ...kept,
        open: async (lost: () => void) => {
          if (how !== 'the page is left') leave = lost
          return await kept.open(lost)
        },
      }
      const options = { endpoints: [edge.url], getToken: () => 'token', deviceId: 'phone', storage }
      const client = new Client(options, {
        async openTransport (to, _encoding, handlers) {
          const transport = openTcp(to, handlers)
          return { ...transport, destroy: () => { transport.close() } } // as a browser does, which sends what it has
        },
        getJson: async () => ({}),
        watchNetwork (_changed, { sleep }) {
          if (how === 'the page is left') leave = sleep
          return () => {}
        },
      })
      t.teardown(() => client.close())
      const second = new Promise<void>(resolve => {
        client.on('downlink', ({ seq }) => { if (seq === 2) resolve() })
      })
      client.connect()
      const peer = await edge.peer()
      await peer.accept()
      peer.send(downlink(1), downlink(2))
      await second
      await new Promise(setImmediate)
      leave()
      t.match(await peer.any(), { op: 'downlinkAck', seq: 1 })
      t.match(await peer.any(), { op: 'downlinkAck', seq: 2 })
      t.match(await peer.any(), { op: 'disconnect' })
    })
  }

  t.test('sends nothing any more once close was called, also where a downlink is still to be acked', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    let late: Promise<unknown> | undefined
    client.on('downlink', () => {
      client.close()
      late = client.send('late')
    })
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1))
    t.match(await peer.any(), { op: 'downlinkAck', seq: 1 })
    t.match(await peer.any(), { op: 'disconnect' })
    await t.rejects(late!, { code: 'disconnected', message: 'this client has ended: closed' })
  })

  t.test('acks nothing that a listener still works on when it is closed', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    client.on('downlink', async () => { await client.close() })
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1))
    t.match(await peer.any(), { op: 'disconnect' })
  })

  t.test('says goodbye when it is closed', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const isConnected = new Promise(resolve => client.on('connected', resolve))
    const peer = await edge.peer()
    await peer.accept()
    await isConnected
    const closed = client.close({ endSession: true })
    t.match(await peer.next('disconnect'), { endSession: true })
    peer.end()
    await closed
    await t.rejects(client.send('1'), { code: 'disconnected' })
  })
})
