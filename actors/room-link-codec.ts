import type { AvroReader } from '../schemas/avro-reader.js'
import { type AvroWriter, writeString } from '../schemas/avro-writer.js'
import type {
  AskMembers, MembersKnown, PostsKnown, PostTimeKnown, RoomKnown, RoomMember, RoomMessage, RoomPost, RoomQuestion,
} from './room-links.js'

/* The part of link-codec.ts that is about rooms. */

export type RoomLinkMessage =
  RoomMessage | RoomQuestion | RoomKnown | PostsKnown | PostTimeKnown | AskMembers | MembersKnown

/** Branches of the union `messages`, in its order, behind those of link-codec.ts. */
export const roomBranches = [
  'roomPosts', 'roomTail', 'roomSignal', 'askRoom', 'askRoomInfo', 'roomKnown', 'askPost', 'signalRoom', 'askMembers',
  'membersKnown',
] as const satisfies ReadonlyArray<RoomLinkMessage['type']>

/** Further on in the union, and at its end. */
export const laterRoomBranches = ['askPosts', 'postsKnown'] as const satisfies ReadonlyArray<RoomLinkMessage['type']>
export const lastRoomBranches = ['askPostTime', 'postTimeKnown'] as const satisfies ReadonlyArray<RoomLinkMessage['type']>

const known: ReadonlySet<string> = new Set([...roomBranches, ...laterRoomBranches, ...lastRoomBranches])

export function isOfRooms (message: { readonly type: string }): message is RoomLinkMessage {
  return known.has(message.type)
}

export function isRoomBranch (type: string): type is RoomLinkMessage['type'] { return known.has(type) }

export function writeRoomMessage (to: AvroWriter, message: RoomLinkMessage): void {
  switch (message.type) {
    case 'roomPosts':
      to.string(message.roomId)
      return to.items(message.posts, writePost)
    case 'roomTail':
      to.string(message.roomId)
      to.long(message.interest)
      to.long(message.roomSeq)
      to.long(message.keptAfter)
      to.items(message.posts, writePost)
      to.boolean(message.closed)
      return to.string(message.reason)
    case 'roomSignal':
      to.string(message.roomId)
      to.string(message.service)
      return to.payload(message.payload)
    case 'askRoom':
      to.string(message.roomId)
      to.int(message.partition)
      to.long(message.nodeEpoch)
      to.long(message.interest)
      to.long(message.afterSeq)
      return to.long(message.bytesMax)
    case 'askRoomInfo':
      to.string(message.roomId)
      to.int(message.partition)
      to.long(message.askId)
      return to.long(Number(message.asOf))
    case 'roomKnown':
      to.long(message.askId)
      to.long(message.roomSeq)
      to.long(message.keptAfter)
      to.items(message.nodes, writeString)
      return to.boolean(message.closed)
    case 'askPost':
      to.string(message.roomId)
      to.int(message.partition)
      to.long(message.askId)
      to.string(message.messageId)
      to.long(message.content)
      return to.long(Number(message.asOf))
    case 'signalRoom':
      to.string(message.roomId)
      to.int(message.partition)
      to.string(message.service)
      return to.payload(message.payload)
    case 'askMembers':
      to.long(message.askId)
      to.string(message.roomId)
      to.string(message.after)
      return to.int(message.limit)
    case 'membersKnown':
      to.long(message.askId)
      to.items(message.members, writeMember)
      return to.int(message.total)
    case 'askPosts':
      to.string(message.roomId)
      to.int(message.partition)
      to.long(message.askId)
      to.long(message.afterSeq)
      to.int(message.postsMax)
      return to.long(Number(message.asOf))
    case 'postsKnown':
      to.long(message.askId)
      to.long(message.keptAfter)
      return to.items(message.posts, writePost)
    case 'askPostTime':
      to.string(message.roomId)
      to.int(message.partition)
      to.long(message.askId)
      to.long(message.roomSeq)
      return to.long(Number(message.asOf))
    case 'postTimeKnown':
      to.long(message.askId)
      to.long(message.roomSeq)
      return to.long(message.postedAtMs)
  }
}

