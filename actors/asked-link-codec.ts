import type { AvroReader } from '../schemas/avro-reader.js'
import type { AvroWriter } from '../schemas/avro-writer.js'
import { roomRightNames } from '../schemas/room-rights.js'
import type { AckKnown, AskAck } from './group-links.js'
import type {
  AskBans, AskMemberships, AskRecalled, AskRequest, BansKnown, MembershipsKnown, RecalledKnown, RequestKnown,
} from './links.js'
import type { Known } from './requests.js'
import type { Ban } from './user/bans.js'
import type { Membership } from './user/memberships.js'
import type { RecallOutcome } from './user/recall.js'

/* The part of link-codec.ts that is about questions of one node to another, and their answers. */

export type AskedLinkMessage =
  | AskRequest | RequestKnown | AskBans | BansKnown | AskMemberships | MembershipsKnown | AskAck | AckKnown
  | AskRecalled | RecalledKnown

const answers: readonly Known[] = ['first', 'duplicate', 'conflict']
const recallOutcomes: readonly RecallOutcome[] = ['recalled', 'written', 'ended', 'unknown']

export function writeAsked (to: AvroWriter, message: AskedLinkMessage): void {
  switch (message.type) {
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
      return to.items(message.bans, message.bans.some(({ by }) => by !== '') ? writeAskedBan : writeBan)
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
      to.int(message.index)
      return to.int(message.epoch)
    case 'ackKnown':
      to.long(message.askId)
      return to.string(message.code)
    case 'askRecalled':
      to.string(message.userId)
      to.int(message.partition)
      to.long(message.askId)
      to.string(message.messageId)
      return to.long(Number(message.asOf))
    case 'recalledKnown':
      to.long(message.askId)
      return to.symbol(recallOutcomes, message.outcome)
  }
}

/**
 * @param fromNodeId who sent it
 * @param nodeId to whom it came
 */
export function readAsked (
  r: AvroReader, type: AskedLinkMessage['type'] | 'askedBans', fromNodeId: string, nodeId: string
): AskedLinkMessage {
  switch (type) {
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
    case 'askedBans': return { type: 'bansKnown', nodeId, askId: r.long(), bans: r.items(readAskedBan) }
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
      epoch: r.int(),
    }
    case 'ackKnown': return { type, nodeId, askId: r.long(), code: r.string() }
    case 'askRecalled': return {
      type,
      userId: r.string(),
      partition: r.int(),
      nodeId: fromNodeId,
      askId: r.long(),
      messageId: r.string(),
      asOf: BigInt(r.long()),
    }
    case 'recalledKnown': return { type, nodeId, askId: r.long(), outcome: recallOutcomes[r.index(recallOutcomes.length)]! }
  }
}

function writeBan (to: AvroWriter, { banId, deviceId, tokenId, untilMs, reason, bannedAtMs }: Ban): void {
  to.string(banId)
  to.string(deviceId)
  to.string(tokenId)
  to.long(untilMs)
  to.string(reason)
  to.long(bannedAtMs)
}

function writeAskedBan (to: AvroWriter, ban: Ban): void {
  writeBan(to, ban)
  to.string(ban.by)
}

function readBan (r: AvroReader): Ban {
  return {
    banId: r.string(),
    deviceId: r.string(),
    tokenId: r.string(),
    untilMs: r.long(),
    reason: r.string(),
    bannedAtMs: r.long(),
    by: '',
  }
}

function readAskedBan (r: AvroReader): Ban { return { ...readBan(r), by: r.sharedString() } }

function writeMembership (to: AvroWriter, { roomId, rights, grantedAtMs }: Membership): void {
  to.string(roomId)
  to.symbol(roomRightNames, rights)
  to.long(grantedAtMs)
}

function readMembership (r: AvroReader): Membership {
  return { roomId: r.sharedString(), rights: roomRightNames[r.index(roomRightNames.length)]!, grantedAtMs: r.long() }
}
