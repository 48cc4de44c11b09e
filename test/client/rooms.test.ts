import t from 'tap'
import { inMemory } from '../../client/node.js'
import type { ReceivedPost, Room } from '../../client/node.js'
import type { Post } from '../../schemas/frames.js'
import { connected, givenClient, givenEdge } from './given.js'
import type { Peer } from './given.js'

function post (roomSeq: number, roomId = 'chat:7'): Post {
  return {
    op: 'post',
    roomId,
    roomSeq,
    messageId: `m${roomSeq}`,
    from: 'bob',
    service: 'chat',
    payload: Buffer.from(`post ${roomSeq}`),
    postedAtMs: 1,
  }
}

function joined (roomSeq: number, missed = 0, roomId = 'chat:7') { return { op: 'joined' as const, roomId, roomSeq, missed } }

async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}

/** What the room tells, in short. */
function listen (room: Room): string[] {
  const told: string[] = []
  room.on('post', ({ roomSeq }) => { told.push(String(roomSeq)) })
  room.on('missed', ({ count }) => { told.push(`missed ${count}`) })
  room.on('left', ({ code }) => { told.push(`left ${code}`) })
  room.on('signal', signal => { told.push(`signal ${signal.text()}`) })
  return told
}

async function inRoom (peer: Peer, roomSeq: number, asked = -1): Promise<void> {
  const { roomSeq: place } = await peer.next('join')
  if (place !== asked) throw new Error(`join named ${place}, and not ${asked}`)
  peer.send(joined(roomSeq))
}

