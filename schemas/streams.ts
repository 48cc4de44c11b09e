import avsc from 'avsc'
import { userKey } from './apps.js'
import { AvroReader } from './avro-reader.js'
import { AvroWriter } from './avro-writer.js'
import { loadHistory, loadSchema } from './avsc-files.js'
import {
  readDownlinkHandedOver, readDownlinkSettled, readPresenceChanged, writeDownlinkHandedOver, writeDownlinkSettled,
  writePresenceChanged,
} from './business-codec.js'
import { factTypes, readEntry, readUserId, writeEntry } from './fact-codec.js'
import type { Entry } from './facts.js'
import { foreignBlocks } from './foreign-blocks.js'
import { walkOver } from './guard.js'
import { nodeFactTypes, readNodeEntry, writeNodeEntry } from './node-codec.js'
import {
  readConnectionEnded, readDownlinkRecord, readDownlinkRejected, readUndelivered, readUplinkAccepted, withRecordKey,
  withUserKey, writeConnectionEnded, writeDownlinkRecord, writeDownlinkRejected, writeUndelivered, writeUplinkAccepted,
} from './record-codec.js'
import type { NodeEntry } from './node-facts.js'
import type {
  ConnectionEnded, DownlinkHandedOver, DownlinkRecord, DownlinkRejected, DownlinkSettled, Posted, PresenceChanged,
  Undelivered, UplinkAccepted,
} from './records.js'
import { readPosted, readRoomEntry, readRoomId, roomFactTypes, withRoomKey, writePosted, writeRoomEntry } from './room-codec.js'
import type { RoomEntry } from './room-facts.js'
import { fingerprintOf, hasHeader, headerBytes, readHeader, register, writeHeader, type AvroSchema } from './single-object.js'
import { bytesOfEntry, bytesOfRoomEntry, bytesOfUplink, bytesOfValue } from './sizes.js'

/** What two processes must agree on about a stream: its name, its record's codec, what its records are keyed by. */
export interface Stream<T> {
  /** Name of design.md 2; a Kafka topic is `<prefix>.<name>`. */
  readonly name: string
  /** True where one stored record carries all items of a block; false where each item is a record of its own. */
  readonly blocks: boolean
  /** What decides the partition: the user's or the room's key, or the node id. */
  key (item: T): string
  /** What a reader may drop repeats by: the same for every copy of the item. Absent where items go in blocks. */
  messageId? (item: T): string
  /** What an item takes in memory while it waits, all its fields counted: for bounds in bytes. */
  bytesOf (item: T): number
  /** Standard Avro `array<record>` behind a single-object header. The result is valid until the next call. */
  encodeBlock (items: readonly T[]): Buffer
  /** @throws GatewayError `bad-record` with the reason; never ends or hangs the process, whatever the bytes */
  decodeBlock (bytes: Uint8Array): T[]
  /**
   * As `decodeBlock`, of the items of these keys alone: the others are walked over, which costs a tenth. Absent where
   * items do not go in blocks.
   */
  decodeItemsOf? (bytes: Uint8Array, keys: ReadonlySet<string>): T[]
}

/** What readers outside need as well: the schema for a registry, and one record without any header of ours. */
export interface RecordStream<T> extends Stream<T> {
  /** Avro schema of one record. */
  readonly schema: AvroSchema
  /** Schemas whose records `decodeRecord` reads: `schema`, and where there is one, the one before it. */
  readonly schemas: readonly AvroSchema[]
  /** The first of those that has what the item says, so that older nodes read it; its bytes are the same in each. */
  schemaOf (item: T): AvroSchema
  /** Avro binary of one record, for a header of the caller's. The result is valid until the next call. */
  encodeRecord (item: T): Buffer
  /**
   * @param start where the record begins, after a header that names one of `schemas`
   * @throws GatewayError `bad-record`
   */
  decodeRecord (bytes: Uint8Array, start: number): T
}

