import { gunzipSync } from 'node:zlib'
import { KafkaReader, KafkaWriter, varintBytes } from './bytes.js'
import { crc32c } from './wire.js'

/*
  RecordBatch => baseOffset:int64 length:int32 leaderEpoch:int32 magic:int8 crc:uint32 attributes:int16
                 lastOffsetDelta:int32 baseTimestamp:int64 maxTimestamp:int64
                 producerId:int64 producerEpoch:int16 baseSequence:int32 records:int32 Record*
  Record      => length:varint attributes:int8 timestampDelta:varlong offsetDelta:varint
                 key:varbytes value:varbytes headers:varint (name:varbytes value:varbytes)*
    length    => bytes after it
    crc       => CRC-32C from attributes on
*/
const headerBytes = 61
const lengthAt = 8
const magicAt = 16
const crcAt = 17
const attributesAt = 21
const lastDeltaAt = 23
const producerIdAt = 43
const sequenceAt = 53
const countAt = 57
const compressionMask = 0x07
const gzip = 1
const controlMask = 0x20
const inflatedBytesMax = 64 << 20

export type Headers = ReadonlyArray<readonly [name: string, value: Buffer]>

export interface StoredRecord {
  readonly offset: bigint
  readonly key: Buffer | null
  /** A view on the answer that brought it. */
  readonly value: Buffer | null
  readonly headers: Headers
}

/** Who wrote a batch, for the broker's dropping of repeats; `sequence` counts its records within the partition. */
export interface Stamp { readonly producerId: bigint, readonly producerEpoch: number, readonly sequence: number }

const none: Headers = []
const writer = new KafkaWriter()
const nameBytes = new Map<string, Buffer>()

/** Writes one batch, record by record; `seal` gives it its stamp. One at a time in the process. */
export const batchWriter = {
  start (): void {
    writer.start()
    writer.raw(emptyHeader)
  },

  /** @param delta index of the record within the batch */
  add (delta: number, key: Uint8Array | null, value: Uint8Array, headers: Headers): void {
    let length = 2 + varintBytes(delta) + sized(key) + sized(value) + varintBytes(headers.length)
    for (const [name, header] of headers) length += sized(bytesOf(name)) + sized(header)
    writer.varint(length)
    writer.int8(0)
    writer.int8(0) // all records of a batch have its time
    writer.varint(delta)
    writer.varBytes(key)
    writer.varBytes(value)
    writer.varint(headers.length)
    for (const [name, header] of headers) {
      writer.varBytes(bytesOf(name))
      writer.varBytes(header)
    }
  },

  /** @param atMs time of all records, ms since 1970 */
  finish (records: number, atMs: number): Buffer {
    const batch = writer.finish()
    batch.writeInt32BE(batch.length - lengthAt - 4, lengthAt)
    batch[magicAt] = 2
    batch.writeInt32BE(records - 1, lastDeltaAt)
    batch.writeBigInt64BE(BigInt(atMs), lastDeltaAt + 4)
    batch.writeBigInt64BE(BigInt(atMs), lastDeltaAt + 12)
    batch.writeInt32BE(records, countAt)
    return batch
  },
}

const emptyHeader = Buffer.alloc(headerBytes)

/** Puts the stamp and the checksum into a finished batch; again when another producer has to send it. */
export function stamp (batch: Buffer, { producerId, producerEpoch, sequence }: Stamp): void {
  batch.writeBigInt64BE(producerId, producerIdAt)
  batch.writeInt16BE(producerEpoch, producerIdAt + 8)
  batch.writeInt32BE(sequence, sequenceAt)
  batch.writeUInt32BE(crc32c(batch.subarray(attributesAt)), crcAt)
}

/** A batch that can not be read; what comes after it can. */
export interface Unreadable {
  readonly offset: bigint
  readonly bytes: Buffer
  readonly reason: string
}

export interface StoredRecords {
  readonly records: readonly StoredRecord[]
  readonly unreadable: readonly Unreadable[]
  /** The offset after the last whole batch; `from` when there is none. */
  readonly next: bigint
}

/** Records from offset `from` on; a batch that the answer cuts off at its end is left for the next fetch. */
export function readBatches (bytes: Buffer, from: bigint): StoredRecords {
  const records: StoredRecord[] = []
  const unreadable: Unreadable[] = []
  let next = from
  for (let at = 0; at + headerBytes <= bytes.length;) {
    const end = at + lengthAt + 4 + bytes.readInt32BE(at + lengthAt)
    if (end > bytes.length || end < at + headerBytes) break
    const batch = bytes.subarray(at, end)
    at = end
    const base = batch.readBigInt64BE(0)
    const after = base + BigInt(batch.readInt32BE(lastDeltaAt)) + 1n
    if (after <= from) continue
    next = after
    const read = records.length
    try {
      readBatch(batch, base, from, records)
    } catch (err) {
      records.length = read
      unreadable.push({ offset: base, bytes: batch, reason: (err as Error).message })
    }
  }
  return { records, unreadable, next }
}

function readBatch (batch: Buffer, base: bigint, from: bigint, into: StoredRecord[]): void {
  if (batch[magicAt] !== 2) throw new RangeError(`record format ${batch[magicAt]}, want 2`)
  const attributes = batch.readInt16BE(attributesAt)
  if (attributes & controlMask) return
  const compression = attributes & compressionMask
  if (compression > gzip) throw new RangeError(`compression ${compression}, want none or gzip`)
  const reader = compression === 0
    ? new KafkaReader(batch, headerBytes)
    : new KafkaReader(gunzipSync(batch.subarray(headerBytes), { maxOutputLength: inflatedBytesMax }))
  const count = batch.readInt32BE(countAt)
  for (let i = 0; i < count; i++) {
    const end = reader.varint() + reader.pos
    reader.int8()
    reader.skipVarlong()
    const offset = base + BigInt(reader.varint())
    const key = reader.varBytes()
    const value = reader.varBytes()
    const headers = readHeaders(reader)
    if (reader.pos !== end) throw new RangeError('a record of another length than it says')
    if (offset >= from) into.push({ offset, key, value, headers })
  }
}

function readHeaders (reader: KafkaReader): Headers {
  const count = reader.varint()
  if (count <= 0) return none
  const headers: Array<[string, Buffer]> = []
  for (let i = 0; i < count; i++) {
    headers.push([reader.varBytes()?.toString() ?? '', reader.varBytes() ?? Buffer.alloc(0)])
  }
  return headers
}

function sized (bytes: Uint8Array | null): number {
  return bytes ? varintBytes(bytes.length) + bytes.length : 1
}

function bytesOf (name: string): Buffer {
  let bytes = nameBytes.get(name)
  if (!bytes) nameBytes.set(name, bytes = Buffer.from(name))
  return bytes
}
