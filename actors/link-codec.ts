import { AvroReader } from '../schemas/avro-reader.js'
import { AvroWriter } from '../schemas/avro-writer.js'
import { loadSchema } from '../schemas/avsc-files.js'
import { GatewayError } from '../schemas/errors.js'
import { roomRightNames } from '../schemas/room-rights.js'
import { fingerprintOf, headerBytes, writeHeader } from '../schemas/single-object.js'
import type { AskAck } from './group-links.js'
import type { Answer, ConnectionMessage, Question, SharedSignal, Signalled } from './links.js'
import { isOfRooms, readRoomMessage, roomBranches, type RoomLinkMessage, writeRoomMessage } from './room-link-codec.js'
import type { Ban } from './user/bans.js'
import type { Downlink } from './user/effects.js'
import type { Membership } from './user/memberships.js'
import type { Known } from './requests.js'

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

/** What goes between nodes. Signals have a number in place of an identity, for their content stands once a batch. */
export type LinkMessage =
  | Exclude<ConnectionMessage, Signalled> | LinkSignal | Question | SignalNotHere | Answer | RoomLinkMessage | AskAck

export interface LinkSignal extends Signalled {
  /** Which of the sending process's signals it is. */
  readonly signalId: number
}

export interface SignalNotHere {
  readonly type: 'notHere'
  /** The node that does not have the connection. */
  readonly nodeId: string
  readonly connectionId: string
  readonly signalId: number
}

export interface ReceivedBatch {
  readonly fromNodeId: string
  readonly messages: readonly LinkMessage[]
}

type Branch = LinkMessage['type'] | 'signalContent'

/** Branches of the union `messages`, in its order. New ones go to the end. */
const branches: readonly Branch[] = [
  'welcome', 'ackUplinks', 'refuseUplink', 'deliver', 'closeConnection', 'gone', 'signalContent', 'signal', 'resync',
  'notHere', 'askRequest', 'requestKnown', 'askBans', 'bansKnown', ...roomBranches,
  'memberships', 'askMemberships', 'membershipsKnown', 'askAck', 'ackKnown',
]

const closeCodes = ['superseded', 'kicked', 'protocol', 'internal', 'banned'] as const

const answers: readonly Known[] = ['first', 'duplicate', 'conflict']

/** The schemas, oldest first, each an extension of the one before: what was written in any of them is read by ours. */
const headers = ['history/links-1', 'history/links-2', 'history/links-3', 'links'].map(headerOf)

function headerOf (schema: string): Buffer {
  const bytes = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(loadSchema(schema)), bytes, 0)
  return bytes
}

/**
 * Which of the schemas is the first that has a word for it. A batch goes out in the oldest one that does for all of its
 * messages, as nodes of the versions before read it.
 */
function schemaOf (message: LinkMessage): number {
  switch (message.type) {
    case 'askRequest':
    case 'requestKnown':
    case 'askBans':
    case 'bansKnown': return 1
    case 'memberships':
    case 'askMemberships':
    case 'membershipsKnown': return 2
    case 'askAck':
    case 'ackKnown': return 3
    case 'closeConnection': return message.code === 'internal' || message.code === 'banned' ? 1 : 0
    default: return isOfRooms(message) ? 2 : 0
  }
}

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

function writeContent (to: AvroWriter, { signalId, signal }: LinkSignal): void {
  to.symbol(branches, 'signalContent')
  to.long(signalId)
  to.string(signal.service)
  to.payload(signal.payload)
}

