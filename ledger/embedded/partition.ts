import type { RootDatabase } from 'lmdb'
import { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import type { Block, Position } from '../log.js'
import type { WriteBatch } from './batch.js'
import { blockHeaderBytes, openBlock, sealBlock, type OpenedBlock } from './block.js'
import { blockKey } from './keys.js'
import type { Delivery } from './followers.js'
import type { KeyIndex } from './key-index.js'
import type { PartitionIndex } from './partition-index.js'

/** One `append` that is not durable yet. */
export interface Append {
  readonly items: readonly unknown[]
  readonly bytes: number
  /** -1 for none. */
  readonly derivedFrom: number
  resolve (position: Position): void
  reject (err: unknown): void
}

export interface PartitionDeps {
  readonly env: RootDatabase<Buffer, Buffer>
  /** A stored block of the partition that nobody can take; it is skipped. */
  setAside (partition: PartitionLog, offset: number, bytes: Uint8Array, reason: string): void
  /** An append has its outcome. */
  released (bytes: number): void
}

/** Larger appends still make one block, so that their items stay neighbours. */
const blockBytesMax = 1 << 20
/** What a follower that is a little behind finds without decoding it again; beyond, it reads from the store. */
const tailBytesMax = 1 << 18

/** One partition of a stream: what is on the disk, what is on its way there, and who waits for it. */
export class PartitionLog {
  /** Where each group is, in order of registration of the groups. */
  readonly deliveries: Delivery[] = []
  dirty = false
  private queue: Append[] = []
  private inFlight: { appends: Append[], items: readonly unknown[], bytes: number, derivedFrom: number } | undefined
  private tail: Block<unknown>[] = []
  private tailSizes: number[] = []
  private tailBytes = 0
  private readonly arrivals = new Set<() => void>()

  constructor (
    readonly stream: Stream<any>,
    readonly streamId: number,
    readonly partition: number,
    readonly index: PartitionIndex,
    private readonly deps: PartitionDeps
  ) {}

  get next (): number { return this.index.next }
  get first (): number { return this.index.first }
  get keys (): KeyIndex { return this.index.keys }

  enqueue (append: Append): void { this.queue.push(append) }

  /** Puts one block with what is queued into the commit; false where there was nothing that could be encoded. */
  write (batch: WriteBatch, commit: number, atMs: number): boolean {
    const appends = this.take()
    let items = itemsOf(appends)
    let body = this.encoded(items)
    if (body === undefined) {
      this.refuseUnencodable(appends)
      if (appends.length === 0) return false
      items = itemsOf(appends)
      body = this.stream.encodeBlock(items)
    }
    let derivedFrom = -1
    for (const append of appends) if (append.derivedFrom > derivedFrom) derivedFrom = append.derivedFrom
    const block = batch.room(blockHeaderBytes + body.length)
    block.set(body, blockHeaderBytes)
    sealBlock(block, atMs, this.next, derivedFrom)
    this.inFlight = { appends, items, bytes: block.length, derivedFrom }
    batch.put(blockKey(commit, this.streamId, this.partition), block)
    return true
  }

  get queued (): boolean { return this.queue.length > 0 }

  /** The block of this commit is durable: its appends are answered. `deliver` comes next. */
  committed (commit: number): void {
    const { appends, items, bytes, derivedFrom } = this.inFlight!
    const offset = BigInt(this.next)
    this.index.add(commit, bytes, derivedFrom)
    this.keys.add(items, this.stream.key)
    let index = 0
    for (const append of appends) {
      this.deps.released(append.bytes)
      append.resolve({ partition: this.partition, offset, index })
      index += append.items.length
    }
    if (this.deliveries.length > 0) this.keepInTail({ partition: this.partition, offset, items }, bytes)
    this.inFlight = undefined
  }

  deliver (): void {
    // A copy is not needed: a delivery that leaves meanwhile is stopped, and one that comes finds the block itself.
    for (let i = 0; i < this.deliveries.length; i++) this.deliveries[i]!.pump()
    this.pruneTail()
    if (this.arrivals.size > 0) this.wakeReaders()
  }

  failed (err: GatewayError): void {
    const appends = this.inFlight?.appends ?? []
    this.inFlight = undefined
    for (const append of appends) this.refuse(append, err)
  }

  /** Rejects what no commit has begun to write. */
  refuseQueued (err: GatewayError): void {
    for (const append of this.queue.splice(0)) this.refuse(append, err)
  }

  /** Resolves at the next block, or when `wakeReaders` is called. */
  arrival (signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => {
        this.arrivals.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      this.arrivals.add(done)
      signal.addEventListener('abort', done)
    })
  }

  wakeReaders (): void { for (const done of [...this.arrivals]) done() }

  /** The first block from `from` on that can be taken; from memory where it was just appended. */
  readNext (from: number): Block<unknown> | undefined {
    const first = this.tail[0]
    if (first !== undefined) {
      const ahead = from - Number(first.offset)
      if (ahead >= 0) return this.tail[ahead]
    }
    for (let offset = Math.max(from, this.first); offset < this.next; offset++) {
      const block = this.readStored(offset)
      if (block !== undefined) return block
    }
    return undefined
  }

  /** The first block from `from` on that can be taken, as it is stored; valid until anything else is read. */
  readNextStored (from: number): OpenedBlock | undefined {
    for (let offset = Math.max(from, this.first); offset < this.next; offset++) {
      const stored = this.openStored(offset, this.viewBytes(offset))
      if (stored !== undefined) return stored
    }
    return undefined
  }

  /** When the block was committed, ms since 1970; undefined where it is gone, set aside or damaged. */
  timeAt (offset: number): number | undefined {
    const bytes = this.viewBytes(offset)
    const stored = bytes && openBlock(bytes)
    return stored?.offset === offset && !stored.tombstone ? stored.atMs : undefined
  }

  /** Bytes of the block as it is stored; undefined where it is gone. */
  sizeAt (offset: number): number | undefined { return this.viewBytes(offset)?.length }

  /** @returns undefined where the block was deleted, set aside or can not be taken */
  private readStored (offset: number): Block<unknown> | undefined {
    const stored = this.openStored(offset, this.readBytes(offset))
    if (stored === undefined) return undefined
    try {
      return { partition: this.partition, offset: BigInt(offset), items: this.stream.decodeBlock(stored.body) }
    } catch (err) {
      this.deps.setAside(this, offset, stored.body, (err as Error).message)
      return undefined
    }
  }

  /** @returns undefined where the block was deleted or set aside */
  private openStored (offset: number, bytes: Buffer | undefined): OpenedBlock | undefined {
    if (bytes === undefined) return undefined
    const stored = openBlock(bytes)
    if (stored?.offset !== offset) {
      this.deps.setAside(this, offset, Buffer.from(bytes), 'its checksum is wrong')
      return undefined
    }
    return stored.tombstone ? undefined : stored
  }

  readBytes (offset: number): Buffer | undefined {
    const commit = this.index.commitOf(offset)
    if (commit === undefined) return undefined
    return this.deps.env.getBinary(blockKey(commit, this.streamId, this.partition)) as Buffer | undefined
  }

  /** As `readBytes`, but in a buffer that the next read of the store overwrites: no memory of its own. */
  private viewBytes (offset: number): Buffer | undefined {
    const commit = this.index.commitOf(offset)
    if (commit === undefined) return undefined
    const { env } = this.deps
    const bytes = env.getBinaryFast(blockKey(commit, this.streamId, this.partition)) as Buffer | undefined
    return bytes?.subarray(0, (env as unknown as { lastSize: number }).lastSize)
  }

  private take (): Append[] {
    let bytes = 0
    let count = 0
    while (count < this.queue.length && (count === 0 || bytes + this.queue[count]!.bytes <= blockBytesMax)) {
      bytes += this.queue[count++]!.bytes
    }
    if (count < this.queue.length) return this.queue.splice(0, count)
    const all = this.queue
    this.queue = []
    return all
  }

  private encoded (items: readonly unknown[]): Buffer | undefined {
    try {
      return this.stream.encodeBlock(items)
    } catch {
      return undefined
    }
  }

  /** Drops from `appends`, and rejects, those that can not be encoded: the others must not fail with them. */
  private refuseUnencodable (appends: Append[]): void {
    for (const append of appends.splice(0)) {
      try {
        this.stream.encodeBlock(append.items)
        appends.push(append)
      } catch (err) {
        this.refuse(append, err)
      }
    }
  }

  private refuse (append: Append, err: unknown): void {
    this.deps.released(append.bytes)
    append.reject(err)
  }

  private keepInTail (block: Block<unknown>, bytes: number): void {
    this.tail.push(block)
    this.tailSizes.push(bytes)
    this.tailBytes += bytes
    while (this.tailBytes > tailBytesMax && this.tail.length > 1) this.dropFromTail()
  }

  /** Forgets what every group has taken. */
  pruneTail (): void {
    let slowest = Infinity
    for (const { next } of this.deliveries) if (next < slowest) slowest = next
    while (this.tail.length > 0 && this.tail[0]!.offset < slowest) this.dropFromTail()
  }

  private dropFromTail (): void {
    this.tail.shift()
    this.tailBytes -= this.tailSizes.shift()!
  }
}

function itemsOf (appends: readonly Append[]): readonly unknown[] {
  if (appends.length === 1) return appends[0]!.items
  const items: unknown[] = []
  for (const append of appends) for (const item of append.items) items.push(item)
  return items
}
