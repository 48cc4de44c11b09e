import { createHash } from 'node:crypto'
import { loadHistory } from '../../schemas/avsc-files.js'
import { GatewayError } from '../../schemas/errors.js'
import {
  fingerprintOf, headerBytes, readHeader, writeHeader, type AvroSchema,
} from '../../schemas/single-object.js'
import type { RecordStream, Stream } from '../../schemas/streams.js'

/** How one record of a public stream is stored. */
export interface RecordFormat {
  /** Value of the header `content-type`. */
  readonly contentType: string
  /** The result is valid until the next call. */
  encode<T> (stream: RecordStream<T>, item: T): Buffer
  /**
   * @returns undefined for a fact of a type that this build does not know
   * @throws GatewayError `bad-record`
   */
  decode<T> (stream: RecordStream<T>, bytes: Uint8Array): T | undefined
}

/** How the records of a stream become items: blocks by the stream's own codec, public records by `format`. */
export function decoderOf<T> (stream: Stream<T>, format: RecordFormat): (bytes: Uint8Array) => readonly T[] {
  if (!isRecordStream(stream)) return bytes => stream.decodeBlock(bytes)
  return bytes => {
    const item = format.decode(stream, bytes)
    return item === undefined ? [] : [item]
  }
}

export function isRecordStream<T> (stream: Stream<T>): stream is RecordStream<T> { return !stream.blocks }

/** Avro single-object encoding: each record names by fingerprint the oldest schema that has what it says. */
export const singleObjectFormat: RecordFormat = {
  contentType: 'avro/single-object',

  encode (stream, item) {
    const record = stream.encodeRecord(item)
    const bytes = room(headerBytes + record.length)
    bytes.set(headerOf(stream.schemaOf(item)))
    bytes.set(record, headerBytes)
    return bytes
  },

  decode (stream, bytes) {
    if (bytes[0] === 0) {
      throw new GatewayError('bad-record', 'is in Confluent wire format, and no schema registry is configured')
    }
    const fingerprint = readHeader(bytes)
    if (stream.schemas.some(schema => headerOf(schema).readBigUInt64LE(2) === fingerprint)) {
      return stream.decodeRecord(bytes, headerBytes)
    }
    const blocks = blocksOfHistory().get(fingerprint)
    if (blocks === undefined) {
      throw new GatewayError('bad-record', `schema ${fingerprint.toString(16).padStart(16, '0')} is not registered`)
    }
    return decodeForeign(stream, blocks, bytes, headerBytes)
  },
}

/**
 * A record of a writer with another schema. Those are known as schemas of blocks, so it is read as a block of one.
 *
 * @param blocks fingerprint of the registered schema of its writer's blocks
 * @param start where the record begins
 * @returns undefined for a fact of a type that this build does not know
 * @throws GatewayError `bad-record`
 */
export function decodeForeign<T> (
  stream: RecordStream<T>, blocks: bigint, bytes: Uint8Array, start: number
): T | undefined {
  const record = bytes.subarray(start)
  const block = Buffer.alloc(headerBytes + 1 + record.length + 1)
  writeHeader(blocks, block, 0)
  block[headerBytes] = 2
  block.set(record, headerBytes + 1)
  return stream.decodeBlock(block)[0]
}

/** Headers of one record of a public stream: whatever carries the message has the same id and trace. */
export function recordHeaders<T> (stream: Stream<T>, item: T, contentType: Buffer): Array<[string, Buffer]> {
  const messageId = stream.messageId?.(item)
  if (messageId === undefined) return [['content-type', contentType]]
  return [
    ['content-type', contentType],
    ['message-id', Buffer.from(messageId)],
    ['traceparent', Buffer.from(traceparentOf(messageId))],
  ]
}

/** W3C trace context: the trace and the span are both a hash of the message's id. */
export function traceparentOf (messageId: string): string {
  const hash = createHash('sha256').update(messageId).digest('hex')
  return `00-${hash.slice(0, 32)}-${hash.slice(32, 48)}-01`
}

const headers = new WeakMap<object, Buffer>()
let history: Map<bigint, bigint> | undefined
let scratch = Buffer.alloc(1 << 12)

function headerOf (schema: AvroSchema): Buffer {
  const known = headers.get(schema as object)
  if (known) return known
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(schema), header, 0)
  headers.set(schema as object, header)
  return header
}

/** From the fingerprint of each older record schema to that of its blocks. */
function blocksOfHistory (): Map<bigint, bigint> {
  history ??= new Map(loadHistory().map(record => [fingerprintOf(record), fingerprintOf({ type: 'array', items: record })]))
  return history
}

/** Bytes to encode one record into, until the next call. */
export function room (bytes: number): Buffer {
  if (bytes > scratch.length) scratch = Buffer.alloc(2 * bytes)
  return scratch.subarray(0, bytes)
}