function writeMessage (to: AvroWriter, message: LinkMessage): void {
  to.symbol(branches, message.type)
  switch (message.type) {
    case 'welcome':
      to.string(message.connectionId)
      to.boolean(message.resumed)
      to.long(message.uplinkSeq)
      to.long(message.downlinkSeq)
      to.long(message.lastSeq)
      return to.long(message.missed)
    case 'ackUplinks':
      to.string(message.connectionId)
      to.long(message.seq)
      return to.items(message.userSeqs, writeLong)
    case 'refuseUplink':
      to.string(message.connectionId)
      return to.long(message.expectedSeq)
    case 'deliver':
      to.string(message.connectionId)
      to.long(message.seq)
      to.string(message.downlink.messageId)
      to.string(message.downlink.service)
      to.payload(message.downlink.payload)
      return to.long(message.downlink.requestedAtMs)
    case 'closeConnection':
      to.string(message.connectionId)
      to.symbol(closeCodes, message.code)
      return to.string(message.reason)
    case 'gone': return to.string(message.connectionId)
    case 'resync':
      to.string(message.userId)
      to.int(message.partition)
      to.string(message.connectionId)
      to.boolean(message.welcomed)
      to.long(message.uplinkSeq)
      to.long(message.downlinkSeq)
      return to.long(message.bytesMax)
    case 'signal':
    case 'notHere':
      to.string(message.connectionId)
      return to.long(message.signalId)
    case 'askRequest':
      to.string(message.userId)
      to.int(message.partition)
      to.long(message.askId)
      to.string(message.messageId)
      to.long(message.content)
      return to.long(Number(message.asOf))
    case 'requestKnown':
      to.long(message.askId)
      return to.symbol(answers, message.known)
    case 'askBans':
      to.string(message.userId)
      to.int(message.partition)
      to.long(message.askId)
      return to.long(Number(message.asOf))
    case 'bansKnown':
      to.long(message.askId)
      return to.items(message.bans, writeBan)
    case 'memberships':
      to.string(message.connectionId)
      to.long(message.version)
      return to.items(message.rooms, writeRoom)
    case 'askMemberships':
      to.string(message.userId)
      to.int(message.partition)
      to.long(message.askId)
      return to.long(Number(message.asOf))
    case 'membershipsKnown':
      to.long(message.askId)
      return to.items(message.rooms, writeMembership)
    case 'askAck':
      to.long(message.askId)
      to.string(message.app)
      to.string(message.group)
      to.string(message.stream)
      to.int(message.partition)
      to.long(Number(message.next))
      return to.int(message.index)
    case 'ackKnown':
      to.long(message.askId)
      return to.string(message.code)
    default: writeRoomMessage(to, message)
  }
}

/**
 * Payloads are views: whoever keeps one past the life of `bytes` copies it.
 *
 * @param toNodeId the node that the batch goes to: what it says to connections, it says to those of this node
 * @throws GatewayError `bad-record`
 */
