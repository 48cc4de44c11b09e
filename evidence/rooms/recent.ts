import { foldRoom } from '../../actors/rooms/fold.js'
import { newRoom } from '../../actors/rooms/state.js'
import { formatPosition, type LogReader } from '../../ledger/log.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { rooms } from '../../schemas/streams.js'
import { type Beginning, beginningOf } from '../beginning.js'
import { roomEntriesOf } from '../entries.js'
import { anew } from '../whole.js'
import { shownRoom } from './state.js'

/** A post that can be traced, with what names it. */
export interface RecentPost {
  /** In the stream `rooms`. */
  readonly position: string
  readonly atMs: number
  readonly messageId: string
  /** User id; empty for a business service. */
  readonly from: string
  readonly service: string
  readonly payloadBytes: number
  /** Null where retention has deleted posts of the partition, from which it would have to be counted. */
  readonly roomSeq: number | null
}

export interface RecentPosts {
  /** Absent for the default one. */
  readonly app?: string
  readonly roomId: string
  /** Newest first. */
  readonly items: readonly RecentPost[]
  /** How many more the stream has. */
  readonly more: number
  /** No entry of the stream is the room's. */
  readonly isUnknown: boolean
  /** Null where the partition is kept from its very beginning. */
  readonly knownSince: Beginning | null
}

/**
 * The last posts that a room took, published or not.
 *
 * @param itemsMax how many of them, the newest
 */
export async function recentPostsOf (log: LogReader, roomId: string, itemsMax: number): Promise<RecentPosts> {
  return await anew(() => recentPostsIn(log, roomId, itemsMax))
}

async function recentPostsIn (log: LogReader, roomId: string, itemsMax: number): Promise<RecentPosts> {
  const knownSince = await beginningOf(log, partitionOf(roomId, log.partitions(rooms)), rooms)
  const state = newRoom()
  const items: RecentPost[] = []
  let total = 0
  let isUnknown = true
  for await (const { position, entry } of roomEntriesOf(log, roomId)) {
    isUnknown = false
    for (const effect of foldRoom(state, entry)) {
      if (effect.type !== 'post') continue
      const { messageId, from, service, payload, postedAtMs: atMs, roomSeq } = effect.post
      items.push({
        position: formatPosition(position),
        atMs,
        messageId,
        from,
        service,
        payloadBytes: payload.length,
        roomSeq: knownSince ? null : roomSeq,
      })
      total++
    }
    if (items.length >= 2 * itemsMax) items.splice(0, items.length - itemsMax)
  }
  const newest = items.slice(-itemsMax).reverse()
  return { ...shownRoom(roomId), items: newest, more: total - newest.length, isUnknown, knownSince }
}