/**
 * @param fromNodeId who sent it
 * @param nodeId to whom it came
 */
export function readRoomMessage (
  r: AvroReader, type: RoomLinkMessage['type'], fromNodeId: string, nodeId: string
): RoomLinkMessage {
  switch (type) {
    case 'roomPosts': return { type, nodeId, roomId: r.sharedString(), posts: r.items(readPost) }
    case 'roomTail': return {
      type,
      nodeId,
      roomId: r.sharedString(),
      interest: r.long(),
      roomSeq: r.long(),
      keptAfter: r.long(),
      posts: r.items(readPost),
      closed: r.boolean(),
      reason: r.string(),
    }
    case 'roomSignal': return { type, nodeId, roomId: r.sharedString(), service: r.sharedString(), payload: r.payload() }
    case 'askRoom': return {
      type,
      roomId: r.sharedString(),
      partition: r.int(),
      nodeId: fromNodeId,
      nodeEpoch: r.long(),
      interest: r.long(),
      afterSeq: r.long(),
      bytesMax: r.long(),
    }
    case 'askRoomInfo': return {
      type, roomId: r.string(), partition: r.int(), nodeId: fromNodeId, askId: r.long(), asOf: BigInt(r.long()),
    }
    case 'roomKnown': return {
      type,
      nodeId,
      askId: r.long(),
      roomSeq: r.long(),
      keptAfter: r.long(),
      nodes: r.items(readShared),
      closed: r.boolean(),
    }
    case 'askPost': return {
      type,
      roomId: r.string(),
      partition: r.int(),
      nodeId: fromNodeId,
      askId: r.long(),
      messageId: r.string(),
      content: r.long(),
      asOf: BigInt(r.long()),
    }
    case 'signalRoom': return {
      type, roomId: r.string(), partition: r.int(), service: r.sharedString(), payload: r.payload(),
    }
    case 'askMembers': return {
      type, nodeId, askNodeId: fromNodeId, askId: r.long(), roomId: r.string(), after: r.string(), limit: r.int(),
    }
    case 'membersKnown': return { type, nodeId, askId: r.long(), members: r.items(readMember), total: r.int() }
    case 'askPosts': return {
      type,
      roomId: r.string(),
      partition: r.int(),
      nodeId: fromNodeId,
      askId: r.long(),
      afterSeq: r.long(),
      postsMax: r.int(),
      asOf: BigInt(r.long()),
    }
    case 'postsKnown': return { type, nodeId, askId: r.long(), keptAfter: r.long(), posts: r.items(readPost) }
    case 'askPostTime': return {
      type,
      roomId: r.string(),
      partition: r.int(),
      nodeId: fromNodeId,
      askId: r.long(),
      roomSeq: r.long(),
      asOf: BigInt(r.long()),
    }
    case 'postTimeKnown': return { type, nodeId, askId: r.long(), roomSeq: r.long(), postedAtMs: r.long() }
  }
}

function writePost (to: AvroWriter, post: RoomPost): void {
  to.long(post.roomSeq)
  to.string(post.messageId)
  to.string(post.from)
  to.string(post.service)
  to.payload(post.payload)
  to.long(post.postedAtMs)
}

function readPost (r: AvroReader): RoomPost {
  return {
    roomSeq: r.long(),
    messageId: r.string(),
    from: r.sharedString(),
    service: r.sharedString(),
    payload: r.payload(),
    postedAtMs: r.long(),
    encoded: new Map(),
  }
}

function writeMember (to: AvroWriter, { userId, deviceId, connectionId }: RoomMember): void {
  to.string(userId)
  to.string(deviceId)
  to.string(connectionId)
}

function readMember (r: AvroReader): RoomMember {
  return { userId: r.sharedString(), deviceId: r.sharedString(), connectionId: r.string() }
}

function readShared (from: AvroReader): string { return from.sharedString() }
