import fc from 'fast-check'
import t from 'tap'
import { foldRoom } from '../../actors/rooms/fold.js'
import { roomStates } from '../../actors/rooms/parts.js'
import { RoomBooks } from '../../evidence/audit/room-books.js'
import type { Stay } from '../../evidence/rooms/stays.js'
import { anyFacts, at } from '../actors/rooms/given-room.js'

const runs = { numRuns: 200, seed: Number(process.env['SEED'] ?? 19700101) }

t.test('Books of rooms', async t => {
  t.test('tell the same however many rest', async t => {
    const anyRooms = fc.tuple(fc.array(anyFacts, { minLength: 2, maxLength: 6 }), fc.infiniteStream(fc.nat()))
    fc.assert(fc.property(anyRooms, ([facts, turns]) => {
      const order: number[] = []
      const queues = facts.map(each => [...each])
      for (const turn of turns) {
        const room = turn % queues.length
        if (queues.every(({ length }) => length === 0)) break
        if (queues[room]!.shift()) order.push(room)
      }
      const told = [1, 1_000].map(awakeMax => {
        const ended: string[] = []
        const endedStay = ({ nodeId, fromSeq, end }: Stay, roomSeq: number) => {
          ended.push(`${nodeId} ${fromSeq} ${roomSeq} ${end!.code}`)
        }
        const books = new RoomBooks(endedStay, awakeMax)
        const next = facts.map(() => 0)
        for (const [step, index] of order.entries()) {
          const room = books.take(`r${index}`)
          const entry = at(step, facts[index]![next[index]!++]!)
          const posts = foldRoom(room.state, entry).filter(({ type }) => type === 'post').length
          room.stays.after(entry, room.state)
          room.state.tail.restore([], room.state.tail.roomSeq)
          room.publishedSeq += posts
          if (posts > 0) room.lastPostAtMs = step
        }
        const open = Array.from(books.withStays(), ([roomId, { stays }]) => [roomId, stays.open] as const)
          .filter(([, stays]) => stays.length > 0).sort(([a], [b]) => a < b ? -1 : 1)
        const states = facts.map((_, i) => {
          const room = books.find(`r${i}`)
          return room && [roomStates.comparable(room.state), room.publishedSeq, room.lastPostAtMs]
        })
        return { ended, open, states, size: books.size }
      })
      t.strictSame(told[0], told[1])
    }), runs)
  })

  t.test('keep those awake that wait for records', async t => {
    const books = new RoomBooks(() => {}, 2)
    const waiting = books.take('waits')
    waiting.due.push({} as never)
    for (let i = 0; i < 9; i++) books.take(`r${i}`)
    t.equal(books.find('waits'), waiting)
    t.equal(books.size, 10)
  })
})
