import { type AvroReader, readLong, readString } from '../schemas/avro-reader.js'
import { type AvroWriter, writeLong, writeString } from '../schemas/avro-writer.js'
import { roomRightNames } from '../schemas/room-rights.js'
import { type AskedLinkMessage, readAsked, writeAsked } from './asked-link-codec.js'
import type { ConnectionMessage, Resync, SharedSignal, Signalled, Traced } from './links.js'
import {
  isOfRooms, isRoomBranch, lastRoomBranches, laterRoomBranches, readRoomMessage, roomBranches, type RoomLinkMessage,
  writeRoomMessage,
} from './room-link-codec.js'
import type { Downlink } from './user/effects.js'
import type { Membership } from './user/memberships.js'

/* Link messages, each a record of the union `messages` of schemas/links.avsc. Batches of them: link-batch.ts. */

/** What goes between nodes. Signals have a number in place of an identity, for their content stands once a batch. */
export type LinkMessage =
  | Exclude<ConnectionMessage, Signalled> | LinkSignal | SignalNotHere | Resync | AskedLinkMessage | RoomLinkMessage
  | Traced

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

type Branch = LinkMessage['type'] | 'signalContent' | 'askedClose' | 'askedBans'

/** Branches of the union `messages`, in its order. New ones go to the end. */
const branches: readonly Branch[] = [
  'welcome', 'ackUplinks', 'refuseUplink', 'deliver', 'closeConnection', 'gone', 'signalContent', 'signal', 'resync',
  'notHere', 'askRequest', 'requestKnown', 'askBans', 'bansKnown', ...roomBranches,
  'memberships', 'askMemberships', 'membershipsKnown', 'askAck', 'ackKnown',
  'askRecalled', 'recalledKnown', ...laterRoomBranches, 'traced', 'askedClose', ...lastRoomBranches, 'askedBans',
]

const closeCodes = ['superseded', 'kicked', 'protocol', 'internal', 'banned'] as const

/**
 * Which of the schemas of link-batch.ts is the first that has a word for it. A batch goes out in the oldest one that
 * does for all of its messages, as nodes of the versions before read it.
 */
export function schemaOf (message: LinkMessage): number {
  switch (message.type) {
    case 'askRequest':
    case 'requestKnown':
    case 'askBans': return 1
    case 'bansKnown': return namesAsker(message) ? 6 : 1
    case 'memberships':
    case 'askMemberships':
    case 'membershipsKnown': return 2
    case 'askAck':
    case 'ackKnown': return 3
    case 'askRecalled':
    case 'recalledKnown':
    case 'askPosts':
    case 'postsKnown':
    case 'traced': return 4
    case 'askPostTime':
    case 'postTimeKnown': return 5
    case 'closeConnection':
      if (namesAsker(message)) return 5
      return message.code === 'internal' || message.code === 'banned' ? 1 : 0
    default: return isOfRooms(message) ? 2 : 0
  }
}

/** Whether it says whose key asked: what does not is told as all versions know it. */
function namesAsker (message: LinkMessage): boolean {
  switch (message.type) {
    case 'closeConnection': return message.by !== ''
    case 'bansKnown': return message.bans.some(({ by }) => by !== '')
    default: return false
  }
}

function branchOf (message: LinkMessage): Branch {
  if (!namesAsker(message)) return message.type
  return message.type === 'closeConnection' ? 'askedClose' : 'askedBans'
}

export function writeContent (to: AvroWriter, { signalId, signal }: LinkSignal): void {
  to.symbol(branches, 'signalContent')
  to.long(signalId)
  to.string(signal.service)
  to.payload(signal.payload)
}

export function writeMessage (to: AvroWriter, message: LinkMessage): void {
  to.symbol(branches, branchOf(message))
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
      to.string(message.reason)
      if (message.by !== '') to.string(message.by)
      return
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
    case 'memberships':
      to.string(message.connectionId)
      to.long(message.version)
      return to.items(message.rooms, writeRoom)
    case 'traced':
      to.items(message.userKeys, writeString)
      to.string(message.messageId)
      return to.string(message.traceparent)
    default:
      if (isOfRooms(message)) writeRoomMessage(to, message)
      else writeAsked(to, message)
  }
}

/** @returns the message, or undefined for content that messages behind it name */
export function readItem (
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
    case 'closeConnection':
    case 'askedClose': return {
      type: 'closeConnection',
      nodeId,
      connectionId: r.sharedString(),
      code: closeCodes[r.index(closeCodes.length)]!,
      reason: r.string(),
      by: type === 'askedClose' ? r.sharedString() : '',
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
    case 'memberships': return {
      type, nodeId, connectionId: r.sharedString(), version: r.long(), rooms: r.items(readRoom),
    }
    case 'traced': return { type, nodeId, userKeys: r.items(readString), messageId: r.string(), traceparent: r.string() }
    default: return isRoomBranch(type)
      ? readRoomMessage(r, type, fromNodeId, nodeId)
      : readAsked(r, type, fromNodeId, nodeId)
  }
}

function readDownlink (r: AvroReader): Downlink {
  return { messageId: r.string(), service: r.sharedString(), payload: r.payload(), requestedAtMs: r.long() }
}

type Room = Pick<Membership, 'roomId' | 'rights'>

function writeRoom (to: AvroWriter, { roomId, rights }: Room): void {
  to.string(roomId)
  to.symbol(roomRightNames, rights)
}

function readRoom (r: AvroReader): Room {
  return { roomId: r.sharedString(), rights: roomRightNames[r.index(roomRightNames.length)]! }
}
