import { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import type { Block, Position } from '../log.js'
import type { WriteBatch } from './batch.js'
import { blockBytesMax, openBlock, sealBlock, type OpenedBlock } from './block.js'
import { AppendQueue } from './append-queue.js'
import { type Appended, type CutBlock, Cutter, type Placed } from './cut.js'
import type { Environment } from './environment.js'
import { blockKey } from './keys.js'
import type { Delivery } from './followers.js'
import type { KeyIndex } from './key-index.js'
import type { PartitionIndex } from './partition-index.js'
import type { Share } from '../pending.js'
import type { Waiting } from './turns.js'

/** One `append` that is not durable yet. */
export interface Append extends Appended {
  /** The gateway itself must write it. */
  readonly own: boolean
  /** See `AppendOptions.source`; empty for none. */
  readonly source: string
  resolve (position: Position): void
  reject (err: unknown): void
}

export interface PartitionDeps {
  readonly env: Environment
  /** A stored block of the partition that nobody can take; it is skipped. */
  setAside (partition: PartitionLog, offset: number, bytes: Uint8Array, reason: string): void
  /** An append has its outcome. */
  released (partition: PartitionLog, append: Append): void
}

/** What a follower that is a little behind finds without decoding it again; beyond, it reads from the store. */
const tailBytesMax = 1 << 18

/** One partition of a stream: what is on the disk, what is on its way there, and who waits for it. */
export class PartitionLog implements Waiting {
  /** Where each group is, in order of registration of the groups. */
  readonly deliveries: Delivery[] = []
  /** What it has of the bytes that may be pending. */
  readonly share: Share = { sent: 0, own: 0 }
  /** It is among those who wait for a turn. */
  waits = false
  passedOver = 0
  private readonly queue = new AppendQueue()
  private inFlight: { blocks: readonly CutBlock[], placed: ReadonlyArray<Placed<Append>> } | undefined
  private tail: Block<unknown>[] = []
  private tailSizes: number[] = []
  private tailBytes = 0
  /** What was read last, while any reader has it: many who wait at the end read the same block at the same time. */
  private decoded: WeakRef<Block<unknown>> | undefined
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
  get firstStaying (): number { return this.index.firstStaying }
  get keys (): KeyIndex { return this.index.keys }

  get queuedBytes (): number { return this.queue.bytes }
  get lightBytes (): number { return this.queue.lightBytes }
  get headBytes (): number { return this.queue.headBytes }

  tellApart (): void { this.queue.tellApart() }

  enqueue (append: Append): void { this.queue.push(append) }

  /**
   * Puts what is queued into the commit, up to `bytesMax` or a block, and an append that is more than that whole: as
   * several blocks, each under a commit number of its own, from `commit` on.
   *
   * @param isTurn see `AppendQueue.take`
   * @returns how many blocks; 0 where there was nothing that could be encoded
   */
  write (batch: WriteBatch, commit: number, atMs: number, bytesMax: number, isTurn: boolean): number {
    const cutter = new Cutter<Append>(this.stream, batch, (append, err) => { this.refuse(append, err) })
    cutter.add(this.queue.take(Math.min(bytesMax, blockBytesMax), isTurn))
    const { blocks, placed } = cutter
    this.inFlight = { blocks, placed }
    for (let i = 0; i < blocks.length; i++) {
      const { bytes, derivedFrom } = blocks[i]!
      sealBlock(bytes, atMs, this.next + i, derivedFrom)
      batch.put(blockKey(commit + i, this.streamId, this.partition), bytes)
    }
    return blocks.length
  }

  /** The blocks of this commit are durable: their appends are answered. `deliver` comes next. */
  committed (commit: number): { blocks: number, entries: number } {
    const { blocks, placed } = this.inFlight!
    const first = this.next
    let entries = 0
    for (let i = 0; i < blocks.length; i++) {
      const { items, bytes, itemBytes, derivedFrom } = blocks[i]!
      this.index.add(commit + i, bytes.length, derivedFrom)
      this.keys.add(items, this.stream.key)
      entries += items.length
      if (this.deliveries.length > 0) {
        const block = { partition: this.partition, offset: BigInt(first + i), items }
        this.keepInTail(itemBytes === undefined ? block : { ...block, bytes: itemBytes }, bytes.length)
      }
    }
    for (let i = 0; i < placed.length; i++) {
      const { append, block, index } = placed[i]!
      this.deps.released(this, append)
      append.resolve({ partition: this.partition, offset: BigInt(first + block), index })
    }
    this.inFlight = undefined
    return { blocks: blocks.length, entries }
  }

  deliver (): void {
    // A copy is not needed: a delivery that leaves meanwhile is stopped, and one that comes finds the block itself.
    for (let i = 0; i < this.deliveries.length; i++) this.deliveries[i]!.pump()
    this.pruneTail()
    if (this.arrivals.size > 0) this.wakeReaders()
  }

  /**
   * Rejects what a commit has failed to write, and what waits behind it, for nothing may overtake what was refused; or
   * puts what the gateway itself must write back into the queue.
   */
  refuseAll (err: GatewayError, keepsOwn: boolean): void {
    const written = this.inFlight?.placed.map(({ append }) => append) ?? []
    this.inFlight = undefined
    for (const append of [...written, ...this.queue.takeAll()]) {
      if (keepsOwn && append.own) this.queue.push(append)
      else this.refuse(append, err)
    }
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

  /**
   * The first block from `from` on that can be taken, with the items of these keys. As it is stored, also where it was
   * just appended: how large it is does not depend on when one asks.
   */
  readNextOf (from: number, keys: ReadonlySet<string>): Block<unknown> | undefined {
    const { stream, partition } = this
    for (let offset = Math.max(from, this.first); offset < this.next; offset++) {
      const stored = this.openStored(offset, this.readBytes(offset))
      if (stored === undefined) continue
      try {
        const items = stream.decodeItemsOf?.(stored.body, keys) ?? stream.decodeBlock(stored.body)
        return { partition, offset: BigInt(offset), items, stored: stored.body.length }
      } catch (err) {
        this.deps.setAside(this, offset, stored.body, (err as Error).message)
      }
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
    const known = this.decoded?.deref()
    if (known?.offset === BigInt(offset)) return known
    const stored = this.openStored(offset, this.readBytes(offset))
    if (stored === undefined) return undefined
    try {
      const items = this.stream.decodeBlock(stored.body)
      const block = { partition: this.partition, offset: BigInt(offset), items }
      this.decoded = new WeakRef(block)
      return block
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
    return this.deps.env.getBinary(blockKey(commit, this.streamId, this.partition))
  }

  /** As `readBytes`, but in a buffer that the next read of the store overwrites: no memory of its own. */
  private viewBytes (offset: number): Buffer | undefined {
    const commit = this.index.commitOf(offset)
    if (commit === undefined) return undefined
    const { env } = this.deps
    const bytes = env.getBinaryFast(blockKey(commit, this.streamId, this.partition))
    return bytes?.subarray(0, env.lastSize)
  }

  private refuse (append: Append, err: unknown): void {
    this.deps.released(this, append)
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
