import { foldRoom } from '../../actors/rooms/fold.js'
import { newRoom, type RoomState } from '../../actors/rooms/state.js'
import type { EventLog } from '../../ledger/log.js'
import type { Posted } from '../../schemas/records.js'
import { posts, rooms } from '../../schemas/streams.js'
import type { Device } from '../device.js'
import type { Published } from '../judge.js'
import type { RoomHost } from './host.js'

/** What a room has, by number. */
export type Numbered = ReadonlyMap<number, Posted>

/** What the stream `posts` says, and what the whole stream `rooms` makes of new rooms; both by room. */
export interface RoomStreams {
  readonly published: ReadonlyMap<string, Numbered>
  readonly folded: ReadonlyMap<string, Numbered>
  /** Numbers that `posts` has given to two posts, in words. */
  readonly complaints: readonly string[]
}

export async function readRooms (log: EventLog): Promise<RoomStreams> {
  const complaints: string[] = []
  const published = new Map<string, Map<number, Posted>>()
  for (let partition = 0; partition < log.partitions(posts); partition++) {
    const { first } = await log.bounds(posts, partition)
    for await (const { items } of log.read(posts, partition, { from: first })) {
      for (const post of items) {
        const known = add(published, post)
        if (isSame(known, post)) continue
        complaints.push(`post ${post.roomSeq} of ${post.roomId} is ${known.messageId}, and ${post.messageId} as well`)
      }
    }
  }
  const folded = new Map<string, Map<number, Posted>>()
  const states = new Map<string, RoomState>()
  for (let partition = 0; partition < log.partitions(rooms); partition++) {
    const { first } = await log.bounds(rooms, partition)
    for await (const { items } of log.read(rooms, partition, { from: first })) {
      for (const entry of items) {
        const state = states.get(entry.roomId) ?? newRoom()
        states.set(entry.roomId, state)
        for (const effect of foldRoom(state, entry)) if (effect.type === 'post') add(folded, effect.post)
      }
    }
  }
  return { published, folded, complaints }
}

/** @returns the one that had the number first */
function add (rooms: Map<string, Map<number, Posted>>, post: Posted): Posted {
  const { roomId, roomSeq } = post
  const room = rooms.get(roomId) ?? new Map<number, Posted>()
  rooms.set(roomId, room)
  const known = room.get(roomSeq)
  if (!known) room.set(roomSeq, post)
  return known ?? post
}

function isSame (one: Posted, other: Posted): boolean {
  return one.messageId === other.messageId && Buffer.from(one.payload).equals(other.payload)
}

/**
 * What rooms were to do and did not, in words.
 *
 * @param knowsRepeats false where a clock was off: by one that is a day ahead a request of before is forgotten
 */
export function * roomFaults (
  { published, folded, complaints }: RoomStreams, devices: readonly Device[], host: RoomHost,
  uplinks: readonly Published[], knowsRepeats: boolean
): Iterable<string> {
  yield * complaints
  yield * host.complaints
  for (const roomId of new Set([...published.keys(), ...folded.keys()])) {
    yield * numberFaults(roomId, published.get(roomId) ?? new Map(), folded.get(roomId) ?? new Map(), knowsRepeats)
  }
  const ids = new Map(Array.from(published, ([roomId, room]) =>
    [roomId, new Map(Array.from(room.values(), post => [post.messageId, post]))]))
  for (const [roomId, queued] of host.queued) {
    for (const messageId of queued) {
      if (!ids.get(roomId)?.has(messageId)) yield `${messageId} was queued for ${roomId}, and is no post of it`
    }
  }
  for (const { userId, userSeq, payload, roomId } of uplinks) {
    if (roomId === '') continue
    const post = ids.get(roomId)?.get(`${userId}/${userSeq}`)
    if (!post) yield `uplink ${userSeq} of ${userId} is no post of ${roomId}`
    else if (textOf(post) !== payload) yield `uplink ${userSeq} of ${userId} is "${textOf(post)}" in ${roomId}`
  }
  for (const { name, member } of devices) {
    for (const complaint of member.complaints) yield `${name} ${complaint}`
    for (const [roomId, seen] of member.posts) {
      for (const [roomSeq, messageId] of seen) {
        const is = published.get(roomId)?.get(roomSeq)?.messageId
        if (is !== messageId) yield `${name} got ${messageId} as post ${roomSeq} of ${roomId}, which is ${is ?? 'none'}`
      }
    }
  }
}

/** Numbers run 1, 2, 3..., each is that of the fold, and no post has two. */
function * numberFaults (
  roomId: string, published: Numbered, folded: Numbered, knowsRepeats: boolean
): Iterable<string> {
  const byId = new Map<string, number>()
  for (let roomSeq = 1; roomSeq <= Math.max(published.size, folded.size); roomSeq++) {
    const [is, shouldBe] = [published.get(roomSeq), folded.get(roomSeq)]
    if (!is || !shouldBe || !isSame(is, shouldBe)) {
      const [one, other] = [is?.messageId ?? 'not there', shouldBe?.messageId ?? 'nothing']
      yield `post ${roomSeq} of ${roomId} is ${one}, and the stream rooms makes it ${other}`
      return
    }
    const before = byId.get(is.messageId)
    const isUplink = is.from !== ''
    if (before !== undefined && (isUplink || knowsRepeats)) {
      yield `${is.messageId} is post ${before} and ${roomSeq} of ${roomId}`
    }
    byId.set(is.messageId, roomSeq)
  }
}

function textOf ({ payload }: Posted): string { return Buffer.from(payload).toString() }
