import t, { type Test } from 'tap'
import { Flow, type FlowRates } from '../../../actors/connection/flow.js'
import type { Frame } from '../../../schemas/frames.js'
import { RoomPatterns } from '../../../schemas/room-rights.js'
import { givenRooms } from '../../actors/edge-rooms/given-rooms.js'
import { until } from '../node.js'
import { connect, type GivenConnection, givenConnection, openConnection, ping, turn, uplinks, verified } from './given-connection.js'

/** Connections whose clock is the test's own. */
async function given (
  t: Test, count: number, rates: Partial<FlowRates> = { byteRate: 1_000, byteBurst: 4_000, userByteRate: 2_000 }
) {
  const clock = { nowMs: 0 }
  const flow = new Flow({ byteRate: 0, byteBurst: 0, userByteRate: 0, userFrameRate: 0, ...rates }, () => clock.nowMs)
  const clients: GivenConnection[] = []
  for (let i = 0; i < count; i++) clients.push(await openConnection(t, {}, {}, undefined, flow))
  return { clock, flow, clients }
}

async function send (client: GivenConnection, seq: number, bytes: number): Promise<void> {
  const frame: Frame = { op: 'uplink', seq, service: '', payload: Buffer.alloc(bytes), priority: 0, roomId: '' }
  client.received(frame)
  await turn()
}

t.test('A connection', async t => {
  t.test('that sends more bytes than it may is not read until they are earned, and nothing is refused', async t => {
    const { clock, clients: [client] } = await given(t, 1)
    await send(client!, 1, 4_000)
    t.notOk(client!.isPaused(), 'its burst')
    await send(client!, 2, 1_500)
    t.ok(client!.isPaused())
    clock.nowMs = 1_499
    await new Promise(resolve => setTimeout(resolve, 60))
    t.ok(client!.isPaused())
    clock.nowMs = 1_501
    await until('it is read again', () => !client!.isPaused())
    t.strictSame(client!.uplinksAppended(), [1, 2])
    t.strictSame(client!.written.length, 1, 'but connected')
  })

  t.test('shares what its user may send with the others of that user', async t => {
    const { clock, clients } = await given(t, 4, { byteRate: 0, byteBurst: 0, userByteRate: 1_000 })
    for (const client of clients.slice(0, 3)) await send(client, 1, 1_500)
    t.strictSame(clients.map(client => client.isPaused()), [false, false, true, false])
    await send(clients[3]!, 1, 100)
    t.ok(clients[3]!.isPaused(), 'though it sent little itself')
    clock.nowMs = 700
    await until('both are read again', () => !clients.some(client => client.isPaused()))
  })

  t.test('shares the frames that its user may send with the others of that user', async t => {
    const { clock, flow, clients: [first, second] } = await given(t, 2, { userFrameRate: 10 })
    let seq = 0
    const sendMany = async (client: GivenConnection, count: number) => {
      client.received(...uplinks(seq + 1, seq + count))
      seq += count
      await turn()
    }
    await sendMany(first!, 45)
    t.notOk(first!.isPaused(), 'a read may go into debt')
    second!.received(ping())
    await turn()
    t.ok(second!.isPaused(), 'and the next one of the user is not read on')
    t.equal(second!.written.at(-1)?.op, 'pong', 'though what was read is dealt with')
    clock.nowMs = 900 // 46 and their two openings
    await until('it is read again', () => !second!.isPaused())
    for (const client of [first!, second!]) client.leaves(true)
    await turn()
    flow.sweep()
    t.equal(flow.users, 1)
    clock.nowMs = 5_000
    flow.sweep()
    t.equal(flow.users, 0)
  })

  t.test('leaves its debt behind for the next one of its user', async t => {
    const { clock, flow, clients: [first] } = await given(t, 1, { byteRate: 0, byteBurst: 0, userByteRate: 1_000 })
    await send(first!, 1, 6_000)
    first!.leaves(true)
    await turn()
    flow.sweep()
    t.equal(flow.users, 1)
    const next = await openConnection(t, {}, {}, undefined, flow)
    t.ok(next.isPaused(), 'before it has sent more than connect')
    next.leaves(true)
    await turn()
    clock.nowMs = 7_000
    flow.sweep()
    t.equal(flow.users, 0, 'and is forgotten when it is paid')
  })

  t.test('owes what it sent before it was known whose it is', async t => {
    const { clock, flow } = await given(t, 0, { userByteRate: 1_000, userFrameRate: 10, byteRate: 0, byteBurst: 0 })
    const bytes: Frame = { op: 'uplink', seq: 1, service: '', payload: Buffer.alloc(6_000), priority: 0, roomId: '' }
    for (const [userId, sent] of [['ann', [bytes]], ['bob', uplinks(1, 60)]] as const) {
      const client = givenConnection(t, {}, undefined, flow)
      client.received(connect, ...sent)
      await verified(client, { userId })
      t.ok(client.isPaused())
      client.storeAll()
      client.welcome()
      await until('it is open', () => client.phase() === 'open')
      t.ok(client.isPaused(), userId)
    }
    clock.nowMs = 2_200
    t.equal(flow.debtMs('ann'), 0)
    t.equal(flow.debtMs('bob'), 0)
  })

  t.test('of a user who owes much is not opened, and is told when to come back', async t => {
    const { clock, clients: [first], flow } = await given(t, 1, { byteRate: 0, byteBurst: 0, userByteRate: 1_000 })
    await send(first!, 1, 14_500)
    first!.leaves(true)
    await turn()
    const connecting = async () => {
      const client = givenConnection(t, {}, undefined, flow)
      client.received(connect, ...uplinks(1, 5))
      await until('connect is taken', () => client.phase() === 'verifying')
      client.letIn()
      await turn()
      return client
    }
    const next = await connecting()
    t.match(next.written, [{ op: 'error', code: 'rate-limited', retryAfterMs: 10_500 }])
    t.strictSame(next.appended(), [])
    clock.nowMs = 600
    t.equal((await connecting()).phase(), 'opening')
  })

  t.test('that is not read for its rate is not taken for silent', async t => {
    const { clients: [client] } = await given(t, 1)
    await send(client!, 1, 100_000)
    for (let i = 0; i < 3; i++) await client!.pass(120_000)
    t.equal(client!.phase(), 'open')
  })

  t.test('may send as much as it likes where there is no limit', async t => {
    const { clients: [client] } = await given(t, 1, { byteRate: 0, byteBurst: 0, userByteRate: 0 })
    for (let seq = 1; seq <= 5; seq++) await send(client!, seq, 1 << 20)
    t.notOk(client!.isPaused())
  })
})

