import type { AckKnown, AskAck } from './group-links.js'
import type {
  AskMembers, MembersKnown, PostsKnown, PostTimeKnown, RoomKnown, RoomMessage, RoomQuestion,
} from './room-links.js'
import type { Ban } from './user/bans.js'
import type { CloseConnection, Deliver, RefuseUplink, Welcome } from './user/effects.js'
import type { Membership } from './user/memberships.js'
import type { RecallOutcome } from './user/recall.js'
import type { Known } from './requests.js'

/**
 * The port between user actors and the connection actors that they answer (design.md 3), and between rooms and the
 * edges with their members (room-links.ts), which may be on another node.
 * At most once, and in order unless something is lost: what is lost, the edge's sweep asks for again with `Resync`.
 */
export interface Links {
  /** Whether what is sent to this node may not arrive. */
  mayLose (nodeId: string): boolean
  /** To the edge that holds the connection; dropped where it is gone. */
  toConnection (message: ConnectionMessage): void
  /** To the node that owns the user's partition; dropped where nobody does just now. */
  toUser (question: Question): void
  /** To the node that owns the room's partition; dropped where nobody does just now. */
  toRoom (question: RoomQuestion): void
  /** To a node that has members of a room; dropped where it is gone. */
  toMembers (message: RoomMessage | AskMembers): void
  /** To a node that has a partition for a group of readers; dropped where it is gone. */
  toReaders (message: AskAck): void
  /** To a node that may have a part in delivering a downlink; dropped where it is gone, or traces nothing. */
  toTracer (message: Traced): void
  /** To the node that asked; dropped where it is gone. */
  toAsker (answer: Answer): void
}

/** What a user actor is asked without anything being changed by it. */
export type Question = Resync | AskRequest | AskBans | AskMemberships | AskRecalled

/** What a user actor, a room or a node answers to a node, and not to one of its connections. */
export type Answer =
  | RequestKnown | BansKnown | MembershipsKnown | RoomKnown | PostsKnown | PostTimeKnown | MembersKnown | AckKnown
  | RecalledKnown

/** Each names its connection and the node that holds it. */
export type ConnectionMessage =
  | Welcome | AckUplinks | RefuseUplink | Deliver | CloseConnection | Gone | Signalled | MembershipsTold

/** Accepted up to `seq`; `userSeqs` are the numbers of the last ones, ending at `seq`. */
export interface AckUplinks {
  readonly type: 'ackUplinks'
  readonly nodeId: string
  readonly connectionId: string
  seq: number
  readonly userSeqs: number[]
}

/** A message is part of somebody's trace, so whoever delivers it records that. Nothing else depends on it. */
export interface Traced {
  readonly type: 'traced'
  readonly nodeId: string
  /** Whose it is: a message id says nothing without that. Of posts and broadcasts, what stands for all who get them. */
  readonly userKeys: readonly string[]
  readonly messageId: string
  /** W3C trace context of its request. */
  readonly traceparent: string
}

/** The downlink that a resync asked for was dropped or has expired: only a new `connected` can announce that. */
export interface Gone {
  readonly type: 'gone'
  readonly nodeId: string
  readonly connectionId: string
}

/**
 * In which rooms business has the user of a connection: behind a `Welcome`, where there are any, and after each change.
 * It has all of them, so that nothing is missed where one is lost and the next one comes. Where it may be lost it is
 * told again: see `ToldMemberships`.
 */
export interface MembershipsTold {
  readonly type: 'memberships'
  readonly nodeId: string
  readonly connectionId: string
  /** Only grows: one that is told late has a lower one. */
  readonly version: number
  readonly rooms: ReadonlyArray<Pick<Membership, 'roomId' | 'rights'>>
}

/**
 * A signal for the client. One object for all connections that it goes to, so that each encoding is made once. Nobody
 * repairs a signal, so one that finds no connection is answered with `NotHere`.
 */
export interface Signalled {
  readonly type: 'signal'
  readonly nodeId: string
  readonly connectionId: string
  readonly signal: SharedSignal
}

export interface SharedSignal {
  readonly service: string
  readonly payload: Uint8Array
  /** Filled by the edge: the whole frame as it goes over the wire, by the name of its framing. */
  readonly encoded: Map<string, Buffer>
}

/**
 * Asks a user actor for what a connection has not seen: its `Welcome` while `welcomed` is false, else acks above
 * `uplinkSeq` and downlinks above `downlinkSeq`, up to `bytesMax` payload bytes. Changes nothing.
 */
export interface Resync {
  readonly type: 'resync'
  readonly userId: string
  readonly partition: number
  readonly nodeId: string
  readonly connectionId: string
  readonly welcomed: boolean
  readonly uplinkSeq: number
  readonly downlinkSeq: number
  readonly bytesMax: number
}

/** Asks a user actor whether it has had a downlink request of this id before. Answered by `RequestKnown`. */
export interface AskRequest {
  readonly type: 'askRequest'
  readonly userId: string
  readonly partition: number
  /** Where the answer goes. */
  readonly nodeId: string
  readonly askId: number
  readonly messageId: string
  /** Digest of its service and payload. */
  readonly content: number
  /** First offset of the partition that the answer need not know of: what the asker has seen appended is before it. */
  readonly asOf: bigint
}

export interface RequestKnown {
  readonly type: 'requestKnown'
  readonly nodeId: string
  readonly askId: number
  readonly known: Known
}

/** Asks a user actor for the bans that its user has. Answered by `BansKnown`. */
export interface AskBans {
  readonly type: 'askBans'
  readonly userId: string
  readonly partition: number
  /** Where the answer goes. */
  readonly nodeId: string
  readonly askId: number
  /** As in `AskRequest`. */
  readonly asOf: bigint
}

