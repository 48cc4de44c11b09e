import type { RoomRight } from './room-rights.js'

/**
 * The facts that the ledger holds about a user, past tense. `streams/ledger.avsc` is their Avro form.
 *
 * Every fact is idempotent in the fold: a block may stand in the ledger twice, the second time late.
 */
export type Fact =
  | ConnectionOpened
  | ConnectionClosed
  | UplinkReceived
  | DownlinkRequested
  | DeliveryReported
  | KickRequested
  | UplinksRefused
  | DownlinkRedelivered
  | DownlinkSkipped
  | UserBanned
  | BanLifted
  | TokenRenewed
  | RoomGranted
  | RoomRevoked
  | AbsenceEnded
  | HandOverDue | DownlinkRecalled

/** A device passed its handshake on an edge. */
export interface ConnectionOpened {
  readonly type: 'ConnectionOpened'
  /** Unique in the cluster; 16 characters of base64url, drawn by the edge. */
  readonly connectionId: string
  readonly nodeId: string
  /** New at every start of the node, increasing; ms since 1970 of the start. */
  readonly nodeEpoch: number
  readonly deviceId: string
  readonly platform: string
  /** Name and version of the client program. */
  readonly client: string
  /** Names the uplink sequence space (protocol.md 3, Connect). */
  readonly sessionId: string
  readonly transport: Transport
  /** Remote IP address and port. */
  readonly address: string
  /** Highest downlink seq that the device says it has processed. */
  readonly downlinkSeq: number
  /** The rules that its edge was configured with: a fold reads no configuration, so the fact carries them. */
  readonly loginPolicy: LoginPolicy
  readonly uplinkWindow: number
  /** The token's `jti`; empty where it has none that is an id. */
  readonly tokenId: string
  /** The stream `presence` tells of this device: a rule, too. */
  readonly presence: boolean
  /**
   * Behind it no uplink of an older connection of the session is accepted: the storage of the device may have gone back
   * since, and then the same number stands for something else. False where a version before this rule wrote it.
   */
  readonly takesOver: boolean
}

/**
 * Which older connections end when this one opens, besides the same device's, which always does (two would share one
 * sequence space): none; those of the same platform; or all others of the user. `device` and `none` say the same.
 */
export type LoginPolicy = 'device' | 'platform' | 'user' | 'none'

export type Transport = 'tcp' | 'ws'

/**
 * A connection ended, on whichever side. Its numbers are what its edge has counted; -1 is one that nobody knows.
 * Earlier versions wrote zeros where the edge was gone (`hasZerosForUnknown` of counts.ts).
 */
export interface ConnectionClosed {
  readonly type: 'ConnectionClosed'
  readonly connectionId: string
  /** A code of `errors.ts`, or how a peer left: `disconnected`, `connection-lost`, `node-lost`. */
  readonly code: string
  readonly reason: string
  /** The client said goodbye for good: its outbox is dropped and its numbers are forgotten. */
  readonly endSession: boolean
  /** The client certainly saw its `connected` frame, so the `missed` in it counts as announced. */
  readonly told: boolean
  /** Highest downlink seq written to the socket, and highest acked on it; 0 for none. */
  readonly writtenSeq: number
  readonly ackedSeq: number
  readonly framesIn: number
  readonly framesOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Uplinks acked on it, downlinks written to its socket, and downlinks acked on it. */
  readonly uplinks: number
  readonly downlinksWritten: number
  readonly downlinksAcked: number
  /** Shortest time from writing a downlink to its ack, which the application's handling is part of; -1 for none. */
  readonly roundTripMs: number
  /** The stream `presence` says that the device is offline once it has been away for so long: a rule, as configured. */
  readonly presenceGraceMs: number
  /** Id of the API key that asked for its end, by a kick or a ban; empty for one of the environment, and for nobody. */
  readonly by: string
}

/** A client's message reached an edge. Whether it is accepted, the fold says. */
export interface UplinkReceived {
  readonly type: 'UplinkReceived'
  readonly connectionId: string
  /** Number within the session's `sessionId`, from 1. */
  readonly seq: number
  /** Name of the business service that it is for; empty for the default one. */
  readonly service: string
  readonly payload: Uint8Array
  readonly priority: number
  /** The room, within the user's app, that it is a post in as well once it is accepted; empty for none. */
  readonly roomId: string
}

/** A business service asked for a durable downlink to this user; the entry's time is the time of the request. */
export interface DownlinkRequested {
  readonly type: 'DownlinkRequested'
  /** Idempotency key within the user. */
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
  /** How long it is kept for delivery, from the entry's time. */
  readonly ttlMs: number
  /** Only sessions of these platforms; empty for all. */
  readonly platforms: readonly string[]
  /** Not to sessions of these devices. */
  readonly exceptDevices: readonly string[]
  /** Only sessions of these devices; empty for all. */
  readonly devices: readonly string[]
  /** Bytes that an outbox may have, as the node was configured: a rule, as in `ConnectionOpened`. 0 is no bound. */
  readonly outboxBytesMax: number
  /** The stream `receipts` tells how it ends. */
  readonly receipts: boolean
  /** It goes to the stream `offline` where no device has acked it for so long; 0 for never. */
  readonly offlineAfterMs: number
  /** Id of the downlink that is taken back in its favour, as by `DownlinkRecalled`; empty for none. */
  readonly replaces: string
}

