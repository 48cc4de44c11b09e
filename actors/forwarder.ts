import type { EventLog, Position } from '../ledger/log.js'
import { appendBytesMax, isForGood } from '../ledger/pieces.js'
import { appOf, userIdOf, userKey } from '../schemas/apps.js'
import type { Entry, UplinkReceived } from '../schemas/facts.js'
import type { PostRequested, RoomEntry } from '../schemas/room-facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { rooms } from '../schemas/streams.js'
import type { FoldingBlock } from './folding.js'
import type { UserTypes } from './user/actor.js'

export interface ForwarderDeps {
  readonly log: Pick<EventLog, 'append' | 'partitions'>
  /** Of the ledger. */
  readonly partition: number
  /** The stream `rooms` will never take this one; whoever is told records it. */
  setAside (post: RoomEntry, error: Error): void
  /** An append failed, and is tried again. */
  failed (reason: string): void
  /** More of it is in the stream. */
  progressed (): void
}

const retryMsMin = 50
const retryMsMax = 2_000

/** What waits for one partition of `rooms`, in the order of the ledger, with what is being appended. */
interface Lane {
  readonly partition: number
  readonly queue: Waiting[]
  /** Since when its append has been under way, ms since 1970. */
  sinceMs: number
}

interface Waiting { readonly offset: bigint, readonly post: RoomEntry, readonly bytes: number }

/**
 * Writes accepted uplinks that name a room to the stream `rooms`, in the order of the ledger. An append is tried until
 * it succeeds; the next one to the same partition waits for it, and so does a checkpoint. For each post names its
 * ledger entry, by which its room drops repeats: a replay may write it again, but a post that comes after a later one
 * would be dropped as a repeat.
 *
 * Partitions of `rooms` do not wait for each other. One that takes nothing holds up its own rooms, and the others only
 * when more waits than a partition of the ledger may have in memory.
 */
export class Forwarder {
  readonly #deps: ForwarderDeps
  readonly #rooms: number
  /** Those that something waits for. */
  readonly #lanes = new Map<number, Lane>()
  #bytes = 0
  #folded: bigint
  #ended = false
  #waiting: { readonly offset: bigint, resolve (isDone: boolean): void } | undefined

  constructor (deps: ForwarderDeps, folded: bigint) {
    this.#deps = deps
    this.#rooms = deps.log.partitions(rooms)
    this.#folded = folded
  }

  /** Of what is not in the stream yet. */
  get bytes (): number { return this.#bytes }

  /** Since when the oldest append has been under way, ms since 1970; 0 for none. */
  get sinceMs (): number {
    let oldest = Infinity
    for (const { sinceMs } of this.#lanes.values()) oldest = Math.min(oldest, sinceMs)
    return oldest === Infinity ? 0 : oldest
  }

  /** Takes the posts of the next block that is folded. */
  add (block: FoldingBlock<UserTypes>): void {
    const { offset, handOn } = block
    this.#folded = offset
    if (handOn) for (const post of postsOf(block, this.#deps.partition)) this.#add(offset, post)
    this.#look()
  }

  /** @returns false where the partition has ended */
  until (offset: bigint): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false)
    if (this.#done >= offset) return Promise.resolve(true)
    return new Promise(resolve => { this.#waiting = { offset, resolve } })
  }

  /** What is not in the stream yet is the next owner's to write. */
  end (): void {
    this.#ended = true
    this.#waiting?.resolve(false)
    this.#waiting = undefined
  }

  /** All up to here is folded, and in the stream. */
  get #done (): bigint {
    let done = this.#folded
    for (const { queue } of this.#lanes.values()) {
      const before = queue[0]!.offset - 1n
      if (before < done) done = before
    }
    return done
  }

  #add (offset: bigint, post: RoomEntry): void {
    const bytes = rooms.bytesOf(post)
    this.#bytes += bytes
    const partition = partitionOf(post.roomId, this.#rooms)
    const lane = this.#lanes.get(partition)
    if (lane) {
      lane.queue.push({ offset, post, bytes })
      return
    }
    const queue = [{ offset, post, bytes }]
    const opened = { partition, queue, sinceMs: Date.now() }
    this.#lanes.set(partition, opened)
    // What this turn adds goes with the same append.
    queueMicrotask(() => { this.#run(opened) })
  }

  async #run (lane: Lane): Promise<void> {
    const { partition, queue } = lane
    while (queue.length > 0 && !this.#ended) {
      const { posts, bytes } = nextOf(queue)
      lane.sinceMs = Date.now()
      if (!await this.#append(partition, posts)) return
      queue.splice(0, posts.length)
      this.#bytes -= bytes
      if (queue.length === 0) this.#lanes.delete(partition)
      this.#look()
      this.#deps.progressed()
    }
  }

  #look (): void {
    if (!this.#waiting || this.#done < this.#waiting.offset) return
    this.#waiting.resolve(true)
    this.#waiting = undefined
  }

  /**
   * Appends posts in order. Those that the stream will never take are set aside, and the others do not wait for them.
   *
   * @returns false where the partition has ended before
   */
  async #append (partition: number, posts: readonly RoomEntry[]): Promise<boolean> {
    const { log, setAside, failed } = this.#deps
    for (let waitMs = retryMsMin; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        await log.append(rooms, partition, posts, { reserved: true })
        return true
      } catch (err) {
        if (this.#ended) return false
        if (isForGood(err)) {
          if (posts.length === 1) {
            setAside(posts[0]!, err as Error)
            return true
          }
          const half = posts.length >> 1
          return await this.#append(partition, posts.slice(0, half)) && await this.#append(partition, posts.slice(half))
        }
        failed((err as Error).message)
        await new Promise(resolve => setTimeout(resolve, waitMs))
        if (this.#ended) return false
      }
    }
  }
}

/**
 * Posts for one append: at most `appendBytesMax`, or one post. A larger append goes in pieces, of which a log may
 * refuse one and take the next.
 */
function nextOf (queue: readonly Waiting[]): { posts: RoomEntry[], bytes: number } {
  const posts: RoomEntry[] = []
  let bytes = 0
  for (const waiting of queue) {
    if (posts.length > 0 && bytes + waiting.bytes > appendBytesMax) break
    posts.push(waiting.post)
    bytes += waiting.bytes
  }
  return { posts, bytes }
}

/** Users fold a block side by side; its posts go on in the order of its entries. */
function postsOf ({ offset, items, handOn }: FoldingBlock<UserTypes>, ledgerPartition: number): RoomEntry[] {
  const places = new Map(items.map((entry, index) => [entry, index]))
  return handOn!.map(({ entry, fact, userSeq }) =>
    postOf(entry, fact, userSeq, { partition: ledgerPartition, offset, index: places.get(entry)! }))
    .sort((a, b) => a.fact.ledgerIndex - b.fact.ledgerIndex)
}

/** What an accepted uplink is in the stream `rooms`. @param place of its entry in the ledger */
export function postOf (
  { userId: key, atMs }: Entry, { roomId, service, payload }: UplinkReceived, userSeq: number,
  { partition, offset, index }: Position
): RoomEntry & { readonly fact: PostRequested } {
  const userId = userIdOf(key)
  return {
    roomId: userKey(appOf(key), roomId),
    atMs,
    fact: {
      type: 'PostRequested',
      messageId: `${userId}/${userSeq}`,
      from: userId,
      service,
      payload,
      ledgerPartition: partition,
      ledgerOffset: Number(offset),
      ledgerIndex: index,
      by: '',
    },
  }
}