interface Codec<T> {
  readonly blocks: boolean
  key (item: T): string
  messageId? (item: T): string
  /** `bytesOfValue` where there is none. */
  bytesOf? (item: T): number
  write (to: AvroWriter, item: T): void
  read (from: AvroReader): T
  /** Reads no more than the key, which comes first. For streams whose items go in blocks. */
  readKey? (from: AvroReader): string
  /** The schema before this one, of schemas/history, where this one has nothing more but branches of `fact`: those. */
  readonly before?: { readonly schema: string, readonly lacks: ReadonlySet<string> }
  /** Branches of the union `fact` that this build knows. */
  readonly facts?: readonly string[]
  /** Our item, of what its fields hold by the schema; the same thing where there is none. */
  ofFields? (fields: any): T
}

/** A buffer that one huge block made is given back; one that ordinary blocks make is kept. */
const bytesKeptMax = 4 << 20
const bytesAtFirst = 1 << 12

for (const record of loadHistory()) register({ type: 'array', items: record })

export const ledger = stream<Entry>('ledger', {
  blocks: true,
  key: ofUser,
  bytesOf: bytesOfEntry,
  write: writeEntry,
  read: readEntry,
  readKey: readUserId,
  facts: factTypes,
})
export const uplinks = stream<UplinkAccepted>('uplinks', {
  blocks: false,
  key: ofUser,
  messageId: ({ userId, userSeq }) => `${userId}/${userSeq}`,
  bytesOf: bytesOfUplink,
  write: writeUplinkAccepted,
  read: readUplinkAccepted,
  ofFields: withUserKey<UplinkAccepted>,
})
export const nodes = stream<NodeEntry>('nodes', {
  blocks: false,
  key: ({ nodeId }) => nodeId,
  messageId: ({ nodeId, epoch, atMs, fact }) => `${nodeId}/${epoch}/${atMs}/${fact.type}` +
    ('messageId' in fact ? `/${userKey(fact.app, fact.messageId)}` : ''), // a node tells of several in one moment
  write: writeNodeEntry,
  read: readNodeEntry,
  facts: nodeFactTypes,
  before: { schema: 'history/nodes-6', lacks: new Set(['OperatorAsked']) },
})
export const downlinks = stream<DownlinkRecord>('downlinks', {
  blocks: false,
  key: ({ userIds, roomId }) => userIds[0] ?? roomId,
  messageId: ({ messageId }) => messageId,
  write: writeDownlinkRecord,
  read: readDownlinkRecord,
})
export const downlinksRejected = stream<DownlinkRejected>('downlinks.rejected', {
  blocks: false,
  key: ofUser,
  messageId: ({ userId, rejectedAtMs, reason }) => `${userId}/${rejectedAtMs}/${reason}`,
  write: writeDownlinkRejected,
  read: readDownlinkRejected,
  ofFields: withUserKey<DownlinkRejected>,
})
export const connections = stream<ConnectionEnded>('connections', {
  blocks: false,
  key: ofUser,
  messageId: ({ connectionId }) => connectionId,
  write: writeConnectionEnded,
  read: readConnectionEnded,
  ofFields: withUserKey<ConnectionEnded>,
})
export const presence = stream<PresenceChanged>('presence', {
  blocks: false,
  key: ofUser,
  messageId: ({ userId, presenceSeq }) => `${userId}/${presenceSeq}`,
  write: writePresenceChanged,
  read: readPresenceChanged,
  ofFields: withUserKey<PresenceChanged>,
})
export const receipts = stream<DownlinkSettled>('receipts', {
  blocks: false,
  key: ofUser,
  messageId: ({ userId, receiptSeq }) => `${userId}/${receiptSeq}`,
  write: writeDownlinkSettled,
  read: readDownlinkSettled,
  ofFields: withUserKey<DownlinkSettled>,
})
export const offline = stream<DownlinkHandedOver>('offline', {
  blocks: false,
  key: ofUser,
  messageId: ({ userId, offlineSeq }) => `${userId}/${offlineSeq}`,
  write: writeDownlinkHandedOver,
  read: readDownlinkHandedOver,
  ofFields: withUserKey<DownlinkHandedOver>,
})
export const rooms = stream<RoomEntry>('rooms', {
  blocks: true,
  key: ofRoom,
  bytesOf: bytesOfRoomEntry,
  write: writeRoomEntry,
  read: readRoomEntry,
  readKey: readRoomId,
  facts: roomFactTypes,
})
export const posts = stream<Posted>('posts', {
  blocks: false,
  key: ofRoom,
  messageId: ({ roomId, roomSeq }) => `${roomId}/${roomSeq}`,
  write: writePosted,
  read: readPosted,
  ofFields: withRoomKey,
})

