import t, { type Test } from 'tap'
import { createClient } from '../../client/node.js'
import type { Client } from '../../client/node.js'
import { complaintsOf } from '../lasting.js'
import { connected, type Dialect, endsWith, type TcpSpeaker } from './edge/dialects.js'
import { startTestNode, type TestNode, until } from './node.js'

const anything = { rooms: { '*': 'rw' } }
const frameBytesMax = 65_536

interface Member { readonly client: Client, readonly heard: string[] }

async function member (t: Test, node: TestNode, userId: string, rooms: readonly string[]): Promise<Member> {
  const token = await node.token(userId, anything)
  const endpoints = [`tcp://127.0.0.1:${node.tcpPort}`]
  const client = createClient({ endpoints, getToken: () => token, deviceId: 'phone' })
  t.teardown(() => client.close())
  const heard: string[] = []
  for (const roomId of rooms) {
    client.room(roomId).on('post', ({ roomSeq, payload }) => { heard.push(`${roomId} ${roomSeq} ${payload.length}`) })
  }
  client.connect()
  await until(`${userId} is in`, () => rooms.every(roomId => client.room(roomId).isJoined))
  return { client, heard }
}

async function gauge (node: TestNode, name: string): Promise<number> {
  const { text } = await node.request('GET', '/metrics')
  return Number(new RegExp(`^ledgerline_${name} (\\d+)`, 'm').exec(text)![1])
}

t.test('10,000 joins of one connection', async t => {
  await t.test('make it a member of as many rooms as it may be in, and are each answered', async t => {
    const node = await startTestNode(t)
    const { client } = await connected(t, node, 'WebSocket Avro', 'ann', { token: await node.token('ann', anything) })
    const answers: Record<string, number> = {}
    for (let from = 0; from < 10_000; from += 500) {
      client.sendAll(Array.from({ length: 500 }, (_, i) => ({ op: 'join', roomId: `r${from + i}`, roomSeq: -1 })))
      for (let i = 0; i < 500; i++) {
        const { op, code } = await client.next()
        answers[code ?? op] = (answers[code ?? op] ?? 0) + 1
      }
    }
    t.strictSame(answers, { joined: 100, 'too-many-rooms': 9_900 })
    t.equal(await gauge(node, 'rooms'), 100)
  })

  await t.test('at once end it, for they are frames, and nobody else hears of it', async t => {
    const node = await startTestNode(t, { LEDGERLINE_FRAME_RATE: '100' })
    const bob = await member(t, node, 'bob', ['chat'])
    const { client } = await connected(t, node, 'TCP', 'ann', { token: await node.token('ann', anything) })
    client.sendAll(Array.from({ length: 10_000 }, (_, i) => ({ op: 'join', roomId: `r${i}`, roomSeq: -1 })))
    await endsWith(t, client, 'rate-limited')
    await bob.client.room('chat').post('still here')
    await until('he hears it', () => bob.heard.length === 1)
    t.ok(await gauge(node, 'rooms') <= 101)
    t.strictSame(complaintsOf(node.logged), [])
  })
})

t.test('A post of the largest size', async t => {
  const node = await startTestNode(t)
  const dialects: Dialect[] = ['TCP', 'WebSocket Avro', 'WebSocket JSON']
  const members = await Promise.all(dialects.map(async dialect => {
    const userId = dialect.replaceAll(' ', '-')
    const { client } = await connected(t, node, dialect, userId, { token: await node.token(userId, anything) })
    client.send({ op: 'join', roomId: 'big', roomSeq: -1 })
    t.match(await client.next(), { op: 'joined' })
    return client
  }))
  const sdk = await member(t, node, 'sdk', ['big'])
  const { client: ann } = await connected(t, node, 'TCP', 'ann', { token: await node.token('ann', anything) })
  // Opcode, seq, service, LENGTH of the payload in three bytes, priority, and the room with its length.
  const payload = 'a'.repeat(frameBytesMax - 1 - 1 - 1 - 3 - 1 - 4)
  ann.send({ op: 'uplink', seq: 1, payload, roomId: 'big' })
  for (const [i, client] of members.entries()) {
    const post = await client.next()
    t.equal(String(post.payload), payload, `is given whole to a member over ${dialects[i]}`)
  }
  await until('the SDK has it', () => sdk.heard.length === 1)
  t.strictSame(sdk.heard, [`big 1 ${payload.length}`])
  t.equal((await ann.next()).op, 'uplinkAck')
  ann.send({ op: 'uplink', seq: 2, payload: `${payload}a`, roomId: 'big' })
  await endsWith(t, ann, 'bad-frame')
  t.match(await node.request('POST', '/v1/rooms/big/posts', { payload: 'a'.repeat(frameBytesMax) }), { status: 413, json: { code: 'payload-too-large' } })
  t.strictSame(complaintsOf(node.logged), [])
})

t.test('A room that gets 10,000 posts as fast as they are taken', async t => {
  const [posts, payloadBytes] = [10_000, 1_000]
  const node = await startTestNode(t)
  const readers = await Promise.all(['ann', 'bob'].map(userId => member(t, node, userId, ['hot'])))
  const quiet = await member(t, node, 'cid', ['quiet'])
  const { client } = await connected(t, node, 'TCP', 'deaf', { token: await node.token('deaf', anything) })
  const deaf = client as TcpSpeaker
  deaf.send({ op: 'join', roomId: 'hot', roomSeq: -1 })
  t.match(await deaf.next(), { op: 'joined', roomSeq: 0 })
  deaf.client.socket.pause()
  const payload = Buffer.alloc(payloadBytes, 'a')
  for (let n = 0; n < posts; n += 500) {
    await Promise.all([
      ...Array.from({ length: 500 }, () => readers[0]!.client.room('hot').post(payload)),
      quiet.client.room('quiet').post('hello'),
    ])
  }
  await until('who reads has all', () => readers.every(({ heard }) => heard.length === posts))
  const all = Array.from({ length: posts }, (_, i) => `hot ${i + 1} ${payloadBytes}`)
  for (const { heard } of readers) t.strictSame(heard, all)
  await until('another room has its posts', () => quiet.heard.length === posts / 500)
  t.ok(await gauge(node, 'room_bytes') <= 1.1 * (1 << 20), 'a room keeps so many bytes, who reads or not')
  deaf.client.socket.resume()
  let last = 0
  let missed = 0
  while (last < posts) {
    const frame = await deaf.next()
    if (frame.op === 'joined') missed += frame.missed
    else if (frame.roomSeq !== last + 1 && missed === 0) t.fail(`got post ${frame.roomSeq} after ${last}`)
    last = frame.roomSeq
  }
  t.ok(missed > 0, 'who did not read is told how many are gone, and has the last ones')
  t.strictSame(complaintsOf(node.logged), [])
})
