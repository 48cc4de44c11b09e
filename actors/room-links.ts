/**
 * What goes between the owner of a room and the nodes that have members of it. At most once, like all of `Links`, and
 * in order unless something is lost: a post that is missing a node sees by the numbers, and asks for it with `AskRoom`.
 *
 * A room is named by its key (apps.ts).
 */

/** To a node that has members of the room; dropped where it has none. */
export type RoomMessage = RoomPosts | RoomTail | RoomSignal

/** To the owner of the room; dropped where nobody owns it just now. None changes the room. */
export type RoomQuestion = AskRoom | AskRoomInfo | AskPost | AskPosts | AskPostTime | SignalRoom

/** A post as nodes have it. One object for all members, so that each encoding is made once. */
export interface RoomPost {
  readonly roomSeq: number
  readonly messageId: string
  /** User id within the app of who posted; empty for a business service. */
  readonly from: string
  readonly service: string
  readonly payload: Uint8Array
  /** Ms since 1970. */
  readonly postedAtMs: number
  /** Filled by the edge: the whole frame as it goes over the wire, by the name of its framing. */
  readonly encoded: Map<string, Buffer>
}

/** New posts, with consecutive numbers. */
export interface RoomPosts {
  readonly type: 'roomPosts'
  readonly nodeId: string
  readonly roomId: string
  readonly posts: readonly RoomPost[]
}

/** What a node gets that has joined, or asked: the last posts up to `roomSeq`, without a gap. */
export interface RoomTail {
  readonly type: 'roomTail'
  readonly nodeId: string
  readonly roomId: string
  /** The one that the owner knows of this node. */
  readonly interest: number
  readonly roomSeq: number
  /** `posts` are those from the one after this one up to `roomSeq`. */
  readonly keptAfter: number
  readonly posts: readonly RoomPost[]
  /** The room takes no members any more: those that it has are told `left`, with this reason. */
  readonly closed: boolean
  readonly reason: string
}

/** Not stored, not numbered. */
export interface RoomSignal {
  readonly type: 'roomSignal'
  readonly nodeId: string
  readonly roomId: string
  readonly service: string
  readonly payload: Uint8Array
}

/**
 * Asks for the posts after `afterSeq`. Answered by `RoomTail` where the owner knows of this interest; an interest that
 * it does not know of is still under way, or was lost: then the node joins with a new one.
 */
export interface AskRoom {
  readonly type: 'askRoom'
  readonly roomId: string
  /** Of the stream `rooms`. */
  readonly partition: number
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly interest: number
  readonly afterSeq: number
  /** What the payloads of the answer may have; older posts are left out first, of which there is always one. */
  readonly bytesMax: number
}

/** Answered by `RoomKnown`. */
export interface AskRoomInfo {
  readonly type: 'askRoomInfo'
  readonly roomId: string
  readonly partition: number
  /** Where the answer goes. */
  readonly nodeId: string
  readonly askId: number
  /** First offset of the partition that the answer need not know of: what the asker has seen appended is before it. */
  readonly asOf: bigint
}

export interface RoomKnown {
  readonly type: 'roomKnown'
  readonly nodeId: string
  readonly askId: number
  readonly roomSeq: number
  /** Posts after this one are kept for whoever joins. */
  readonly keptAfter: number
  /** Nodes that have members of it. */
  readonly nodes: readonly string[]
  readonly closed: boolean
}

/** Asks for the posts after `afterSeq` that are kept, for somebody who is no member. Answered by `PostsKnown`. */
export interface AskPosts {
  readonly type: 'askPosts'
  readonly roomId: string
  readonly partition: number
  /** Where the answer goes. */
  readonly nodeId: string
  readonly askId: number
  readonly afterSeq: number
  /** Of those after `afterSeq`, so many of the first ones at most. */
  readonly postsMax: number
  /** As in `AskRoomInfo`. */
  readonly asOf: bigint
}

export interface PostsKnown {
  readonly type: 'postsKnown'
  readonly nodeId: string
  readonly askId: number
  /** `posts` are the first ones after it: the `afterSeq` of the question, or later where the room keeps less. */
  readonly keptAfter: number
  readonly posts: readonly RoomPost[]
}

/** Asks since when a post has stood in the stream `posts`, for who reads it there. Answered by `PostTimeKnown`. */
export interface AskPostTime {
  readonly type: 'askPostTime'
  readonly roomId: string
  readonly partition: number
  /** Where the answer goes. */
  readonly nodeId: string
  readonly askId: number
  readonly roomSeq: number
  /** As in `AskRoomInfo`. */
  readonly asOf: bigint
}

export interface PostTimeKnown {
  readonly type: 'postTimeKnown'
  readonly nodeId: string
  readonly askId: number
  /** Number of the room's last post. */
  readonly roomSeq: number
  /** When a post not far before the one of the question was posted, ms since 1970; 0 where that is not known. */
  readonly postedAtMs: number
}

/** Asks whether the room has had a post of this id before. Answered by `RequestKnown`. */
export interface AskPost {
  readonly type: 'askPost'
  readonly roomId: string
  readonly partition: number
  /** Where the answer goes. */
  readonly nodeId: string
  readonly askId: number
  readonly messageId: string
  /** Digest of its service and payload. */
  readonly content: number
  /** As in `AskRoomInfo`. */
  readonly asOf: bigint
}

/** A signal for all members: the owner knows which nodes have some. */
export interface SignalRoom {
  readonly type: 'signalRoom'
  readonly roomId: string
  readonly partition: number
  readonly service: string
  readonly payload: Uint8Array
}

/** From any node to one that has members of a room: which are they? Answered by `MembersKnown`. */
export interface AskMembers {
  readonly type: 'askMembers'
  readonly nodeId: string
  /** Where the answer goes. */
  readonly askNodeId: string
  readonly askId: number
  readonly roomId: string
  /** Connection id after which to begin, in the order of connection ids; empty for all. */
  readonly after: string
  /** How many at most. */
  readonly limit: number
}

export interface MembersKnown {
  readonly type: 'membersKnown'
  readonly nodeId: string
  readonly askId: number
  /** In the order of their connection ids. */
  readonly members: readonly RoomMember[]
  /** How many there are on the node, these among them. */
  readonly total: number
}

export interface RoomMember {
  /** The user's key. */
  readonly userId: string
  readonly deviceId: string
  readonly connectionId: string
}
