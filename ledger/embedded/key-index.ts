import { crc32 } from 'node:zlib'
import { hashOf } from '../../schemas/partitioning.js'
import type { WriteBatch } from './batch.js'
import type { Environment } from './environment.js'
import { keysKey } from './keys.js'

/*
  KEYS row => crc:uint32 blocks:uint32 HASH*
    blocks => how many it tells of, from the offset of its key on
    HASH   => int32, little-endian: MurmurHash2 of the UTF-8 bytes of an item's key; each once, ascending
*/
const rowHeaderBytes = 8
/** A row of so many is written early: 256 KiB. */
const hashesMax = 1 << 16

/** Rows that one call looks at: 0.3 ms of rows of a thousand hashes. */
const rowsAtOnce = 64

/**
 * Which keys the blocks of a partition have, for who looks for those of one key. A row goes with each row of the
 * partition's index. It says nothing that the blocks do not: where it is missing or damaged they are read instead.
 */
export class KeyIndex {
  private readonly hashes = new Set<number>()
  /** False where a block since the last row was not seen decoded: after an open, until the next row. */
  private complete = true

  constructor (
    private readonly env: Environment,
    private readonly streamId: number,
    private readonly partition: number
  ) {}

  /** True where a row should be written before there is more for it. */
  get full (): boolean { return this.hashes.size >= hashesMax }

  add (items: readonly unknown[], keyOf: (item: any) => string): void {
    let last: string | undefined
    for (let i = 0; i < items.length; i++) {
      const key = keyOf(items[i])
      if (key === last) continue // what one append has is mostly of one key
      last = key
      this.hashes.add(hashOf(key))
    }
  }

  addUnseen (): void { this.complete = false }

  /** @param blocks how many, from offset `first` on, were added since the last row */
  writeRow (batch: WriteBatch, first: number, blocks: number): void {
    if (!this.complete) return
    const hashes = Int32Array.from(this.hashes).sort()
    const row = batch.room(rowHeaderBytes + 4 * hashes.length)
    row.writeUInt32BE(blocks, 4)
    for (let i = 0; i < hashes.length; i++) row.writeInt32LE(hashes[i]!, rowHeaderBytes + 4 * i)
    row.writeUInt32BE(crc32(row.subarray(4)), 0)
    batch.put(keysKey(this.streamId, this.partition, first), row)
  }

  rowWritten (): void {
    this.hashes.clear()
    this.complete = true
  }

  removeRow (batch: WriteBatch, first: number): void { batch.remove(keysKey(this.streamId, this.partition, first)) }

  /**
   * The first blocks from `from` up to but without `to` that may have an item of the key with this hash: those from
   * `start` up to but without `end`. Looks at a few rows only: where nothing was found in them, `start` and `end` are
   * how far it came.
   */
  candidates (from: number, to: number, hash: number): { start: number, end: number } {
    const range = { start: this.rowBefore(from), end: Buffer.from(keysKey(this.streamId, this.partition, to)) }
    let at = from
    let looked = 0
    for (const { key, value } of this.env.getRange(range)) {
      if (++looked > rowsAtOnce) return { start: at, end: at }
      if (value.length < rowHeaderBytes || crc32(value.subarray(4)) !== value.readUInt32BE(0)) continue
      const first = key.readUIntBE(5, 6)
      if (first > at) return { start: at, end: first }
      const end = Math.min(first + value.readUInt32BE(4), to)
      if (end <= at) continue
      if (has(value, hash)) return { start: at, end }
      at = end
    }
    return { start: at, end: to }
  }

  /** The key of the row with the highest first offset up to `offset`; where there is none, of what would be one. */
  private rowBefore (offset: number): Buffer {
    const start = Buffer.from(keysKey(this.streamId, this.partition, offset))
    const end = Buffer.from(keysKey(this.streamId, this.partition, 0))
    const [found] = this.env.getKeys({ start, end, reverse: true, limit: 1, inclusiveEnd: true })
    return found === undefined ? start : Buffer.from(found)
  }
}

/** Binary search: reading all of a row takes longer than all else of a search. */
function has (row: Buffer, hash: number): boolean {
  let low = 0
  let high = (row.length - rowHeaderBytes) / 4
  while (low < high) {
    const middle = low + high >>> 1
    const found = row.readInt32LE(rowHeaderBytes + 4 * middle)
    if (found === hash) return true
    if (found < hash) low = middle + 1
    else high = middle
  }
  return false
}
