/**
 * The facts that the stream `rooms` holds about a room, past tense. `streams/rooms.avsc` is their Avro form.
 *
 * Every fact is idempotent in the fold: a block may stand in the stream twice, the second time late.
 */
export type RoomFact = PostRequested | NodeJoined | NodeLeft | RoomClosed | PostsDelivered | RoomFellSilent

/** A business service, or a user by an uplink, wants this said in the room; the entry's time is that of the post. */
export interface PostRequested {
  readonly type: 'PostRequested'
  /** Idempotency key within the room; of an uplink `userId/userSeq`. */
  readonly messageId: string
  /** User id within the app; empty for a business service. */
  readonly from: string
  readonly service: string
  readonly payload: Uint8Array
  /** The entry of the uplink in the ledger, all -1 for a business service: how a replay of the ledger is known. */
  readonly ledgerPartition: number
  readonly ledgerOffset: number
  readonly ledgerIndex: number
  /** Id of the API key that asked; empty for one of the environment, and for an uplink. */
  readonly by: string
}

/** A node has members of the room, and wants its posts. */
export interface NodeJoined {
  readonly type: 'NodeJoined'
  readonly nodeId: string
  /** New at every start of the node, increasing; ms since 1970 of the start. */
  readonly nodeEpoch: number
  /** Counts up on the node, so that a late end ends nothing newer. */
  readonly interest: number
}

/** A node has no members of the room any more, or is gone itself. */
export interface NodeLeft {
  readonly type: 'NodeLeft'
  readonly nodeId: string
  readonly nodeEpoch: number
  /** What is newer does not end. */
  readonly interest: number
  readonly code: 'left' | 'node-lost'
}

/** A business service closed the room: it takes no posts and no members from now on. */
export interface RoomClosed {
  readonly type: 'RoomClosed'
  readonly requestId: string
  /** What its members are told. */
  readonly reason: string
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
}

/**
 * A node has given its members the posts up to `roomSeq`, but those that are behind: they read too slowly, and get the
 * rest once they do. For evidence alone.
 */
export interface PostsDelivered {
  readonly type: 'PostsDelivered'
  readonly nodeId: string
  readonly nodeEpoch: number
  /** The node's newest one when it says so. */
  readonly interest: number
  readonly roomSeq: number
  /** Open connections of the node that are in the room. */
  readonly members: number
  readonly behind: number
}

/**
 * Nobody has been in the room or posted there for as long as the settings say: what it keeps for who comes back goes.
 * Its numbers stay.
 */
export interface RoomFellSilent {
  readonly type: 'RoomFellSilent'
  /** Number of its last post; it changes nothing where there is a later one. */
  readonly roomSeq: number
  /** When somebody used it last, ms since 1970. */
  readonly sinceMs: number
}

/** One record of the stream `rooms`: which room, when, what. */
export interface RoomEntry {
  /** The room's key: with the app that it is of, as users have (apps.ts). */
  readonly roomId: string
  /** Clock of the node that appended it, ms since 1970. The only time that a fold sees. */
  readonly atMs: number
  readonly fact: RoomFact
}
