import { KafkaReader, KafkaWriter, varintBytes } from './bytes.js'
import { decompress } from './compression.js'
import { crc32c } from './crc32c.js'
import { Transactions, type Aborted } from './transactions.js'

/*
  RecordBatch => baseOffset:int64 length:int32 leaderEpoch:int32 magic:int8 crc:uint32 attributes:int16
                 lastOffsetDelta:int32 baseTimestamp:int64 maxTimestamp:int64
                 producerId:int64 producerEpoch:int16 baseSequence:int32 records:int32 Record*
  Record      => length:varint attributes:int8 timestampDelta:varlong offsetDelta:varint
                 key:varbytes value:varbytes headers:varint (name:varbytes value:varbytes)*
    length     => bytes after it
    crc        => CRC-32C from attributes on
    attributes => bits 0 to 2: compression of the records, 4: in a transaction, 5: of the broker, not for readers
*/
const headerBytes = 61
/** What every format has had, up to the magic. */
const prefixBytes = 17
const lengthAt = 8
const epochAt = 12
const magicAt = 16
const crcAt = 17
const attributesAt = 21
const lastDeltaAt = 23
const producerIdAt = 43
const sequenceAt = 53
const countAt = 57
const compressionMask = 0x07
const transactionalMask = 0x10
/** What a compressed batch may become, and those of one answer: a few bytes can say "gigabytes of zeros". */
export const batchBytesMax = 32 << 20
/** Each becomes an object of a hundred bytes, and takes seven in the batch. */
const recordsMax = 1 << 19

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
  add (delta: number, key: Uint8Array | null, value: Uint8Array | null, headers: Headers): void {
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

/** Makes a finished batch, which is not stamped yet, one of a transaction. */
export function transactional (batch: Buffer): Buffer {
  batch.writeInt16BE(transactionalMask, attributesAt)
  return batch
}

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
  /** Under which leader the last whole batch was written; -1 when there is none. */
  readonly epoch: number
  /** What compressed batches have become. */
  readonly inflatedBytes: number
}

export interface ReadOptions {
  /** Those that the broker named in the same answer. */
  readonly aborted?: readonly Aborted[]
  /** What compressed batches may become; one that comes when that is used up is left for the next fetch. */
  readonly inflatedBytesMax?: number
}

/** Records from offset `from` on; a batch that the answer cuts off at its end is left for the next fetch. */
export function readBatches (
  bytes: Buffer, from: bigint, { aborted = [], inflatedBytesMax = batchBytesMax }: ReadOptions = {}
): StoredRecords {
  const records: StoredRecord[] = []
  const unreadable: Unreadable[] = []
  const transactions = new Transactions(aborted)
  let next = from
  let epoch = -1
  let inflatedBytes = 0
  for (let at = 0; at + prefixBytes <= bytes.length;) {
    const end = at + lengthAt + 4 + bytes.readInt32BE(at + lengthAt)
    if (end > bytes.length || end < at + prefixBytes) break
    const batch = bytes.subarray(at, end)
    at = end
    const base = batch.readBigInt64BE(0)
    const problem = problemOf(batch)
    const after = problem === undefined ? lastOf(batch, base) + 1n : afterBroken(batch, base, from, bytes.subarray(at))
    if (after <= from) continue
    const read = records.length
    try {
      if (problem !== undefined) throw new RangeError(problem)
      if (transactions.counts(batch, lastOf(batch, base))) {
        if (codecOf(batch) !== 0 && inflatedBytes >= inflatedBytesMax) break
        inflatedBytes += readBatch(batch, base, from, records)
      }
    } catch (err) {
      records.length = read
      unreadable.push({ offset: base, bytes: batch, reason: (err as Error).message })
    }
    next = after
    epoch = batch.readInt32BE(epochAt)
  }
  return { records, unreadable, next, epoch, inflatedBytes }
}

/**
 * The broker has checked a batch when it took it, and nobody what a disk made of it since: our blocks have no checksum
 * of their own here, and records of others none at all.
 */
function problemOf (batch: Buffer): string | undefined {
  if (batch[magicAt] !== 2) return `record format ${batch[magicAt]}, want 2`
  if (batch.length < headerBytes) return `a batch of ${batch.length} bytes`
  const crc = crc32c(batch.subarray(attributesAt))
  const stored = batch.readUInt32BE(crcAt)
  if (crc !== stored) return `its checksum is wrong: got ${hex(stored)}, want ${hex(crc)}`
}

function hex (crc: number): string { return crc.toString(16).padStart(8, '0') }

/** The offset behind a batch of which no field can be trusted: as few records as possible may be lost with it. */
function afterBroken (batch: Buffer, base: bigint, from: bigint, behind: Buffer): bigint {
  const least = (base > from ? base : from) + 1n
  const told = batch.length < headerBytes ? 0n : lastOf(batch, base) + 1n
  if (told > least && told - base === BigInt(batch.readInt32BE(countAt))) return told
  const following = behind.length < 8 ? 0n : behind.readBigInt64BE(0)
  // Where nothing is behind it yet, the broker gives the same batch once more for an offset in it.
  return following > least ? following : least
}

function lastOf (batch: Buffer, base: bigint): bigint { return base + BigInt(batch.readInt32BE(lastDeltaAt)) }

function codecOf (batch: Buffer): number { return batch.readInt16BE(attributesAt) & compressionMask }

/** @returns the bytes that a compressed batch has become, 0 for one that is not */
function readBatch (batch: Buffer, base: bigint, from: bigint, into: StoredRecord[]): number {
  const codec = codecOf(batch)
  const inflated = codec === 0 ? undefined : decompress(codec, batch.subarray(headerBytes), batchBytesMax)
  const reader = inflated ? new KafkaReader(inflated) : new KafkaReader(batch, headerBytes)
  const count = batch.readInt32BE(countAt)
  if (count > recordsMax) throw new RangeError(`got ${count} records, want at most ${recordsMax}`)
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
  return inflated ? inflated.length : 0
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
