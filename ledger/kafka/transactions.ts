import { KafkaReader } from './bytes.js'

/** A transaction that was given up: what its producer wrote from `firstOffset` up to its next marker never was. */
export interface Aborted { readonly producerId: bigint, readonly firstOffset: bigint }

const attributesAt = 21
const transactionMask = 0x10
const controlMask = 0x20
const producerIdAt = 43
const countAt = 57
const recordsAt = 61
const abortMarker = 0

/** Which batches of one answer count, in the order of the log: those of a transaction that was given up stay in it. */
export class Transactions {
  private readonly aborted: readonly Aborted[]
  private begun = 0
  private readonly givenUp = new Set<bigint>()

  /** @param aborted what the broker named in the same answer */
  constructor (aborted: readonly Aborted[]) {
    this.aborted = aborted.length < 2 ? aborted : [...aborted].sort((a, b) => a.firstOffset < b.firstOffset ? -1 : 1)
  }

  /**
   * False for a marker, and for a batch of a transaction that was given up.
   *
   * @param batch sound and of format 2
   * @param last offset of its last record
   */
  counts (batch: Buffer, last: bigint): boolean {
    const attributes = batch.readInt16BE(attributesAt)
    if ((attributes & (transactionMask | controlMask)) === 0) return true
    while (this.begun < this.aborted.length && this.aborted[this.begun]!.firstOffset <= last) {
      this.givenUp.add(this.aborted[this.begun++]!.producerId)
    }
    const producerId = batch.readBigInt64BE(producerIdAt)
    if (attributes & controlMask) {
      if (isAbort(batch)) this.givenUp.delete(producerId)
      return false
    }
    return !this.givenUp.has(producerId)
  }
}

/** MARKER => version:int16 type:int16, the key of a control batch's one record. Compaction may have emptied it. */
function isAbort (batch: Buffer): boolean {
  if (batch.readInt32BE(countAt) < 1) return false
  const reader = new KafkaReader(batch, recordsAt)
  reader.varint() // its length
  reader.int8()
  reader.skipVarlong()
  reader.varint()
  const key = reader.varBytes()
  return key !== null && key.length >= 4 && key.readInt16BE(2) === abortMarker
}