export function decodeBatch (bytes: Uint8Array, toNodeId: string): ReceivedBatch {
  if (!headers.some(header => startsWith(bytes, header))) {
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

function startsWith (bytes: Uint8Array, header: Buffer): boolean {
  for (let i = 0; i < headerBytes; i++) if (bytes[i] !== header[i]) return false
  return true
}

/** @returns the message, or undefined for content that messages behind it name */
function readItem (
  r: AvroReader, fromNodeId: string, nodeId: string, signals: Map<number, SharedSignal>
): LinkMessage | undefined {
  const type = branches[r.index(branches.length)]!
  switch (type) {
    case 'welcome': return {
      type,
      nodeId,
      connectionId: r.sharedString(),
      resumed: r.boolean(),
      uplinkSeq: r.long(),
      downlinkSeq: r.long(),
      lastSeq: r.long(),
      missed: r.long(),
    }
    case 'ackUplinks': return {
      type, nodeId, connectionId: r.sharedString(), seq: r.long(), userSeqs: r.items(readLong),
    }
    case 'refuseUplink': return {
      type, nodeId, connectionId: r.sharedString(), expectedSeq: r.long(), code: 'gap',
    }
    case 'deliver': return {
      type, nodeId, connectionId: r.sharedString(), seq: r.long(), downlink: readDownlink(r),
    }
    case 'closeConnection': return {
      type,
      nodeId,
      connectionId: r.sharedString(),
      code: closeCodes[r.index(closeCodes.length)]!,
      reason: r.string(),
    }
    case 'gone': return { type, nodeId, connectionId: r.sharedString() }
    case 'signalContent':
      signals.set(r.long(), { service: r.sharedString(), payload: r.payload(), encoded: new Map() })
      return undefined
    case 'signal': {
      const connectionId = r.sharedString()
      const signalId = r.long()
      const signal = signals.get(signalId)
      if (!signal) throw r.bad(`signal ${signalId} without its content`)
      return { type, nodeId, connectionId, signal, signalId }
    }
    case 'resync': return {
      type,
      userId: r.sharedString(),
      partition: r.int(),
      nodeId: fromNodeId,
      connectionId: r.sharedString(),
      welcomed: r.boolean(),
      uplinkSeq: r.long(),
      downlinkSeq: r.long(),
      bytesMax: r.long(),
    }
    case 'notHere': return { type, nodeId: fromNodeId, connectionId: r.sharedString(), signalId: r.long() }
    case 'askRequest': return {
      type,
      userId: r.string(),
      partition: r.int(),
      nodeId: fromNodeId,
      askId: r.long(),
      messageId: r.string(),
      content: r.long(),
      asOf: BigInt(r.long()),
    }
    case 'requestKnown': return { type, nodeId, askId: r.long(), known: answers[r.index(answers.length)]! }
    case 'askBans': return {
      type, userId: r.string(), partition: r.int(), nodeId: fromNodeId, askId: r.long(), asOf: BigInt(r.long()),
    }
    case 'bansKnown': return { type, nodeId, askId: r.long(), bans: r.items(readBan) }
    case 'memberships': return {
      type, nodeId, connectionId: r.sharedString(), version: r.long(), rooms: r.items(readRoom),
    }
    case 'askMemberships': return {
      type, userId: r.string(), partition: r.int(), nodeId: fromNodeId, askId: r.long(), asOf: BigInt(r.long()),
    }
    case 'membershipsKnown': return { type, nodeId, askId: r.long(), rooms: r.items(readMembership) }
    case 'askAck': return {
      type,
      nodeId,
      askNodeId: fromNodeId,
      askId: r.long(),
      app: r.string(),
      group: r.string(),
      stream: r.string(),
      partition: r.int(),
      next: BigInt(r.long()),
      index: r.int(),
    }
    case 'ackKnown': return { type, nodeId, askId: r.long(), code: r.string() }
    default: return readRoomMessage(r, type, fromNodeId, nodeId)
  }
}

function readDownlink (r: AvroReader): Downlink {
  return { messageId: r.string(), service: r.sharedString(), payload: r.payload(), requestedAtMs: r.long() }
}

function writeBan (to: AvroWriter, { banId, deviceId, tokenId, untilMs, reason, bannedAtMs }: Ban): void {
  to.string(banId)
  to.string(deviceId)
  to.string(tokenId)
  to.long(untilMs)
  to.string(reason)
  to.long(bannedAtMs)
}

function readBan (r: AvroReader): Ban {
  return {
    banId: r.string(),
    deviceId: r.string(),
    tokenId: r.string(),
    untilMs: r.long(),
    reason: r.string(),
    bannedAtMs: r.long(),
  }
}

type Room = Pick<Membership, 'roomId' | 'rights'>

function writeRoom (to: AvroWriter, { roomId, rights }: Room): void {
  to.string(roomId)
  to.symbol(roomRightNames, rights)
}

function readRoom (r: AvroReader): Room {
  return { roomId: r.sharedString(), rights: roomRightNames[r.index(roomRightNames.length)]! }
}

function writeMembership (to: AvroWriter, { roomId, rights, grantedAtMs }: Membership): void {
  to.string(roomId)
  to.symbol(roomRightNames, rights)
  to.long(grantedAtMs)
}

function readMembership (r: AvroReader): Membership {
  return { roomId: r.sharedString(), rights: roomRightNames[r.index(roomRightNames.length)]!, grantedAtMs: r.long() }
}

function writeLong (to: AvroWriter, value: number): void { to.long(value) }
function readLong (from: AvroReader): number { return from.long() }