t.test('A room', async t => {
  t.test('is joined with the first listener for posts, and gives each once and in order', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const room = client.room('chat:7')
    t.equal(client.room('chat:7'), room)
    const posts: ReceivedPost[] = []
    room.on('post', async post => {
      await new Promise(resolve => setImmediate(resolve))
      posts.push(post)
    })
    const peer = await edge.peer()
    await peer.accept()
    await inRoom(peer, 4)
    peer.send(post(5), post(5), post(6), post(6, 'another'), post(4), post(7))
    await until(() => posts.length === 3)
    t.strictSame(posts.map(({ roomSeq }) => roomSeq), [5, 6, 7])
    t.match(posts[0], { roomId: 'chat:7', messageId: 'm5', from: 'bob', service: 'chat', postedAtMs: 1 })
    t.equal(posts[0]!.text(), 'post 5')
    t.ok(room.isJoined)
  })

  t.test('is joined again after a break, at the place that it was at', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const told = listen(client.room('chat:7'))
    const first = await edge.peer()
    await first.accept()
    await inRoom(first, 0)
    first.send(post(1), post(2))
    await until(() => told.length === 2)
    first.cut()
    const second = await edge.peer()
    await second.accept()
    await inRoom(second, 2, 2)
    second.send(post(2), post(3))
    await until(() => told.length === 3)
    t.strictSame(told, ['1', '2', '3'])
  })

  t.test('goes on behind what an earlier run was done with', async t => {
    const edge = await givenEdge(t)
    const storage = inMemory()
    const first = givenClient(t, [edge.url], { storage }).connect()
    const told = listen(first.room('a/b'))
    const peer = await edge.peer()
    await peer.accept()
    await peer.next('join')
    peer.send(joined(7, 0, 'a/b'), post(8, 'a/b'))
    await until(() => told.length === 1)
    await first.close()
    const second = givenClient(t, [edge.url], { storage })
    second.room('a/b').join()
    second.connect()
    const again = await edge.peer()
    await again.accept()
    t.match(await again.next('join'), { roomId: 'a/b', roomSeq: 8 })
  })

  t.test('joins again where a post is missing', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const told = listen(client.room('chat:7'))
    const peer = await edge.peer()
    await peer.accept()
    await inRoom(peer, 0)
    peer.send(post(1), post(3), post(4))
    t.match(await peer.next('join'), { roomSeq: 1 })
    peer.send(joined(1), post(2), post(3), post(4))
    await until(() => told.length === 4)
    t.strictSame(told, ['1', '2', '3', '4'])
  })

  t.test('tells how many are gone, in their place', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const told = listen(client.room('chat:7'))
    const peer = await edge.peer()
    await peer.accept()
    await inRoom(peer, 0)
    peer.send(post(1), joined(5, 4), post(6), {
      op: 'signal', service: '', payload: Buffer.from('typing'), roomId: 'chat:7',
    })
    await until(() => told.length === 4)
    t.strictSame(told.filter(each => !each.startsWith('signal')), ['1', 'missed 4', '6'])
  })

  t.test('that business had it joined to from now on goes on from its own place', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const told = listen(client.room('chat:7'))
    const announced: unknown[] = []
    client.on('joined', event => { announced.push(event) })
    const first = await edge.peer()
    await first.accept()
    await inRoom(first, 0)
    first.send(post(1))
    await until(() => told.length === 1)
    first.cut()
    const second = await edge.peer()
    await second.accept()
    second.send(joined(9), post(10))
    await inRoom(second, 1, 1)
    second.send(...[2, 3, 4, 5, 6, 7, 8, 9, 10].map(seq => post(seq)))
    await until(() => told.length === 10)
    t.strictSame(told, ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10'])
    t.match(announced, [{ roomId: 'chat:7', roomSeq: 0 }, { roomSeq: 9 }, { roomSeq: 1 }])
  })

  t.test('that business had it joined to gives a post once which came before the answer to its own join', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const told = listen(client.room('chat:7'))
    const first = await edge.peer()
    await first.accept()
    await inRoom(first, 10)
    first.send(post(11))
    await until(() => told.length === 1)
    first.cut()
    const second = await edge.peer()
    await second.accept()
    // Nothing was missed, so the announcement names the same place as the answer.
    second.send(joined(11), post(12), post(13))
    await inRoom(second, 11, 11)
    second.send(post(12), post(13), post(14))
    await until(() => told.includes('14'))
    t.strictSame(told, ['11', '12', '13', '14'])
    second.send(joined(3), post(4))
    await until(() => told.includes('4'))
    t.strictSame(told.slice(4), ['4'], 'and numbers that begin anew still do')
  })

  t.test('whose numbers begin anew goes on with those', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const told = listen(client.room('chat:7'))
    const first = await edge.peer()
    await first.accept()
    await inRoom(first, 40)
    first.send(post(41))
    await until(() => told.length === 1)
    first.cut()
    const second = await edge.peer()
    await second.accept()
    await inRoom(second, 3, 41)
    second.send(post(4))
    await until(() => told.length === 2)
    t.strictSame(told, ['41', '4'])
  })

  t.test('is not joined again once it was left, by whomever', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const told = listen(client.room('chat:7'))
    const other = client.room('other')
    other.join()
    const lefts: unknown[] = []
    client.on('left', event => { lefts.push(event) })
    const first = await edge.peer()
    await first.accept()
    await first.next('join')
    await first.next('join')
    first.send({ op: 'left', roomId: 'chat:7', code: 'forbidden', reason: 'no right' }, joined(0, 0, 'other'))
    await until(() => told.length === 1 && other.isJoined)
    t.strictSame(told, ['left forbidden'])
    t.match(lefts, [{ roomId: 'chat:7', code: 'forbidden', reason: 'no right' }])
    other.leave()
    t.match(await first.next('leave'), { roomId: 'other' })
    first.send({ op: 'left', roomId: 'other', code: 'left', reason: '' })
    first.cut()
    const second = await edge.peer()
    await second.accept()
    client.room('chat:7').join()
    t.match(await second.next('join'), { roomId: 'chat:7', roomSeq: -1 }, 'the first one, and it forgot its place')
  })

  t.test('that it was put out of goes on from its place once business makes it a member again', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    let goOn = () => {}
    const held = new Promise<void>(resolve => { goOn = resolve })
    const room = client.room('chat:7')
    room.on('post', () => held)
    const told = listen(room)
    const peer = await edge.peer()
    await peer.accept()
    await inRoom(peer, 0)
    peer.send(post(1), post(2), { op: 'left', roomId: 'chat:7', code: 'forbidden', reason: 'no right' }, joined(4), post(5))
    await inRoom(peer, 2, 2)
    peer.send(post(3), post(4), post(5))
    goOn()
    await until(() => told.includes('5'))
    t.strictSame(told, ['1', 'left forbidden', '2', '3', '4', '5'], 'and what it had got before is not lost')
    t.ok(room.isJoined)
    room.leave()
    await peer.next('leave')
    peer.send(joined(9), post(10), { op: 'signal', service: '', payload: Buffer.of(), roomId: '' })
    await client.once('signal')
    t.notOk(room.isJoined, 'what it has left itself it stays out of')
    t.equal(told.length, 6)
  })

  t.test('gives its posts to a loop, which is done with each when it asks for the next', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const room = client.room('chat:7')
    const got: number[] = []
    const looping = (async () => {
      for await (const { roomSeq } of room) {
        got.push(roomSeq)
        if (roomSeq === 2) break
      }
    })()
    const peer = await edge.peer()
    await peer.accept()
    await inRoom(peer, 0)
    peer.send(post(1), post(2), post(3))
    await looping
    for await (const { roomSeq } of room) {
      got.push(roomSeq)
      if (roomSeq === 3) await client.close()
    }
    t.strictSame(got, [1, 2, 2, 3], 'the one at which it was left comes again')
  })

  t.test('goes on behind a post at which a listener fails', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const failures: string[] = []
    client.on('callbackFailed', ({ callback }) => { failures.push(callback) })
    client.room('chat:7').on('post', () => { throw new Error('planted') })
    const told = listen(client.room('chat:7'))
    const peer = await edge.peer()
    await peer.accept()
    await inRoom(peer, 0)
    peer.send(post(1), post(2))
    await until(() => told.length === 2)
    t.strictSame(failures, ['on post', 'on post'])
  })

  t.test('fetches again what it had no room for', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const got: number[] = []
    let goOn = () => {}
    const held = new Promise<void>(resolve => { goOn = resolve })
    client.room('chat:7').on('post', async ({ roomSeq }) => {
      got.push(roomSeq)
      if (roomSeq === 1) await held
    })
    const peer = await edge.peer()
    await peer.accept()
    await inRoom(peer, 0)
    for (let seq = 1; seq <= 1_200; seq++) peer.send(post(seq))
    peer.send({ op: 'signal', service: '', payload: Buffer.of(), roomId: '' })
    await client.once('signal')
    goOn()
    const { roomSeq } = await peer.next('join')
    t.equal(roomSeq, 1_000)
    peer.send(joined(roomSeq))
    for (let seq = roomSeq + 1; seq <= 1_200; seq++) peer.send(post(seq))
    await until(() => got.length === 1_200)
    t.strictSame(got, Array.from({ length: 1_200 }, (_, i) => i + 1))
  })

  t.test('tells of all that is gone where neither the application nor the socket kept up', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    let goOn = () => {}
    const held = new Promise<void>(resolve => { goOn = resolve })
    const room = client.room('chat:7')
    room.on('post', async ({ roomSeq }) => { if (roomSeq === 1) await held })
    const told = listen(room)
    const peer = await edge.peer()
    await peer.accept()
    await inRoom(peer, 0)
    for (let seq = 1; seq <= 1_200; seq++) peer.send(post(seq)) // and the last 200 it has no room for
    peer.send(joined(1_300, 100), post(1_301), { op: 'signal', service: '', payload: Buffer.of(), roomId: '' })
    await client.once('signal')
    goOn()
    t.equal((await peer.next('join')).roomSeq, 1_000)
    // On its way before the edge read that; and then the answer.
    peer.send(joined(1_400, 99), post(1_401), joined(1_400, 400), post(1_401), post(1_402))
    await until(() => told.includes('1402'))
    t.strictSame(told.slice(1_000), ['missed 400', '1401', '1402'])
  })

  t.test('that is no id is refused at once', async t => {
    const client = givenClient(t, ['tcp://127.0.0.1:1'])
    for (const roomId of ['', 'x'.repeat(257), 'a\n', '\ud800', 7 as never]) {
      t.throws(() => client.room(roomId), { name: 'TypeError', message: /^roomId: want 1 to 256 bytes/ })
    }
  })
})

