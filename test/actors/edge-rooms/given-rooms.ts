import type { Test } from 'tap'
import { tickMs } from '../../../actors/connection/lifetime.js'
import { EdgeRooms, type EdgeRoomsLimits } from '../../../actors/edge-rooms/edge-rooms.js'
import type { AskRoom, MembersKnown, RoomPost, RoomTail } from '../../../actors/room-links.js'
import type { RoomEntry, RoomFact } from '../../../schemas/room-facts.js'

interface Teardown { teardown (done: () => unknown): void }

/** The rooms of an edge without a node: their owner is the test, and so is the clock. */
export function givenRooms (t: Test | Teardown, limits: Partial<EdgeRoomsLimits> = {}, mayLose = false) {
  const appended: RoomEntry[] = []
  const asked: AskRoom[] = []
  const answers: MembersKnown[] = []
  const count = { posts: 0, signals: 0 }
  let now = 0
  let refuses = false
  const rooms = new EdgeRooms({
    nodeId: 'n1',
    nodeEpoch: () => 7,
    ticks: () => now,
    tickMs,
    partitionOf: () => 0,
    async append (_partition, entries) {
      if (refuses) throw new Error('planted')
      appended.push(...entries)
    },
    ask (question) { if (question.type === 'askRoom') asked.push(question) },
    answer (answer) { answers.push(answer) },
    mayLose,
    limits: {
      roomsMax: 100,
      tail: { postsMax: 1_000, bytesMax: 1 << 20, ageMaxMs: 3_600_000 },
      tailsBytesMax: 64 << 20,
      queuedBytesMax: 1 << 18,
      lingerMs: 10_000,
      lingeringMax: 10_000,
      ...limits,
    },
    count,
  })
  t.teardown(() => rooms.stop())
  return {
    rooms,
    asked,
    answers,
    count,
    /** The facts of a room that were appended, oldest first. */
    facts: (roomId = 'r'): RoomFact[] => appended.filter(each => each.roomId === roomId).map(({ fact }) => fact),
    /** How often it was told that this node has members, or none any more. */
    interests: () => appended.filter(({ fact }) => fact.type !== 'PostsDelivered').length,
    /** What the ledger was told of posts that members were given: up to 3, to two members, one behind, is `3 2/1`. */
    reports: (roomId = 'r'): string[] => appended.flatMap(({ roomId: of, fact }) =>
      of === roomId && fact.type === 'PostsDelivered' ? [`${fact.roomSeq} ${fact.members}/${fact.behind}`] : []),
    /** The owner's answer to the last interest: the posts after `keptAfter`, up to `roomSeq`. */
    answer (roomSeq: number, keptAfter = 0, more: Partial<RoomTail> = {}) {
      const { roomId = 'r' } = more
      const joined = this.facts(roomId).filter(fact => fact.type === 'NodeJoined').at(-1)
      rooms.received({
        type: 'roomTail',
        nodeId: 'n1',
        roomId,
        interest: joined?.interest ?? 0,
        roomSeq,
        keptAfter,
        posts: postsOf(keptAfter + 1, roomSeq),
        closed: false,
        reason: '',
        ...more,
      })
    },
    posts (from: number, to: number, roomId = 'r', payload?: Buffer) {
      rooms.received({ type: 'roomPosts', nodeId: 'n1', roomId, posts: postsOf(from, to, payload) })
    },
    signal (roomId = 'r', payload = Buffer.from('now')) {
      rooms.received({ type: 'roomSignal', nodeId: 'n1', roomId, service: 'typing', payload })
    },
    /** Nothing can be stored. */
    refuse (is: boolean) { refuses = is },
    /** Time goes on by so much, and the rooms are looked at. */
    pass (ms: number) {
      now += ms / tickMs
      rooms.sweep()
    },
  }
}

export type GivenRooms = ReturnType<typeof givenRooms>

export function postsOf (from: number, to: number, payload?: Buffer): RoomPost[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => ({
    roomSeq: from + i,
    messageId: `m${from + i}`,
    from: 'ann',
    service: 'chat',
    payload: payload ?? Buffer.from(`post ${from + i}`),
    postedAtMs: 1_000,
    encoded: new Map(),
  }))
}
