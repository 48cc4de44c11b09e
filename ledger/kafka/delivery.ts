import type { Block, Follower, Hole } from '../log.js'
import type { FetchTarget } from './fetcher.js'
import type { Parting, Place } from './places.js'
import type { StoredRecord, StoredRecords } from './record-batch.js'

export interface DeliveryDeps<T> {
  readonly follower: Follower<T>
  decode (value: Uint8Array): readonly T[]
  /** There is room again, or nothing is left. */
  drained (): void
  /** A record that nobody can take; it is skipped. */
  rejected (offset: bigint, bytes: Uint8Array, reason: string): void
  /** What was fetched from there on is not in the log any more. */
  parted (parting: Parting): void
  failed (err: unknown, offset: bigint): void
}

const queuedBytesMax = 4 << 20
/** How long catching up may keep the event loop. */
const turnMs = 4

/** One partition's way to its follower: what was fetched and not yet handed on, one block at a time, in order. */
export class Delivery<T> implements FetchTarget {
  /** The offset after the last record in the queue. */
  next: bigint
  epoch: number
  /** The offset after the last record that the follower has taken. */
  delivered: bigint
  /** The offset that the next record of the partition gets, as of the last fetch. */
  end: bigint
  private queue: StoredRecord[] = []
  private at = 0
  /** That the follower has yet to be told of, in order. */
  private readonly holes: Hole[] = []
  queuedBytes = 0
  private busy = false
  private stopped = false
  private whenIdle: (() => void) | undefined
  private readonly go = (): void => { this.busy = false; this.pump() }

  constructor (readonly partition: number, { next, epoch }: Place, private readonly deps: DeliveryDeps<T>) {
    this.next = this.delivered = this.end = next
    this.epoch = epoch
  }

  /** How far the follower has come. The epoch may be a later one: that is as good for telling logs apart. */
  get place (): Place { return { next: this.delivered, epoch: this.epoch } }

  parted (parting: Parting): void { this.deps.parted(parting) }

  get full (): boolean { return this.queuedBytes > queuedBytesMax }

  take ({ records, unreadable, next }: StoredRecords, end: bigint): void {
    for (const { offset, bytes, reason } of unreadable) this.deps.rejected(offset, bytes, reason)
    for (const record of records) this.queuedBytes += bytesOf(record)
    if (records.length > 0) {
      this.queue = this.at === this.queue.length ? [...records] : [...this.queue.slice(this.at), ...records]
      this.at = 0
    }
    this.end = end
    if (!this.busy) this.pump()
    if (this.at === this.queue.length && !this.busy) this.delivered = next
  }

  passed (hole: Hole): void { this.holes.push(hole) }

  /** Resolves when no block is being handled, and none will be. */
  stop (): Promise<void> {
    this.stopped = true
    if (!this.busy) return Promise.resolve()
    return new Promise(resolve => { this.whenIdle = resolve })
  }

  private pump (): void {
    const startedMs = performance.now()
    while (!this.stopped && this.at < this.queue.length) {
      const record = this.queue[this.at++]!
      const wasFull = this.full
      this.queuedBytes -= bytesOf(record)
      if ((wasFull && !this.full) || this.queuedBytes === 0) this.deps.drained()
      this.tellOfHoles(record.offset)
      const outcome = this.hand(record)
      if (outcome instanceof Promise) {
        this.busy = true
        outcome.catch(err => this.deps.failed(err, record.offset)).then(() => this.done(record))
        return
      }
      this.delivered = record.offset + 1n
      if (performance.now() - startedMs > turnMs && this.at < this.queue.length) {
        this.busy = true
        setImmediate(this.go)
        return
      }
    }
    if (this.at === this.queue.length) {
      this.queue = []
      this.at = 0
    }
    if (this.stopped) this.whenIdle?.()
  }

  private done (record: StoredRecord): void {
    this.delivered = record.offset + 1n
    this.go()
  }

  /** Those before `offset`. */
  private tellOfHoles (offset: bigint): void {
    while (this.holes.length > 0 && this.holes[0]!.to <= offset) {
      this.deps.follower.passed?.(this.partition, this.holes.shift()!)
    }
  }

  private hand ({ offset, value, headers }: StoredRecord): unknown {
    const items = this.decoded(offset, value)
    if (!items || items.length === 0) return
    const block: Block<T> = { partition: this.partition, offset, items, headers }
    try {
      return this.deps.follower.received(block)
    } catch (err) {
      this.deps.failed(err, offset)
    }
  }

  private decoded (offset: bigint, value: Uint8Array | null): readonly T[] | undefined {
    try {
      return decodeCopy(value, this.deps.decode)
    } catch (err) {
      this.deps.rejected(offset, value ?? Buffer.alloc(0), (err as Error).message)
    }
  }
}

/**
 * Decodes a copy: payloads are views, and one that somebody keeps must not keep a whole answer of megabytes.
 *
 * @throws what `decode` throws, and Error for a record without a value
 */
export function decodeCopy<T> (value: Uint8Array | null, decode: (value: Uint8Array) => readonly T[]): readonly T[] {
  if (value === null) throw new Error('has no value')
  return decode(Buffer.from(value))
}

/** What a record takes in memory, with the objects around it. */
function bytesOf ({ key, value, headers }: StoredRecord): number {
  let bytes = 256 + (key?.length ?? 0) + (value?.length ?? 0)
  for (const [name, header] of headers) bytes += 64 + name.length + header.length
  return bytes
}