/** What a connection has written and its client acked, coalesced over many downlinks; both only grow. */
export interface DeliveryReported {
  readonly type: 'DeliveryReported'
  readonly connectionId: string
  readonly writtenSeq: number
  readonly ackedSeq: number
}

/** An operator or a business service wants connections of this user closed for good. */
export interface KickRequested {
  readonly type: 'KickRequested'
  /** Idempotency key within the user: a late repeat must not kick a newer connection. */
  readonly requestId: string
  /** One connection, or empty for all that are open. */
  readonly connectionId: string
  readonly reason: string
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
}

/** An edge refused uplinks before they reached the ledger. It changes no state; evidence reads it. */
export interface UplinksRefused {
  readonly type: 'UplinksRefused'
  readonly connectionId: string
  /** Nothing from here on was taken, and the highest seq that was refused. */
  readonly fromSeq: number
  readonly toSeq: number
  /** A code of `errors.ts`. */
  readonly code: string
  /** Frames refused for this reason since the last such fact. */
  readonly count: number
}

/** An operator wants a downlink sent to a device once more, under a new seq and its old `messageId`. */
export interface DownlinkRedelivered {
  readonly type: 'DownlinkRedelivered'
  /** Idempotency key within the user, together with `messageId`. */
  readonly requestId: string
  readonly deviceId: string
  /** What it was sent as before; 0 where it had no number. */
  readonly seq: number
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
  /** How long it is kept for delivery, from the entry's time. */
  readonly ttlMs: number
  /** As in `DownlinkRequested`. */
  readonly outboxBytesMax: number
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
  /** Why, in the operator's words; empty where none were given. */
  readonly reason: string
  /** As in `DownlinkRequested`. */
  readonly receipts: boolean
}

/** A client's application failed at a downlink as often as it may, and goes on without it. Acks what is before it. */
export interface DownlinkSkipped {
  readonly type: 'DownlinkSkipped'
  readonly connectionId: string
  readonly seq: number
  /** What the client says about it, for whoever reads the trace; at most `skipReasonBytesMax`. */
  readonly reason: string
}

/** An operator or a business service wants this user kept out, or one of his devices, or one of his tokens. */
export interface UserBanned {
  readonly type: 'UserBanned'
  /** Idempotency key within the user: a late repeat must not bring back what was lifted. */
  readonly banId: string
  /** This device alone, and tokens of this `jti` alone; empty for any. At most one of them is there. */
  readonly deviceId: string
  readonly tokenId: string
  /** When it ends by itself, ms since 1970; 0 for never. */
  readonly untilMs: number
  /** What the client is told. */
  readonly reason: string
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
}

/** An operator or a business service wants a ban ended. */
export interface BanLifted {
  readonly type: 'BanLifted'
  readonly banId: string
  /** For whoever reads the trace. */
  readonly reason: string
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
}

/** The client of an open connection has shown another token, which took the place of the one before. */
export interface TokenRenewed {
  readonly type: 'TokenRenewed'
  readonly connectionId: string
  /** Which one of the connection's it is, from 1: an older one may be told late. */
  readonly renewal: number
  /** As in `ConnectionOpened`. */
  readonly tokenId: string
}

/** Business wants the user to be in a room: his devices join it by themselves, whatever their tokens say. */
export interface RoomGranted {
  readonly type: 'RoomGranted'
  /** Within the user's app. */
  readonly roomId: string
  readonly rights: RoomRight
  /** Idempotency key within the user, of grants and ends alike: a late repeat must not undo what came since. */
  readonly requestId: string
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
}

/** Business wants the user out of a room that it had him in. */
export interface RoomRevoked {
  readonly type: 'RoomRevoked'
  readonly roomId: string
  /** As in `RoomGranted`. */
  readonly requestId: string
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
  /** For whoever reads the ledger. */
  readonly reason: string
}

/** A device has been away for as long as the end of its connection said. A node looks, for a fold has no clock. */
export interface AbsenceEnded {
  readonly type: 'AbsenceEnded'
  readonly deviceId: string
  /** Its last one, and how that one ended. */
  readonly connectionId: string
  readonly code: string
  /** Time of the entry that ended it, ms since 1970: it names the absence. */
  readonly sinceMs: number
}

/** No device has acked a downlink for as long as its request said. */
export interface HandOverDue {
  readonly type: 'HandOverDue'
  readonly messageId: string
  /** Time of the request's entry, ms since 1970. */
  readonly requestedAtMs: number
  /** Of the request: whoever folds this need not have it at hand. */
  readonly payload: Uint8Array
}

/** Business takes a downlink back, wherever it waits without a number. One that has a number may have been written. */
export interface DownlinkRecalled {
  readonly type: 'DownlinkRecalled'
  readonly messageId: string
  /** Idempotency key within the user and the message: a late repeat must not take out what was redelivered since. */
  readonly requestId: string
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
  /** For whoever reads the ledger. */
  readonly reason: string
  /** Id of the downlink that tells the devices which may have it (`recallService`); empty where none are told. */
  readonly noticeId: string
  /** Of that one, as in `DownlinkRequested`. */
  readonly noticeTtlMs: number
  readonly outboxBytesMax: number
  readonly receipts: boolean
}

/** One record of the ledger: whose, when, what. */
export interface Entry {
  /** The user's key: with the app that the user is of (apps.ts). */
  readonly userId: string
  /** Clock of the node that appended it, ms since 1970. The only time that a fold sees. */
  readonly atMs: number
  readonly fact: Fact
}
