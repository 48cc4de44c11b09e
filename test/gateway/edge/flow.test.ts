import t, { type Test } from 'tap'
import { Flow, type FlowRates } from '../../../actors/connection/flow.js'
import type { Frame } from '../../../schemas/frames.js'
import { RoomPatterns } from '../../../schemas/room-rights.js'
import { givenRooms } from '../../actors/edge-rooms/given-rooms.js'
import { until } from '../node.js'
import { type GivenConnection, openConnection, ping, turn, uplinks } from './given-connection.js'

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
    clock.nowMs = 700
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
    await send(next, 1, 100)
    t.ok(next.isPaused())
    next.leaves(true)
    await turn()
    clock.nowMs = 7_000
    flow.sweep()
    t.equal(flow.users, 0, 'and is forgotten when it is paid')
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

t.test('A user who begins more rooms than he may is not read until he has earned them', async t => {
  const clock = { nowMs: 0 }
  const flow = new Flow({ byteRate: 0, byteBurst: 0, userByteRate: 1 << 20, userFrameRate: 0 }, () => clock.nowMs)
  const world = givenRooms(t)
  const token = { rooms: RoomPatterns.of({ '*': 'rw' })! }
  const client = await openConnection(t, {}, { token }, undefined, flow, world.rooms)
  const other = await openConnection(t, {}, {}, undefined, flow)
  let seq = 0
  const store = async () => {
    await turn()
    client.storeAll()
    client.acked(seq)
    await turn()
  }
  const postIn = async (from: number, to: number) => {
    for (let room = from; room <= to; room++) {
      client.received({ op: 'uplink', seq: ++seq, service: '', payload: Buffer.of(), priority: 0, roomId: `r${room}` })
      if (seq % 200 === 0) await store()
    }
    await store()
    client.reads(1) // what was begun counts for the next read
    await turn()
  }
  client.received({ op: 'join', roomId: 'r0', roomSeq: 0 })
  await turn()
  world.answer(1, 0, { roomId: 'r0' })
  await turn()
  await postIn(0, 1_000)
  await postIn(990, 1_000)
  t.notOk(client.isPaused(), 'one that has posts, and those that it posted in of late, cost nothing')
  await postIn(1_001, 1_003)
  t.ok(client.isPaused())
  other.reads(1)
  t.ok(other.isPaused(), 'nor is another connection of his')
  clock.nowMs = 2_990
  await new Promise(resolve => setTimeout(resolve, 60))
  t.ok(client.isPaused())
  clock.nowMs = 3_010
  await until('it is read again', () => !client.isPaused())
  t.equal(client.uplinksAppended().length, seq, 'nothing was refused')
})
