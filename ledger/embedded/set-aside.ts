import type { Stream } from '../../schemas/streams.js'
import { isRejectedStream, type Rejected, rejectedRecord, rejectedStream } from '../rejected.js'
import type { WriteBatch } from './batch.js'
import { blockBytesMax, blockHeaderBytes, openBlock, sealBlock } from './block.js'
import { blockKey } from './keys.js'
import type { PartitionLog } from './partition.js'

/** A stored block was skipped: it is damaged or can not be decoded, and stands in `<stream>.rejected`. */
export type DamageHandler = (damage: {
  readonly stream: string
  readonly partition: number
  readonly offset: bigint
  readonly reason: string
}) => void

export interface SetAsideDeps {
  readonly now: () => number
  readonly onDamage: DamageHandler
  /** Keeps the evidence. Must not throw, and never rejects. */
  keep (stream: Stream<Rejected>, record: Rejected, partition: number): void
}

/** Blocks that are remembered, so that each is told of once. */
const rememberedMax = 10_000
/** The record of a block that is set aside must fit into a block itself. */
const keptBytesMax = blockBytesMax - (64 << 10)

/** Stored blocks that nobody can take: they are skipped, and their bytes kept for whoever looks into it. */
export class SetAside {
  /** How many there were. */
  blocks = 0
  private readonly known = new Set<string>()
  private tombstones: Array<{ log: PartitionLog, offset: number }> = []

  constructor (private readonly deps: SetAsideDeps) {}

  /** Sets the last block aside if the disk damaged it, so that nobody waits for it. */
  checkLast (log: PartitionLog): void {
    const last = log.next - 1
    if (last < log.first) return
    const bytes = log.readBytes(last)
    if (bytes && openBlock(bytes)?.offset === last) return
    this.add(log, last, bytes ?? Buffer.alloc(0), bytes ? 'its checksum is wrong' : 'it is missing')
    this.tombstones.push({ log, offset: last })
  }

  add (log: PartitionLog, offset: number, bytes: Uint8Array, reason: string): void {
    const { stream, partition } = log
    const where = `${partition}@${offset}`
    const key = `${stream.name} ${where}`
    if (this.known.has(key)) return
    if (this.known.size < rememberedMax) this.known.add(key)
    this.blocks++
    this.deps.onDamage({ stream: stream.name, partition, offset: BigInt(offset), reason })
    if (isRejectedStream(stream)) return
    const record = rejectedRecord(bytes.subarray(0, keptBytesMax), where, reason, this.deps.now())
    this.deps.keep(rejectedStream(stream), record, partition)
  }

  write (batch: WriteBatch, atMs: number): void {
    for (const { log, offset } of this.tombstones.splice(0)) {
      const commit = log.index.commitOf(offset)
      if (commit === undefined) continue
      const block = batch.room(blockHeaderBytes)
      sealBlock(block, atMs, offset, -1, true)
      batch.put(blockKey(commit, log.streamId, log.partition), block)
    }
  }
}