export interface BansKnown {
  readonly type: 'bansKnown'
  readonly nodeId: string
  readonly askId: number
  /** Oldest first; also such as are over. */
  readonly bans: readonly Ban[]
}

/** Asks a user actor for the rooms that business has its user in. Answered by `MembershipsKnown`. */
export interface AskMemberships {
  readonly type: 'askMemberships'
  readonly userId: string
  readonly partition: number
  /** Where the answer goes. */
  readonly nodeId: string
  readonly askId: number
  /** As in `AskRequest`. */
  readonly asOf: bigint
}

export interface MembershipsKnown {
  readonly type: 'membershipsKnown'
  readonly nodeId: string
  readonly askId: number
  /** The one granted first comes first. */
  readonly rooms: readonly Membership[]
}

/** Asks a user actor what has become of a downlink that was to be taken back. Answered by `RecalledKnown`. */
export interface AskRecalled {
  readonly type: 'askRecalled'
  readonly userId: string
  readonly partition: number
  /** Where the answer goes. */
  readonly nodeId: string
  readonly askId: number
  readonly messageId: string
  /** As in `AskRequest`. */
  readonly asOf: bigint
}

export interface RecalledKnown {
  readonly type: 'recalledKnown'
  readonly nodeId: string
  readonly askId: number
  readonly outcome: RecallOutcome
}

/**
 * The answer to a signal whose connection its node does not have, or whose node does not listen: the route was stale.
 * Signals alone are answered. What a user actor sends to a connection that is gone needs no answer: the ledger says
 * that it has ended, and what a live one has lost, it asks for with `Resync`.
 */
export interface NotHere {
  readonly type: 'notHere'
  /** Where the connection was looked for. */
  readonly nodeId: string
  readonly connectionId: string
  /** The very object that was sent, so that its sender finds what belongs to it. */
  readonly signal: SharedSignal
}

/** Where the messages arrive; each end is set once, when the role behind it has started. */
export interface LocalEnds {
  /** @returns false where the connection is not here */
  connections: (message: ConnectionMessage) => boolean
  users: (question: Question) => void
  rooms: (question: RoomQuestion) => void
  /** What this node's members of rooms get, and questions about them. */
  members: (message: RoomMessage | AskMembers) => void
  /** At most once: who asks does not wait for ever. */
  requestKnown: (answer: RequestKnown) => void
  /** At most once, too. */
  bansKnown: (answer: BansKnown) => void
  membershipsKnown: (answer: MembershipsKnown) => void
  recalledKnown: (answer: RecalledKnown) => void
  roomKnown: (answer: RoomKnown) => void
  postsKnown: (answer: PostsKnown) => void
  postTimeKnown: (answer: PostTimeKnown) => void
  membersKnown: (answer: MembersKnown) => void
  /** Acks for partitions that this node has for groups of readers. */
  acks: (message: AskAck) => void
  ackKnown: (answer: AckKnown) => void
  traced: (message: Traced) => void
  /** At most once, like the signal that it answers: no `NotHere` does not mean that the signal has arrived. */
  notHere: (answer: NotHere) => void
  /**
   * Questions for this partition are answered here from now on: of the stream `ledger` those for users, of `rooms`
   * those for rooms.
   *
   * @returns when they arrive, or once it has failed to make them: then it is tried again until `disowns`
   */
  owns (of: OwnedStream, partition: number): Promise<void>
  disowns (of: OwnedStream, partition: number): void
}

/** A stream whose partitions are owned: each is folded by one node. */
export type OwnedStream = 'ledger' | 'rooms'

/** The embedded side: everything is in this process, so a message is a call. */
export function localLinks (): Links & LocalEnds {
  return {
    connections: () => false,
    users: () => {},
    rooms: () => {},
    members: () => {},
    requestKnown: () => {},
    bansKnown: () => {},
    membershipsKnown: () => {},
    recalledKnown: () => {},
    roomKnown: () => {},
    postsKnown: () => {},
    postTimeKnown: () => {},
    membersKnown: () => {},
    acks: () => {},
    ackKnown: () => {},
    traced: () => {},
    notHere: () => {},
    async owns () {},
    disowns () {},
    mayLose: () => false,
    toConnection (message) { tellHere(this, message) },
    toUser (question) { this.users(question) },
    toRoom (question) { this.rooms(question) },
    toMembers (message) { this.members(message) },
    toReaders (message) { this.acks(message) },
    toTracer (message) { this.traced(message) },
    toAsker (answer) { answerHere(this, answer) },
  }
}

/** Gives an answer to whoever asked on this very node. */
export function answerHere (ends: LocalEnds, answer: Answer): void {
  switch (answer.type) {
    case 'requestKnown': ends.requestKnown(answer); return
    case 'bansKnown': ends.bansKnown(answer); return
    case 'membershipsKnown': ends.membershipsKnown(answer); return
    case 'recalledKnown': ends.recalledKnown(answer); return
    case 'roomKnown': ends.roomKnown(answer); return
    case 'postsKnown': ends.postsKnown(answer); return
    case 'postTimeKnown': ends.postTimeKnown(answer); return
    case 'membersKnown': ends.membersKnown(answer); return
    case 'ackKnown': ends.ackKnown(answer)
  }
}

/** Gives a message to its connection on this very node. */
export function tellHere (ends: LocalEnds, message: ConnectionMessage): void {
  if (ends.connections(message) || message.type !== 'signal') return
  const { nodeId, connectionId, signal } = message
  ends.notHere({ type: 'notHere', nodeId, connectionId, signal })
}
