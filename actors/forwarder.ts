import type { EventLog } from '../ledger/log.js'
import { appendBytesMax } from '../ledger/pieces.js'
import { appOf, userIdOf, userKey } from '../schemas/apps.js'
import type { RoomEntry } from '../schemas/room-facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { rooms } from '../schemas/streams.js'
import type { FoldingBlock } from './folding.js'
import { isForGood } from './publisher.js'
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

/** What one block of the ledger has for rooms, in the order of its entries. */
interface Forwarded { readonly offset: bigint, readonly posts: readonly RoomEntry[], readonly bytes: number }

/**
 * Writes the uplinks that name a room, once they are accepted, to the stream `rooms`, in the order of the ledger. Each
 * names its entry, by which its room knows a repeat, so what a replay writes once more is no harm; but nothing may be
 * left out. So an append is tried until it succeeds, the next one waits for it, and so does a checkpoint of the
 * partition.
 */
export class Forwarder {
  readonly #deps: ForwarderDeps
  readonly #rooms: number
  readonly #queue: Forwarded[] = []
  #bytes = 0
  /** All up to here is folded, and in the stream. */
  #folded: bigint
  #done: bigint
  #running = false
  #ended = false
  #sinceMs = 0
  #waiting: { readonly offset: bigint, resolve (isDone: boolean): void } | undefined

  constructor (deps: ForwarderDeps, folded: bigint) {
    this.#deps = deps
    this.#rooms = deps.log.partitions(rooms)
    this.#folded = this.#done = folded
  }

  /** Of what is not in the stream yet. */
  get bytes (): number { return this.#bytes }
  /** Since when an append has been under way, ms since 1970; 0 for none. */
  get sinceMs (): number { return this.#sinceMs }

  /** The next block is folded. */
  add (block: FoldingBlock<UserTypes>): void {
    this.#folded = block.offset
    if (block.handOn) {
      const posts = postsOf(block, this.#deps.partition)
      let bytes = 0
      for (const post of posts) bytes += rooms.bytesOf(post)
      this.#queue.push({ offset: block.offset, posts, bytes })
      this.#bytes += bytes
      if (!this.#running) this.#run()
    } else if (!this.#running) this.#moveTo(block.offset)
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

  async #run (): Promise<void> {
    this.#running = true
    while (this.#queue.length > 0) {
      const { posts, bytes, to } = this.#take()
      this.#sinceMs = Date.now()
      const written = await Promise.all(Array.from(byPartition(posts, this.#rooms), ([partition, some]) =>
        this.#append(partition, some)))
      if (!written.every(isWritten => isWritten)) return
      this.#sinceMs = 0
      this.#bytes -= bytes
      this.#moveTo(to)
      this.#deps.progressed()
    }
    this.#running = false
    this.#moveTo(this.#folded)
  }

  /** At most what one append should have, or one block of the ledger. */
  #take (): { posts: readonly RoomEntry[], bytes: number, to: bigint } {
    const queue = this.#queue
    let { bytes } = queue[0]!
    let end = 1
    while (end < queue.length && bytes + queue[end]!.bytes <= appendBytesMax) bytes += queue[end++]!.bytes
    const blocks = queue.splice(0, end)
    return { posts: blocks.flatMap(({ posts }) => posts), bytes, to: blocks.at(-1)!.offset }
  }

  #moveTo (offset: bigint): void {
    this.#done = offset
    if (!this.#waiting || offset < this.#waiting.offset) return
    this.#waiting.resolve(true)
    this.#waiting = undefined
  }

  /**
   * In order, what the stream will take: what it never will is set aside, and the others must not wait for that.
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

/** Users fold a block side by side; its posts go on in the order of its entries. */
function postsOf ({ offset, items, handOn }: FoldingBlock<UserTypes>, ledgerPartition: number): RoomEntry[] {
  const places = new Map(items.map((entry, index) => [entry, index]))
  const ledgerOffset = Number(offset)
  return handOn!.map(({ entry, fact, userSeq }): { index: number, post: RoomEntry } => {
    const { userId: key, atMs } = entry
    const userId = userIdOf(key)
    const ledgerIndex = places.get(entry)!
    return {
      index: ledgerIndex,
      post: {
        roomId: userKey(appOf(key), fact.roomId),
        atMs,
        fact: {
          type: 'PostRequested',
          messageId: `${userId}/${userSeq}`,
          from: userId,
          service: fact.service,
          payload: fact.payload,
          ledgerPartition,
          ledgerOffset,
          ledgerIndex,
          by: '',
        },
      },
    }
  }).sort((a, b) => a.index - b.index).map(({ post }) => post)
}

function byPartition (posts: readonly RoomEntry[], partitions: number): Map<number, RoomEntry[]> {
  const found = new Map<number, RoomEntry[]>()
  for (const post of posts) {
    const partition = partitionOf(post.roomId, partitions)
    const some = found.get(partition)
    if (some) some.push(post)
    else found.set(partition, [post])
  }
  return found
}
