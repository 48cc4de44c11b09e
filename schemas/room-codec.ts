import { userKey, userOf } from './apps.js'
import type { AvroReader } from './avro-reader.js'
import type { AvroWriter } from './avro-writer.js'
import type { Posted } from './records.js'
import type { NodeLeft, RoomEntry, RoomFact } from './room-facts.js'

/*
  Avro binary of streams/rooms.avsc and streams/posts.avsc, by hand as that of the ledger. avsc with the same schemas is
  the tests' oracle.
*/

/** Branches of the union `fact`, in the order of the schema. New ones go to the end. */
export const roomFactTypes = [
  'PostRequested', 'NodeJoined', 'NodeLeft', 'RoomClosed', 'PostsDelivered', 'RoomFellSilent',
] as const satisfies readonly RoomFact['type'][]

export function writeRoomEntry (to: AvroWriter, { roomId, atMs, fact }: RoomEntry): void {
  to.string(roomId)
  to.long(atMs)
  to.symbol(roomFactTypes, fact.type)
  switch (fact.type) {
    case 'PostRequested':
      to.string(fact.messageId)
      to.string(fact.from)
      to.string(fact.service)
      to.payload(fact.payload)
      to.int(fact.ledgerPartition)
      to.long(fact.ledgerOffset)
      to.int(fact.ledgerIndex)
      return to.string(fact.by)
    case 'NodeJoined':
      to.string(fact.nodeId)
      to.long(fact.nodeEpoch)
      return to.long(fact.interest)
    case 'NodeLeft':
      to.string(fact.nodeId)
      to.long(fact.nodeEpoch)
      to.long(fact.interest)
      return to.string(fact.code)
    case 'RoomClosed':
      to.string(fact.requestId)
      to.string(fact.reason)
      return to.string(fact.by)
    case 'PostsDelivered':
      to.string(fact.nodeId)
      to.long(fact.nodeEpoch)
      to.long(fact.interest)
      to.long(fact.roomSeq)
      to.int(fact.members)
      return to.int(fact.behind)
    case 'RoomFellSilent':
      to.long(fact.roomSeq)
      return to.long(fact.sinceMs)
  }
}

/** What an entry begins with. */
export function readRoomId (from: AvroReader): string { return from.sharedString() }

export function readRoomEntry (from: AvroReader): RoomEntry {
  return { roomId: readRoomId(from), atMs: from.long(), fact: readRoomFact(from) }
}

function readRoomFact (r: AvroReader): RoomFact {
  switch (roomFactTypes[r.index(roomFactTypes.length)]!) {
    case 'PostRequested': return {
      type: 'PostRequested',
      messageId: r.string(),
      from: r.sharedString(),
      service: r.sharedString(),
      payload: r.payload(),
      ledgerPartition: r.int(),
      ledgerOffset: r.long(),
      ledgerIndex: r.int(),
      by: r.sharedString(),
    }
    case 'NodeJoined': return {
      type: 'NodeJoined',
      nodeId: r.sharedString(),
      nodeEpoch: r.long(),
      interest: r.long(),
    }
    case 'NodeLeft': return {
      type: 'NodeLeft',
      nodeId: r.sharedString(),
      nodeEpoch: r.long(),
      interest: r.long(),
      code: r.sharedString() as NodeLeft['code'],
    }
    case 'RoomClosed': return {
      type: 'RoomClosed',
      requestId: r.string(),
      reason: r.string(),
      by: r.sharedString(),
    }
    case 'PostsDelivered': return {
      type: 'PostsDelivered',
      nodeId: r.sharedString(),
      nodeEpoch: r.long(),
      interest: r.long(),
      roomSeq: r.long(),
      members: r.int(),
      behind: r.int(),
    }
    case 'RoomFellSilent': return { type: 'RoomFellSilent', roomSeq: r.long(), sinceMs: r.long() }
  }
}

export function writePosted (to: AvroWriter, post: Posted): void {
  const { app, userId: roomId } = userOf(post.roomId)
  to.string(roomId)
  to.long(post.roomSeq)
  to.string(post.messageId)
  to.string(post.from)
  to.string(post.service)
  to.payload(post.payload)
  to.long(post.postedAtMs)
  to.string(app)
}

export function readPosted (r: AvroReader): Posted {
  const post = {
    roomId: r.sharedString(),
    roomSeq: r.long(),
    messageId: r.string(),
    from: r.sharedString(),
    service: r.sharedString(),
    payload: r.payload(),
    postedAtMs: r.long(),
  }
  const app = r.sharedString()
  if (app !== '') post.roomId = userKey(app, post.roomId)
  return post
}

/** A post as another schema than ours has it, decoded by avsc: the room's key takes the place of its parts. */
export function withRoomKey ({ app, ...post }: Posted & { readonly app: string }): Posted {
  return { ...post, roomId: userKey(app, post.roomId) }
}