export const undelivered = stream<Undelivered>('undelivered', {
  blocks: false,
  key: ({ key }) => key,
  messageId: ({ webhook, messageId, undeliveredAtMs }) => `${webhook}/${messageId}/${undeliveredAtMs}`,
  write: writeUndelivered,
  read: readUndelivered,
  ofFields: withRecordKey,
})

function ofUser (item: { readonly userId: string }): string { return item.userId }
function ofRoom (item: { readonly roomId: string }): string { return item.roomId }

function stream<T> (name: string, codec: Codec<T>): RecordStream<T> {
  const { blocks, key, messageId, bytesOf = bytesOfValue, write, read, readKey, before, facts, ofFields } = codec
  const schema = loadSchema(`streams/${name.replace('.', '-')}`)
  const old = before && loadSchema(before.schema)
  const foreign = foreignBlocks<T>(schema, facts, ofFields)
  const writer = new AvroWriter()
  const reader = new AvroReader('bad-record')
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf({ type: 'array', items: schema }), header, 0)
  let bytes = Buffer.alloc(0)
  let walk: ((from: AvroReader) => void) | undefined

  /** Goes to `pos`, with room for `room` bytes after it, and what is before it kept. */
  function makeRoom (pos: number, room: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(bytesAtFirst, 2 * bytes.length, pos + room))
    grown.set(bytes.subarray(0, pos))
    bytes = grown
    writer.open(bytes, pos)
  }

  function start (): void {
    if (bytes.length > bytesKeptMax || bytes.length === 0) {
      bytes = Buffer.allocUnsafeSlow(bytesAtFirst)
      bytes.set(header)
    }
    writer.open(bytes, headerBytes)
  }

  function writeWhole (item: T): void {
    const before = writer.pos
    write(writer, item)
    while (writer.pos > bytes.length) {
      makeRoom(before, writer.pos - before)
      write(writer, item)
    }
  }

  function itemsOf (block: Uint8Array, keys: ReadonlySet<string>, keyIn: (from: AvroReader) => string): T[] {
    if (!hasHeader(block, header)) return foreign(block, readHeader(block)).filter(item => keys.has(key(item)))
    const over = walk ??= walkOver(avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: 'always' }))
    const items: T[] = []
    reader.open(block, headerBytes, block.length)
    reader.skipItems(from => {
      const start = from.pos
      const isWanted = keys.has(keyIn(from))
      from.pos = start
      if (isWanted) items.push(read(from))
      else over(from)
    }, 1)
    reader.close()
    return items
  }

  return {
    name,
    blocks,
    schema,
    schemas: old === undefined ? [schema] : [old, schema],
    schemaOf (item) {
      if (old === undefined) return schema
      const { fact } = item as { readonly fact: { readonly type: string } }
      return before!.lacks.has(fact.type) ? schema : old
    },
    key,
    messageId,
    bytesOf,
    encodeBlock (items) {
      start()
      if (items.length > 0) writer.long(items.length)
      for (let i = 0; i < items.length; i++) writeWhole(items[i]!)
      if (writer.pos === bytes.length) makeRoom(writer.pos, 1)
      writer.long(0)
      return bytes.subarray(0, writer.pos)
    },
    decodeBlock (block) {
      if (!hasHeader(block, header)) return foreign(block, readHeader(block))
      reader.open(block, headerBytes, block.length)
      const items = reader.items(read)
      reader.close()
      return items
    },
    ...readKey && { decodeItemsOf: (block: Uint8Array, keys: ReadonlySet<string>) => itemsOf(block, keys, readKey) },
    encodeRecord (item) {
      start()
      writeWhole(item)
      return bytes.subarray(headerBytes, writer.pos)
    },
    decodeRecord (record, at) {
      reader.open(record, at, record.length)
      const item = read(reader)
      reader.close()
      return item
    },
  }
}
