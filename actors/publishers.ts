import type { EventLog } from '../ledger/log.js'
import type { RecordStream } from '../schemas/streams.js'
import type { FoldingBlock } from './folding.js'
import type { KindTypes } from './kind.js'
import { Publisher } from './publisher.js'

export interface PublishersDeps<T> {
  readonly log: Pick<EventLog, 'append'>
  readonly partition: number
  /** The stream will never take this one; whoever is told records it. */
  setAside (stream: RecordStream<T>, item: T, error: Error): void
  /** An append failed, and is tried again. */
  failed (stream: RecordStream<T>, reason: string): void
  /** More of it is in one of the streams. */
  progressed (): void
}

/** What each stream that is derived from a partition has already, in the order of the kind. */
export async function derivedFromOf (
  log: Pick<EventLog, 'derivedFrom'>, streams: ReadonlyArray<RecordStream<any>>, partition: number
): Promise<bigint[]> {
  return await Promise.all(streams.map(stream => log.derivedFrom(stream, partition)))
}

/**
 * The publishers of one partition, one for each stream that is derived from it. They do not wait for each other; a
 * checkpoint waits for all. A stream that gets nothing costs nothing.
 */
export class Publishers<K extends KindTypes> {
  readonly #each: ReadonlyArray<Publisher<K['derived']>>

  /** @param published what each stream has already: `derivedFromOf` */
  constructor (
    { log, partition, setAside, failed, progressed }: PublishersDeps<K['derived']>,
    streams: ReadonlyArray<RecordStream<K['derived']>>, folded: bigint, published: readonly bigint[]
  ) {
    this.#each = streams.map((stream, i) => new Publisher({
      log,
      stream,
      partition,
      setAside: (item, error) => { setAside(stream, item, error) },
      failed: reason => { failed(stream, reason) },
      progressed,
    }, folded, published[i]!))
  }

  /** All streams have what is derived up to here. */
  get published (): bigint {
    let least = this.#each[0]!.published
    for (const { published } of this.#each) if (published < least) least = published
    return least
  }

  /** Of what is not in its stream yet. */
  get bytes (): number {
    let bytes = 0
    for (let i = 0; i < this.#each.length; i++) bytes += this.#each[i]!.bytes
    return bytes
  }

  /** Since when the oldest append has been under way, ms since 1970; 0 for none. */
  get sinceMs (): number {
    let oldest = 0
    for (const { sinceMs } of this.#each) if (sinceMs > 0 && (oldest === 0 || sinceMs < oldest)) oldest = sinceMs
    return oldest
  }

  /** The next block is folded. */
  add ({ offset, derived }: FoldingBlock<K>): void {
    for (let i = 0; i < this.#each.length; i++) this.#each[i]!.add(offset, derived[i] ?? nothing)
  }

  publish (): void {
    for (let i = 0; i < this.#each.length; i++) this.#each[i]!.publish()
  }

  /** @returns false where the partition has ended */
  async until (offset: bigint): Promise<boolean> {
    const done = await Promise.all(this.#each.map(publisher => publisher.until(offset)))
    return done.every(isDone => isDone)
  }

  /** What is not in its stream yet is the next owner's to publish. */
  end (): void {
    for (const publisher of this.#each) publisher.end()
  }
}

const nothing: readonly never[] = []
