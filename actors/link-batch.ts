import { AvroReader } from '../schemas/avro-reader.js'
import { AvroWriter } from '../schemas/avro-writer.js'
import { loadSchema } from '../schemas/avsc-files.js'
import { GatewayError } from '../schemas/errors.js'
import { fingerprintOf, hasHeader, headerBytes, writeHeader } from '../schemas/single-object.js'
import { type LinkMessage, readItem, schemaOf, writeContent, writeMessage } from './link-codec.js'
import type { SharedSignal } from './links.js'

/*
  Batches of link messages, by schemas/links.avsc
    BATCH   => HEADER FROM COUNT MESSAGES END
      HEADER   => 10 bytes: Avro single-object header
      FROM     => string: id of the sending node
      COUNT    => long: number of MESSAGES; it and END are one byte of 0 where there are none
      MESSAGES => each the long that names its branch, then its record
      END      => 1 byte of 0

  A batch is written while its tick goes on, so COUNT is put before MESSAGES last, into room that is left for it.
*/

export interface ReceivedBatch {
  readonly fromNodeId: string
  readonly messages: readonly LinkMessage[]
}

/** The schemas, oldest first, each an extension of the one before: what was written in any of them is read by ours. */
const headers = [
  'history/links-1', 'history/links-2', 'history/links-3', 'history/links-4', 'history/links-5', 'history/links-6', 'links',
].map(headerOf)

/** The first of them that a node beside this one may not know, of one of the two versions before. */
const firstNew = 5

function headerOf (schema: string): Buffer {
  const bytes = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(loadSchema(schema)), bytes, 0)
  return bytes
}

/**
 * Which of the new schemas it wants; 0 where it wants none. A node that does not know the schema of a batch reads
 * nothing of it, so messages of two ages are not in one.
 */
export function ageOf (message: LinkMessage): number { return age(schemaOf(message)) }

function age (schema: number): number { return schema < firstNew ? 0 : schema }

const countBytesMax = 5
/** Small enough for Buffer's pool: most batches are. */
const bytesAtFirst = 2_048
const none = Buffer.alloc(0)

/** One writer for all batches, as each is written by whole messages: it is opened anew for every one. */
const writer = new AvroWriter()
const reader = new AvroReader('bad-record')

/** HEADER and FROM of every batch that this node sends. */
export function batchHead (fromNodeId: string): Buffer {
  const bytes = Buffer.alloc(headerBytes + 5 + 4 * fromNodeId.length)
  bytes.set(headers[0]!)
  writer.open(bytes, headerBytes)
  writer.string(fromNodeId)
  return bytes.subarray(0, writer.pos)
}

/** A batch as it grows. */
export class LinkBatch {
  /** How many messages were added. */
  messages = 0
  readonly #head: Uint8Array
  readonly #start: number
  #bytes: Buffer = none
  #end: number
  /** Items of the array: the messages and the contents of signals. */
  #items = 0
  readonly #signalIds = new Set<number>()
  #schema = 0

  constructor (head: Uint8Array) {
    this.#head = head
    this.#start = this.#end = head.length + countBytesMax
  }

  /** `ageOf` its messages. */
  get age (): number { return age(this.#schema) }

  /** Bytes of the messages added. */
  get length (): number { return this.#end - this.#start }

  /**
   * @param bytesMax how much the batch may grow by
   * @returns how much it grew; 0 where the message is larger than that, and was not added
   */
  add (message: LinkMessage, bytesMax: number): number {
    if (this.#bytes === none) this.#bytes = Buffer.allocUnsafe(bytesAtFirst + this.#start)
    const content = message.type === 'signal' && !this.#signalIds.has(message.signalId)
    for (;;) {
      writer.open(this.#bytes, this.#end)
      if (content) writeContent(writer, message)
      writeMessage(writer, message)
      if (writer.pos < this.#bytes.length) break // there is room for END as well
      const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, writer.pos + 1))
      grown.set(this.#bytes.subarray(0, this.#end))
      this.#bytes = grown
    }
    const grownBy = writer.pos - this.#end
    if (grownBy > bytesMax) return 0
    if (content) this.#signalIds.add(message.signalId)
    this.#schema = Math.max(this.#schema, schemaOf(message))
    this.#items += content ? 2 : 1
    this.messages++
    this.#end = writer.pos
    return grownBy
  }

  /** The batch as it goes over the wire. Nothing may be added any more. */
  finish (): Buffer {
    if (this.#bytes === none) this.#bytes = Buffer.allocUnsafe(this.#start + 1)
    let end = this.#end
    let start = this.#start
    if (this.#items > 0) {
      start -= longBytes(this.#items)
      writer.open(this.#bytes, start)
      writer.long(this.#items)
    }
    start -= this.#head.length
    this.#bytes.set(this.#head, start)
    this.#bytes.set(headers[this.#schema]!, start)
    this.#bytes[end++] = 0
    return this.#bytes.subarray(start, end)
  }
}

/** How many bytes a count takes. */
function longBytes (count: number): number {
  let bytes = 1
  for (let rest = count * 2; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}

/**
 * Payloads are views: whoever keeps one past the life of `bytes` copies it.
 *
 * @param toNodeId the node that the batch goes to: what it says to connections, it says to those of this node
 * @throws GatewayError `bad-record`
 */
export function decodeBatch (bytes: Uint8Array, toNodeId: string): ReceivedBatch {
  if (!headers.some(header => hasHeader(bytes, header))) {
    throw new GatewayError('bad-record', 'link batch of another schema')
  }
  reader.open(bytes, headerBytes, bytes.length)
  const fromNodeId = reader.sharedString()
  const signals = new Map<number, SharedSignal>()
  const messages: LinkMessage[] = []
  reader.items(from => {
    const message = readItem(from, fromNodeId, toNodeId, signals)
    if (message) messages.push(message)
  })
  reader.close()
  return { fromNodeId, messages }
}
