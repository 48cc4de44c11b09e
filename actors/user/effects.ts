import type { Entry, UplinkReceived } from '../../schemas/facts.js'
import type {
  DownlinkHandedOver, DownlinkSettled, PresenceChanged, UplinkAccepted,
} from '../../schemas/records.js'

/**
 * What must be done because of an entry. `settle` changes nothing outside: it records how a downlink or its request
 * ended, for metrics, trace and audit.
 */
export type Effect =
  | Welcome | AckUplink | RefuseUplink | Deliver | TellMemberships | CloseConnection | PublishUplink | Publish
  | Post | DownlinkOutcome

/** To an edge: answer `connect`. The user's rooms follow, and the downlinks after `downlinkSeq`, up to `lastSeq`. */
export interface Welcome {
  readonly type: 'welcome'
  readonly nodeId: string
  readonly connectionId: string
  readonly resumed: boolean
  readonly uplinkSeq: number
  readonly downlinkSeq: number
  readonly lastSeq: number
  readonly missed: number
}

/** To an edge: accepted up to `seq`; `userSeq` is that one's number, 0 where it is not remembered. */
export interface AckUplink {
  readonly type: 'ackUplink'
  readonly nodeId: string
  readonly connectionId: string
  readonly seq: number
  readonly userSeq: number
}

/** To an edge: nothing from `expectedSeq` on was accepted. */
export interface RefuseUplink {
  readonly type: 'refuseUplink'
  readonly nodeId: string
  readonly connectionId: string
  readonly expectedSeq: number
  readonly code: 'gap'
}

/** To an edge: write this downlink, if it is the next one. */
export interface Deliver {
  readonly type: 'deliver'
  readonly nodeId: string
  readonly connectionId: string
  readonly seq: number
  readonly downlink: Downlink
}

/** What an edge writes of a downlink. */
export interface Downlink {
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
  readonly requestedAtMs: number
}

/** To an edge: in which rooms business has the user, as they are when it is told. */
export interface TellMemberships {
  readonly type: 'tellMemberships'
  readonly nodeId: string
  readonly connectionId: string
}

/** To an edge: end this connection with this code. */
export interface CloseConnection {
  readonly type: 'closeConnection'
  readonly nodeId: string
  readonly connectionId: string
  readonly code: 'superseded' | 'kicked' | 'banned' | 'protocol' | 'internal'
  readonly reason: string
  /** Id of the API key that asked for it; empty for one of the environment, and where nobody asked. */
  readonly by: string
  /** What ends it may turn out to be nothing: it is told a moment later, unless the ledger has said so by then. */
  readonly isDoubtful?: boolean
}

/** To the `uplinks` stream. */
export interface PublishUplink {
  readonly type: 'publishUplink'
  readonly uplink: UplinkAccepted
}

/** To a stream that tells business services of the user. */
export type Publish =
  | { readonly type: 'publish', readonly stream: 'presence', readonly record: PresenceChanged }
  | { readonly type: 'publish', readonly stream: 'receipts', readonly record: DownlinkSettled }
  | { readonly type: 'publish', readonly stream: 'offline', readonly record: DownlinkHandedOver }

/** To the stream `rooms`: an accepted uplink that names a room. */
export interface Post {
  readonly type: 'post'
  /** Of the uplink, which is a post in `fact.roomId`. */
  readonly entry: Entry
  readonly fact: UplinkReceived
  readonly userSeq: number
}

/** `duplicate` is of a request whose id was had before, and has no receipt. */
export const downlinkOutcomes = ['acked', 'skipped', 'expired', 'dropped', 'duplicate'] as const

/** How a downlink ended on one device, or its request before it had one. */
export interface DownlinkOutcome {
  readonly type: 'settle'
  readonly messageId: string
  /** Empty where it never had a session. */
  readonly deviceId: string
  /** 0 where it never got a number. */
  readonly seq: number
  readonly outcome: typeof downlinkOutcomes[number]
  /** A code of errors.ts; empty where it was acked. A request whose id was taken for something else: `conflict`. */
  readonly reason: string
}
