import { crc32 } from 'node:zlib'
import type { WriteBatch } from './batch.js'
import { StoreError } from './directory.js'
import type { Environment } from './environment.js'
import { KeyIndex } from './key-index.js'
import { indexKey, keptKey } from './keys.js'

/*
  INDEX row => crc:uint32 derivedFrom:uint48 bytes:uint48 COMMIT*
    derivedFrom => highest so far, plus one; 0 for none
    bytes       => of all blocks ever appended, up to the end of the row
    COMMIT      => uint48; the commit that holds the block, for each offset from that of the key on
  KEPT row  => first:uint48 bytes:uint48
    bytes       => of all blocks ever deleted
*/
const rowHeaderBytes = 16

/**
 * Which commit holds which offset of a partition. Rows are written once every few hundred commits; what is not in a row
 * yet is in memory, and found again at open by reading the blocks after the last row.
 */
export class PartitionIndex {
  first = 0
  next = 0
  derivedFrom = -1
  readonly keys: KeyIndex
  /** What the commit under way makes `first`; `first` where there is none. */
  private firstNext = 0
  private bytesAppended = 0
  private bytesDeleted = 0
  /** Commits of the offsets from `next - unwritten.length` on. */
  private unwritten: number[] = []
  /** How many of them the row of the commit in flight holds. */
  private written = 0
  private cached: { first: number, row: Buffer } | undefined

  constructor (
    private readonly env: Environment,
    private readonly streamId: number,
    private readonly partition: number
  ) {
    this.keys = new KeyIndex(env, streamId, partition)
    const kept = env.getBinary(keptKey(streamId, partition))
    if (kept) {
      this.first = this.firstNext = kept.readUIntBE(0, 6)
      this.bytesDeleted = kept.readUIntBE(6, 6)
    }
    const last = this.rowAt(2 ** 48 - 1)
    if (last) {
      this.next = last.first + countOf(last.row)
      this.derivedFrom = last.row.readUIntBE(4, 6) - 1
      this.bytesAppended = last.row.readUIntBE(10, 6)
    }
  }

  get bytesKept (): number { return this.bytesAppended - this.bytesDeleted }

  /** The first block that nothing deletes: those before it are gone from the store a while before `first` says so. */
  get firstStaying (): number { return this.firstNext }

  /** The block `next` is in `commit`; `keys` gets to know apart what is in it. */
  add (commit: number, bytes: number, derivedFrom: number): void {
    this.unwritten.push(commit)
    this.next++
    this.bytesAppended += bytes
    if (derivedFrom > this.derivedFrom) this.derivedFrom = derivedFrom
  }

  /** @returns undefined where the offset is not kept any more, or not yet there */
  commitOf (offset: number): number | undefined {
    if (offset < this.first || offset >= this.next) return undefined
    const start = this.next - this.unwritten.length
    if (offset >= start) return this.unwritten[offset - start]
    if (!this.cached || offset < this.cached.first || offset >= this.cached.first + countOf(this.cached.row)) {
      this.cached = this.rowAt(offset)
    }
    if (!this.cached) return undefined
    const at = offset - this.cached.first
    return at < countOf(this.cached.row) ? this.cached.row.readUIntBE(rowHeaderBytes + 6 * at, 6) : undefined
  }

  /** Writes a row for what is in no row yet; `rowWritten` tells that it is durable. */
  writeRow (batch: WriteBatch): void {
    const { unwritten } = this
    if (unwritten.length === 0) return
    const first = this.next - unwritten.length
    const row = batch.room(rowHeaderBytes + 6 * unwritten.length)
    row.writeUIntBE(this.derivedFrom + 1, 4, 6)
    row.writeUIntBE(this.bytesAppended, 10, 6)
    for (let i = 0; i < unwritten.length; i++) row.writeUIntBE(unwritten[i]!, rowHeaderBytes + 6 * i, 6)
    row.writeUInt32BE(crc32(row.subarray(4)), 0)
    batch.put(indexKey(this.streamId, this.partition, first), row)
    this.keys.writeRow(batch, first, unwritten.length)
    this.written = unwritten.length
  }

  rowWritten (): void {
    if (this.written > 0) this.keys.rowWritten()
    this.unwritten.splice(0, this.written)
    this.written = 0
  }

  /** Puts the deletion of everything before `first` except the blocks themselves, which hold `bytes`. */
  writeFirst (batch: WriteBatch, first: number, bytes: number): void {
    this.firstNext = first
    const kept = batch.room(12)
    kept.writeUIntBE(first, 0, 6)
    kept.writeUIntBE(this.bytesDeleted + bytes, 6, 6)
    batch.put(keptKey(this.streamId, this.partition), kept)
    // The row that holds `first - 1` is the last one that may go, and the last row of all stays: it knows `next`.
    const rows = [...this.env.getRange({
      start: Buffer.from(indexKey(this.streamId, this.partition, 0)),
      end: Buffer.from(indexKey(this.streamId, this.partition, first)),
    })]
    const last = this.rowAt(2 ** 48 - 1)?.first
    for (const { key, value } of rows) {
      const start = key.readUIntBE(5, 6)
      if (start + countOf(value) > first || start === last) continue
      batch.remove(key)
      this.keys.removeRow(batch, start)
    }
  }

  firstWritten (first: number, bytes: number): void {
    this.first = first
    this.bytesDeleted += bytes
    this.cached = undefined
  }

  firstFailed (): void { this.firstNext = this.first }

  /** The row with the highest first offset up to `offset`. */
  private rowAt (offset: number): { first: number, row: Buffer } | undefined {
    const start = Buffer.from(indexKey(this.streamId, this.partition, offset))
    const end = Buffer.from(indexKey(this.streamId, this.partition, 0))
    const [found] = this.env.getRange({ start, end, reverse: true, limit: 1, inclusiveEnd: true })
    if (!found) return undefined
    const first = found.key.readUIntBE(5, 6)
    if (crc32(found.value.subarray(4)) !== found.value.readUInt32BE(0)) {
      throw new StoreError('damaged', `the index of partition ${this.partition} of stream ${this.streamId} is damaged ` +
        `from offset ${first} on; restore the data directory from a backup`)
    }
    return { first, row: Buffer.from(found.value) }
  }
}

function countOf (row: Buffer): number { return (row.length - rowHeaderBytes) / 6 }
