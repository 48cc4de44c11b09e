import t from 'tap'
import type { Frame } from '../../../schemas/frames.js'
import { RoomPatterns } from '../../../schemas/room-rights.js'
import { type GivenConnection, openConnection, turn } from '../../gateway/edge/given-connection.js'
import { until } from '../../gateway/node.js'
import { givenRooms } from './given-rooms.js'

const token = { rooms: RoomPatterns.of({ '*': 'rw' })! }
const join = (roomId: string): Frame => ({ op: 'join', roomId, roomSeq: 0 })

/** The numbers of the posts that it was given since the last time. */
function given (client: GivenConnection): number[] {
  return client.written.splice(0).flatMap(frame => frame.op === 'post' ? [frame.roomSeq] : [])
}

t.test('A crowd of which some never read', async t => {
  const [members, deafEvery, bursts, burst] = [600, 10, 40, 50]
  const bytesMax = 1 << 17
  const world = givenRooms(t, { tail: { postsMax: 1_000, bytesMax, ageMaxMs: 3_600_000 } })
  const open = () => openConnection(t, {}, { token }, undefined, undefined, world.rooms)
  const crowd: GivenConnection[] = []
  for (let i = 0; i < members; i++) {
    const client = await open()
    client.received(join('crowd'))
    crowd.push(client)
  }
  const other = await open()
  other.received(join('few'))
  await turn()
  world.answer(0, 0, { roomId: 'crowd' })
  world.answer(0, 0, { roomId: 'few' })
  await until('all are in', () => [...crowd, other].every(({ written }) => written.at(-1)?.op === 'joined'))
  for (const client of [...crowd, other]) client.written.length = 0
  const deaf = crowd.filter((_, i) => i % deafEvery === 0)
  for (const client of deaf) client.queues(1 << 20)
  const readers = crowd.filter(client => !deaf.includes(client))

  for (let n = 0; n < bursts; n++) {
    world.posts(n * burst + 1, (n + 1) * burst, 'crowd', Buffer.alloc(1_000))
    world.posts(n + 1, n + 1, 'few')
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(given(other), [n + 1], 'who is in another room waits for no more than a turn')
    await until('they have it', () => readers.every(({ written }) => written.length === burst))
    const wanted = Array.from({ length: burst }, (_, i) => n * burst + 1 + i)
    const wrong = readers.filter(client => given(client).join() !== wanted.join())
    t.equal(wrong.length, 0, 'whoever reads has each post once, in order')
    t.ok(world.rooms.tailBytes < 2 * bytesMax, `${world.rooms.tailBytes} bytes are kept`)
  }
  t.ok(deaf.every(({ written }) => written.length === 0), 'nothing is queued for who does not read')
  t.strictSame(world.asked, [], 'and nobody is asked for his sake')
  deaf[0]!.queues(0)
  deaf[0]!.tell({ type: 'drained' })
  await turn()
  t.match(world.asked, [{ roomId: 'crowd', afterSeq: 0 }], 'but once one of them reads')
})