t.test('A user', async t => {
  const token = { rooms: RoomPatterns.of({ '*': 'rw' })! }

  /** Connections of one user, who may post everywhere. */
  async function givenPosters (t: Test, count: number) {
    const clock = { nowMs: 0 }
    const flow = new Flow({ byteRate: 0, byteBurst: 0, userByteRate: 1 << 20, userFrameRate: 0 }, () => clock.nowMs)
    const world = givenRooms(t)
    const posters = []
    for (let i = 0; i < count; i++) {
      const client = await openConnection(t, {}, { token }, undefined, flow, world.rooms)
      let seq = 0
      const post = async (...roomIds: string[]) => {
        for (const roomId of roomIds) {
          client.received({ op: 'uplink', seq: ++seq, service: '', payload: Buffer.of(), priority: 0, roomId })
          if (seq % 200 === 0) await store()
        }
        await store()
      }
      const store = async () => {
        await turn()
        client.storeAll()
        seq = client.connection.window.givenSeq
        client.acked(seq)
        await turn()
      }
      posters.push({ client, post, refusals: () => client.written.filter(({ op }) => op === 'uplinkRefused'), seq: () => seq })
    }
    return { clock, flow, world, posters }
  }

  const roomsOf = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `r${from + i}`)

  t.test('who begins more rooms than he may is refused and told how long to wait, and is read on', async t => {
    const { clock, world, posters: [first, second] } = await givenPosters(t, 2)
    first!.client.received({ op: 'join', roomId: 'r0', roomSeq: 0 })
    await turn()
    world.answer(1, 0, { roomId: 'r0' })
    await turn()
    await first!.post(...roomsOf(0, 1_000))
    t.strictSame(first!.refusals(), [], 'one that has posts costs nothing')
    clock.nowMs = 300
    await first!.post('r1001')
    t.match(first!.refusals(), [{ expectedSeq: 1_002, code: 'throttled', retryAfterMs: 700 }])
    await second!.post('r1001')
    t.match(second!.refusals(), [{ expectedSeq: 1, code: 'throttled', retryAfterMs: 700 }], 'nor by another connection')
    t.notOk(first!.client.isPaused())
    first!.client.received(ping())
    await turn()
    t.equal(first!.client.written.at(-1)?.op, 'pong')
    await first!.post('r5')
    clock.nowMs = 1_000
    await first!.post('r1001')
    t.equal(first!.seq(), 1_003)
    await second!.post('r1001')
    t.equal(second!.seq(), 1, 'it is no new one any more')
  })

  t.test('who posts in many rooms in turn begins each once, by whichever connection', async t => {
    const { posters } = await givenPosters(t, 2)
    for (const { post, refusals, seq } of posters) {
      for (let round = 1; round <= 2; round++) await post(...roomsOf(1, 1_000))
      t.strictSame(refusals(), [])
      t.equal(seq(), 2_000)
    }
  })

  t.test('whose opening brings more than he may is refused once it is open', async t => {
    const { flow, world, posters: [first] } = await givenPosters(t, 1)
    await first!.post(...roomsOf(1, 1_000))
    const client = givenConnection(t, {}, undefined, flow, world.rooms)
    client.received(connect, { op: 'uplink', seq: 1, service: '', payload: Buffer.of(), priority: 0, roomId: 'more' })
    await verified(client, token)
    t.strictSame(client.appended(), ['ConnectionOpened'])
    client.storeAll()
    client.welcome()
    await until('it is open', () => client.phase() === 'open')
    await turn()
    t.match(client.written, [{ op: 'connected' }, { op: 'uplinkRefused', expectedSeq: 1, code: 'throttled', retryAfterMs: 1_000 }])
  })
})