t.test('A post', async t => {
  t.test('is an uplink that names the room', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const accepted = client.room('chat:7').post('hi', { service: 'chat' })
    const asJson = client.room('chat:7').postJson({ a: 1 })
    const peer = await edge.peer()
    await peer.accept()
    t.match(await peer.next('uplink'), { seq: 1, service: 'chat', payload: Buffer.from('hi'), roomId: 'chat:7' })
    t.match(await peer.next('uplink'), { seq: 2, payload: Buffer.from('{"a":1}'), roomId: 'chat:7' })
    peer.send({ op: 'uplinkAck', seq: 2, userSeqs: [8, 9] })
    t.strictSame([await accepted, await asJson], [{ seq: 1, userSeq: 8 }, { seq: 2, userSeq: 9 }])
  })

  t.test('of an earlier run names it still', async t => {
    const edge = await givenEdge(t)
    const storage = inMemory()
    const first = givenClient(t, [edge.url], { storage }).connect()
    first.room('chat:7').post('hi').catch(() => {})
    const peer = await edge.peer()
    await peer.accept()
    await peer.next('uplink')
    await first.close()
    givenClient(t, [edge.url], { storage }).connect()
    const again = await edge.peer()
    await again.accept()
    t.match(await again.next('uplink'), { seq: 1, roomId: 'chat:7' })
  })

  t.test('without the right is rejected, and what is behind it goes out in a new session', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const before = client.send('before')
    const refused = [client.room('secret').post('a'), client.room('secret').post('b')]
    const behind = client.room('chat:7').post('behind')
    const first = await edge.peer()
    const { sessionId } = await first.accept()
    await first.nextSeqs(4)
    first.send({ op: 'uplinkAck', seq: 1, userSeqs: [1] }, {
      op: 'uplinkRefused', expectedSeq: 2, code: 'forbidden', retryAfterMs: 0,
    })
    for (const each of refused) await t.rejects(each, { name: 'ClientError', code: 'forbidden', message: /secret/ })
    const second = await edge.peer()
    const hello = await second.accept()
    t.not(hello.sessionId, sessionId)
    t.match(await second.next('uplink'), { seq: 1, roomId: 'chat:7', payload: Buffer.from('behind') })
    second.send({ op: 'uplinkAck', seq: 1, userSeqs: [2] })
    t.strictSame([await before, await behind], [{ seq: 1, userSeq: 1 }, { seq: 1, userSeq: 2 }])
  })

  t.test('without the right takes along nothing that is on its way to the ledger', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const before = [client.send('before'), client.room('secret').post('a')]
    const refused = client.room('secret').post('b')
    const behind = client.send('behind')
    const first = await edge.peer()
    await first.accept()
    await first.nextSeqs(4)
    // The right was withdrawn behind `a`: the edge says so at once, and acks what it took once that is stored.
    first.send({ op: 'uplinkRefused', expectedSeq: 3, code: 'forbidden', retryAfterMs: 0 }, {
      op: 'uplinkAck', seq: 1, userSeqs: [1],
    })
    t.strictSame(await before[0], { seq: 1, userSeq: 1 })
    t.equal(client.state, 'connected', 'it waits for the second ack')
    const later = client.send('later')
    first.send({ op: 'uplinkAck', seq: 2, userSeqs: [2] })
    t.strictSame(await before[1], { seq: 2, userSeq: 2 })
    await t.rejects(refused, { code: 'forbidden' })
    const second = await edge.peer()
    await second.accept()
    t.match(await second.next('uplink'), { seq: 1, payload: Buffer.from('behind') })
    t.match(await second.next('uplink'), { seq: 2, payload: Buffer.from('later') })
    second.send({ op: 'uplinkAck', seq: 2, userSeqs: [3, 4] })
    t.strictSame([await behind, await later], [{ seq: 1, userSeq: 3 }, { seq: 2, userSeq: 4 }])
  })

  t.test('without the right, whose session ends while the client moves, leaves what is behind it to the new session', async t => {
    const [old, other] = [await givenEdge(t), await givenEdge(t)]
    const client = givenClient(t, [old.url]).connect()
    const refused = client.room('secret').post('a')
    const behind = client.send('behind')
    const first = await old.peer()
    const { sessionId } = await first.accept()
    await first.nextSeqs(2)
    first.send({ op: 'migrate', withinMs: 1000, endpoints: [other.url], reason: 'deploy' })
    const second = await other.peer()
    const hello = await second.next('connect')
    t.equal(hello.sessionId, sessionId)
    first.send({ op: 'uplinkRefused', expectedSeq: 1, code: 'forbidden', retryAfterMs: 0 })
    await t.rejects(refused, { code: 'forbidden' })
    second.send(connected)
    await second.closed()
    const third = await Promise.race([old.peer(), other.peer()])
    t.not((await third.accept()).sessionId, sessionId)
    t.match(await third.next('uplink'), { seq: 1, payload: Buffer.from('behind') })
    third.send({ op: 'uplinkAck', seq: 1, userSeqs: [1] })
    t.strictSame(await behind, { seq: 1, userSeq: 1 })
  })

  t.test('without the right goes out again behind what the ledger did not take', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const before = client.send('before')
    const refused = client.room('secret').post('a')
    const peer = await edge.peer()
    await peer.accept()
    await peer.nextSeqs(2)
    peer.send({ op: 'uplinkRefused', expectedSeq: 2, code: 'forbidden', retryAfterMs: 0 }, {
      op: 'uplinkRefused', expectedSeq: 1, code: 'ledger-unavailable', retryAfterMs: 1,
    })
    t.strictSame(await peer.nextSeqs(2), [1, 2])
    peer.send({ op: 'uplinkRefused', expectedSeq: 2, code: 'forbidden', retryAfterMs: 0 }, {
      op: 'uplinkAck', seq: 1, userSeqs: [1],
    })
    t.strictSame(await before, { seq: 1, userSeq: 1 })
    await t.rejects(refused, { code: 'forbidden' })
  })
})
