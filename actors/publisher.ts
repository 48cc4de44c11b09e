import type { EventLog } from '../ledger/log.js'
import { appendBytesMax, isForGood } from '../ledger/pieces.js'
import { bytesOfAll } from '../schemas/sizes.js'
import type { Stream } from '../schemas/streams.js'

export interface PublisherDeps<T> {
  readonly log: Pick<EventLog, 'append'>
  readonly stream: Stream<T>
  readonly partition: number
  /** The stream will never take this one; whoever is told records it. */
  setAside (item: T, error: Error): void
  /** An append failed, and is tried again. */
  failed (reason: string): void
  /** More of it is in the stream. */
  progressed (): void
}

const retryMsMin = 50
const retryMsMax = 2_000

/** What one block adds to the stream. */
interface Derived<T> { readonly offset: bigint, readonly items: readonly T[], readonly bytes: number }

/**
 * Writes what the actors of one partition make of its blocks to the stream that is derived from it, such as `uplinks`
 * from the ledger, in the order of the blocks: whole ones with each append, so that `derivedFrom` says where the next
 * owner goes on.
 */
export class Publisher<T> {
  readonly #deps: PublisherDeps<T>
  readonly #queue: Array<Derived<T>> = []
  #bytes = 0
  /** Last block that is folded, and last one whose items are in the stream. A replay publishes nothing up to there. */
  #folded: bigint
  #published: bigint
  #running = false
  #ended = false
  #sinceMs = 0
  #waiting: { readonly offset: bigint, resolve (isPublished: boolean): void } | undefined

  /** @param published what the stream has already: `derivedFrom` */
  constructor (deps: PublisherDeps<T>, folded: bigint, published: bigint) {
    this.#deps = deps
    this.#folded = folded
    this.#published = published
  }

  get published (): bigint { return this.#published }
  /** Of what is not in the stream yet. */
  get bytes (): number { return this.#bytes }
  /** Since when an append has been under way, ms since 1970; 0 for none. */
  get sinceMs (): number { return this.#sinceMs }

  /** The next block is folded. It goes into the stream with the next `publish`. */
  add (offset: bigint, items: readonly T[]): void {
    this.#folded = offset
    if (items.length === 0 || offset <= this.#published) return
    const bytes = bytesOfAll(this.#deps.stream, items)
    this.#queue.push({ offset, items, bytes })
    this.#bytes += bytes
  }

  publish (): void {
    if (this.#running) return
    if (this.#queue.length === 0) this.#moveTo(this.#folded)
    else this.#run()
  }

  /** @returns false where the partition has ended, even where the stream has it all: it may be ahead of the folds */
  until (offset: bigint): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false)
    if (this.#published >= offset) return Promise.resolve(true)
    return new Promise(resolve => { this.#waiting = { offset, resolve } })
  }

  /** What is not in the stream yet is the next owner's to publish. */
  end (): void {
    this.#ended = true
    this.#waiting?.resolve(false)
    this.#waiting = undefined
  }

  async #run (): Promise<void> {
    this.#running = true
    while (this.#queue.length > 0) {
      const { items, bytes, derivedFrom } = this.#take()
      this.#sinceMs = Date.now()
      if (!await this.#append(items, derivedFrom, bytes)) return
      this.#sinceMs = 0
      this.#bytes -= bytes
      this.#moveTo(derivedFrom)
    }
    this.#running = false
    this.#moveTo(this.#folded)
  }

  /** Takes blocks for one append: at most `appendBytesMax`, or one block, for a commit takes an append as a whole. */
  #take (): { items: readonly T[], bytes: number, derivedFrom: bigint } {
    const queue = this.#queue
    let { bytes } = queue[0]!
    let end = 1
    while (end < queue.length && bytes + queue[end]!.bytes <= appendBytesMax) bytes += queue[end++]!.bytes
    const blocks = queue.splice(0, end)
    const items = blocks.length === 1 ? blocks[0]!.items : itemsOf(blocks)
    return { items, bytes, derivedFrom: queue.length === 0 ? this.#folded : blocks.at(-1)!.offset }
  }

  #moveTo (offset: bigint): void {
    if (offset > this.#published) this.#published = offset
    if (this.#waiting && this.#published >= this.#waiting.offset) {
      this.#waiting.resolve(true)
      this.#waiting = undefined
    }
    this.#deps.progressed()
  }

  /**
   * Appends all items but those that the stream will never take: these are set aside, and the others do not wait.
   *
   * @param derivedFrom undefined where more of the same blocks follows
   * @param bytes what the items take, where it is known
   * @returns false where the partition has ended before
   */
  async #append (
    items: readonly T[], derivedFrom: bigint | undefined, bytes?: number
  ): Promise<boolean> {
    const { log, stream, partition, setAside, failed } = this.#deps
    const known = { ...(derivedFrom === undefined ? {} : { derivedFrom }), ...(bytes === undefined ? {} : { bytes }) }
    const options = { lazy: true, reserved: true, ...known }
    for (let waitMs = retryMsMin; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        await log.append(stream, partition, items, options)
        return true
      } catch (err) {
        if (this.#ended) return false
        if (isForGood(err)) {
          if (items.length === 1) {
            setAside(items[0]!, err as Error)
            return true
          }
          const half = items.length >> 1
          const first = await this.#append(items.slice(0, half), undefined)
          return first && await this.#append(items.slice(half), derivedFrom)
        }
        failed((err as Error).message)
        await new Promise(resolve => setTimeout(resolve, waitMs))
      }
    }
  }
}

function itemsOf<T> (blocks: ReadonlyArray<Derived<T>>): T[] {
  const all: T[] = []
  for (let i = 0; i < blocks.length; i++) {
    const { items } = blocks[i]!
    for (let k = 0; k < items.length; k++) all.push(items[k]!)
  }
  return all
}
