import type { Transport } from './facts.js'

/**
 * Records of the public streams (design.md 2), as TypeScript sees them; `streams/*.avsc` is their Avro form, which has
 * the key of a user (apps.ts) as two fields, `app` and `userId`.
 */

/** Stream `uplinks`, keyed by `userId`: an uplink that was accepted. `(userId, userSeq)` is its identity. */
export interface UplinkAccepted {
  /** The user's key. */
  readonly userId: string
  /** Number over all of the user's devices, from 1 without gaps. */
  readonly userSeq: number
  readonly deviceId: string
  readonly platform: string
  readonly sessionId: string
  /** The device's own number. */
  readonly seq: number
  readonly connectionId: string
  readonly service: string
  readonly payload: Uint8Array
  readonly priority: number
  /** When it was received at the edge, ms since 1970. */
  readonly receivedAtMs: number
  /** The room, within the user's app, that it is a post in as well; empty for none. */
  readonly roomId: string
}

/** Stream `presence`, keyed by `userId`: a device came or went. `(userId, presenceSeq)` is its identity. */
export interface PresenceChanged {
  /** The user's key. */
  readonly userId: string
  /** Number within the user, from 1 without gaps. */
  readonly presenceSeq: number
  readonly deviceId: string
  readonly platform: string
  /** The one that it came with, or whose end it went with. */
  readonly connectionId: string
  /** What the device is from now on. */
  readonly change: 'online' | 'offline'
  /** The user is so, too, from now on, and was not before. */
  readonly userChanged: boolean
  /** `connected`, or the code that the connection ended with. */
  readonly cause: string
  /** When the connection opened or ended, ms since 1970. */
  readonly atMs: number
}

/**
 * Stream `receipts`, keyed by `userId`: how a durable downlink ended on one device. `(userId, receiptSeq)` is its
 * identity.
 */
export interface DownlinkSettled {
  /** The user's key. */
  readonly userId: string
  /** Number within the user, from 1 without gaps. */
  readonly receiptSeq: number
  readonly messageId: string
  readonly service: string
  /** Empty where it was for no device that the user had. */
  readonly deviceId: string
  /** The downlink's number on the device; 0 where it never got one. */
  readonly seq: number
  /** `acked`, `skipped`, `expired`, `dropped`; others may come. */
  readonly outcome: string
  /** A code of errors.ts; empty where it was acked. */
  readonly reason: string
  readonly requestedAtMs: number
  readonly settledAtMs: number
}

/**
 * Stream `offline`, keyed by `userId`: a durable downlink that no device has acked in time; or that this is over, for
 * one has acked it after all. `(userId, offlineSeq)` is its identity.
 */
export interface DownlinkHandedOver {
  /** The user's key. */
  readonly userId: string
  /** Number within the user, from 1 without gaps. */
  readonly offlineSeq: number
  readonly change: 'due' | 'withdrawn'
  readonly messageId: string
  readonly service: string
  /** Empty where it is withdrawn. */
  readonly payload: Uint8Array
  /** Whom it waits for, or who acked it; empty where the user had no device yet. */
  readonly deviceIds: readonly string[]
  /** How it ended where it is withdrawn; else empty. */
  readonly reason: string
  readonly requestedAtMs: number
  /** It waits no longer than that. */
  readonly expiresAtMs: number
  /** When it was handed over, or withdrawn. */
  readonly atMs: number
}

/** Stream `posts`, keyed by `roomId`: what was posted in a room. `(roomId, roomSeq)` is its identity. */
export interface Posted {
  /** The room's key. */
  readonly roomId: string
  /** Number within the room, from 1 without gaps. */
  readonly roomSeq: number
  /** Given by whoever posted; of an uplink `userId/userSeq`. */
  readonly messageId: string
  /** User id within the app of who posted; empty for a business service. */
  readonly from: string
  readonly service: string
  readonly payload: Uint8Array
  /** Time of the entry, ms since 1970. */
  readonly postedAtMs: number
}

/** A request to send to users, from a business service. */
export interface DownlinkCommand {
  readonly messageId: string
  /** Within the app. */
  readonly userIds: readonly string[]
  readonly service: string
  readonly payload: Uint8Array
  readonly ttlMs: number
  readonly delivery: 'durable' | 'signal'
  readonly platforms: readonly string[]
  readonly exceptDevices: readonly string[]
  /** Only sessions of these devices; empty for all. */
  readonly devices: readonly string[]
  /** Empty for the default one. */
  readonly app: string
  /** The stream `receipts` tells how it ends, where it is written. */
  readonly receipts: boolean
  /** After which it goes to the stream `offline` where no device has acked it; 0 for never, -1 as configured. */
  readonly offlineAfterMs: number
  /** Id of an earlier one that each user's devices need not get any more; empty for none. */
  readonly replaces: string
  /** W3C trace context of whoever asks, from a header of HTTP or Kafka; it is no field of the record. */
  readonly traceparent?: string
}

/**
 * Stream `downlinks`, keyed by the first user id, or by the room: a request to send to users, or to post in a room.
 * One that names a room names no users, and none of their platforms or devices.
 */
export interface DownlinkRecord extends DownlinkCommand {
  /** Within the app; empty for a request to users. */
  readonly roomId: string
}

/** Stream `downlinks.rejected`, keyed by `userId`: a record of `downlinks` that will never be sent. */
export interface DownlinkRejected {
  /** Key of the first user that the command named, or empty where that could not be read. */
  readonly userId: string
  /** The command as it was stored, decodable or not. */
  readonly command: Uint8Array
  /** A code of `errors.ts`. */
  readonly code: string
  readonly reason: string
  readonly rejectedAtMs: number
}

/** Stream `undelivered`, keyed by `key`: a record of another stream that a webhook gave up. */
export interface Undelivered {
  readonly webhook: string
  /** Name of the stream that the record is of. */
  readonly stream: string
  /** The record's own key in that stream: of a user, a room or a node. */
  readonly key: string
  /** What the record has as its id in requests. */
  readonly messageId: string
  /** The record as its stream's `encodeBlock` writes it, alone. */
  readonly record: Uint8Array
  /** HTTP status of the last answer; 0 where there was none. */
  readonly status: number
  readonly reason: string
  /** Requests that it was in, ms since 1970 of the first of them and of its end. */
  readonly attempts: number
  readonly firstAtMs: number
  readonly undeliveredAtMs: number
}

/**
 * Stream `connections`, keyed by `userId`: one connection that ended, with its whole story. A count of -1 is one that
 * nobody knows: where its node is gone `uplinks` counts what the ledger received, the seqs are what was reported to it
 * last, and the others are unknown. Earlier versions wrote zeros for all of them (`hasZerosForUnknown` of counts.ts).
 */
export interface ConnectionEnded {
  /** The user's key. */
  readonly userId: string
  readonly connectionId: string
  readonly deviceId: string
  readonly platform: string
  /** Name and version of the client program. */
  readonly client: string
  readonly sessionId: string
  readonly transport: Transport
  /** Remote IP address and port. */
  readonly address: string
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly openedAtMs: number
  readonly closedAtMs: number
  /** A code of `errors.ts`, or how the peer left. */
  readonly code: string
  readonly reason: string
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
  /** Shortest time from writing a downlink to its ack; -1 for none, or none that is known. */
  readonly roundTripMs: number
  /** The device's connection before this one; empty for none that is known. */
  readonly resumedFrom: string
  /** The device's connection after this one, where it had opened already when this one ended; empty otherwise. */
  readonly resumedTo: string
  /** As in `ConnectionClosed`. */
  readonly by: string
}
