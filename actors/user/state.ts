import type { LoginPolicy } from '../../schemas/facts.js'
import type { PartId } from '../snapshots.js'
import type { Bans } from './bans.js'
import type { CloseConnection } from './effects.js'
import type { Memberships } from './memberships.js'
import { Messages, type OutboxMessage } from './messages.js'
import type { SavedNumbers } from './rebuilt.js'
import { Requests } from '../requests.js'

/**
 * Everything that the ledger's entries up to `offset` say about one user. Only the fold changes it, and it marks what
 * it changes: the next save writes that alone (parts.ts).
 */
export interface UserState {
  /** Highest ledger block that is folded in; -1n for none. An entry at or below it is skipped. */
  offset: bigint
  /** Number of the last accepted uplink, over all devices. */
  userSeq: number
  /** By device. At most `sessionsMax`. */
  sessions: Map<string, Session>
  /** The latest connections, open and closed, oldest first. At most `connectionsMax`; closed ones go first. */
  connections: Map<string, Connection>
  /** The latest requests, by which repeats are known. */
  requests: Requests
  /** The downlinks of all outboxes and of the waiting list. */
  readonly messages: Messages
  /** Downlinks requested while the user had no session at all. At most `outboxMax`. */
  waiting: OutboxMessage[]
  /** Of all their fields. */
  waitingBytes: number
  /** By device: what was lost with its session. The one forgotten longest ago comes first; at most `forgottenMax`. */
  forgotten: Map<string, Forgotten>
  forgottenChanged: boolean
  /** What keeps the user out. At most `bansMax`. */
  readonly bans: Bans
  bansChanged: boolean
  /** Rooms that business has the user in. At most `membershipsMax`. */
  readonly memberships: Memberships
  /** How often they have changed. */
  membershipsVersion: number
  membershipsChanged: boolean
  /** Counts sessions ever begun, so that a late report can't touch a later session of the same device. */
  sessionsBegun: number
  /** Counts connections ever remembered. */
  connectionsBegun: number
  /** Records of the streams `presence`, `receipts` and `offline` so far. */
  presenceSeq: number
  receiptSeq: number
  offlineSeq: number
  /** Saved parts that nothing names any more. */
  readonly gone: PartId[]
  /** The saved state that this one was rebuilt from, until changes are given: a later one may be saved already. */
  rebuiltFrom: SavedNumbers | undefined
}

/** The part of a session, of a connection, of the forgotten sessions, of the bans and of the rooms in a saved state. */
export const sessionPart = (ordinal: number): PartId => `s${ordinal}`
export const connectionPart = (ordinal: number): PartId => `c${ordinal}`
export const forgottenPart: PartId = 'f0'
export const bansPart: PartId = 'b0'
export const membershipsPart: PartId = 'o0'

/** One device's stay over time, which outlives its connections. */
export interface Session {
  readonly deviceId: string
  /** Which of the user's sessions ever begun this is. */
  readonly ordinal: number
  platform: string
  sessionId: string
  /** The connection that downlinks go to; empty while the device is offline. */
  connectionId: string
  /** When the connection that had it last opened, or closed, ms since 1970. */
  touchedAtMs: number

  /** Highest accepted uplink seq of `sessionId`. */
  uplinkSeq: number
  /** The `userSeq` given to each of the last accepted uplinks, ending at `uplinkSeq`. At most `answersMax`. */
  answers: number[]
  /** At least the `uplinkWindow` that the client was told. */
  answersMax: number

  /** What the next downlink gets. Those in the outbox that have a number are `nextSeq - numbered` to `nextSeq - 1`. */
  nextSeq: number
  ackedSeq: number
  /** Up to here the client knows of downlinks that are gone for good. */
  toldSeq: number
  /** Gone for good before they got a number, and not announced yet. */
  missed: number
  /** Oldest first; the first `numbered` of them have a seq, the others get theirs when a connection opens. */
  outbox: OutboxMessage[]
  numbered: number
  /** Of all fields of what is in the outbox. */
  outboxBytes: number

  /** The stream `presence` says that the device is online. */
  toldOnline: boolean

  /** Whether, since it was saved, something other than the outbox has changed; and whether the outbox has. */
  changed: boolean
  outboxChanged: boolean
  /** Its part is saved, or on its way. */
  saved: boolean
}

/** What is left of a session that was forgotten with downlinks in it, so that its device can be told. */
export interface Forgotten {
  /** Time of the entry that made it be forgotten, ms since 1970. */
  readonly atMs: number
  /** Up to here the client knew of every number: it had processed it, or was told that it is gone. */
  readonly knownSeq: number
  /** Highest downlink seq that was ever given. */
  readonly lastSeq: number
  /** Lost with it and without a number. */
  readonly unnumbered: number
}

export interface Connection {
  /** Which of the user's connections ever remembered this is. */
  readonly ordinal: number
  readonly nodeId: string
  readonly deviceId: string
  readonly sessionId: string
  readonly sessionOrdinal: number
  /** Its `connected` said that the session went on; false where it began with this connection. */
  readonly resumed: boolean
  /** What its `connected` announced and the client has not confirmed: downlinks missed that never got a number. */
  missed: number
  /** Where its `connected` said that the server goes on after. */
  readonly downlinkSeq: number
  /** From its opening on no uplink of an older connection of the session is accepted. */
  readonly takesOver: boolean
  /** `jti` of the token that its client showed last; empty for none. */
  tokenId: string
  /** Which one of the connection's tokens that is; 0 for the one that it opened with. */
  renewals: number
  open: boolean
  /**
   * The code and reason with which it is being closed, for an edge that has not heard of it. Empty before that, and
   * once it is closed; only the code `protocol` stays, of a connection that never had its session.
   */
  endCode: CloseConnection['code'] | ''
  endReason: string
  /** Id of the API key that asked for that; empty where none did. */
  endBy: string

  /** Since it was saved. */
  changed: boolean
  /** Its part is saved, or on its way. */
  saved: boolean
}

/** Bounds of one user's state; what happens on reaching each is in docs/limits.md. */
export const outboxMax = 1000
/** All downlinks of a user may have so many times the bytes of one outbox, each counted once. */
export const outboxesFactor = 4
export const sessionsMax = 64
export const forgottenMax = 128
/** Above `sessionsMax`, so that there is always one which no session uses. */
export const connectionsMax = 128
export const uplinkWindowMax = 4096

export function newUser (): UserState {
  const gone: PartId[] = []
  return {
    offset: -1n,
    userSeq: 0,
    sessions: new Map(),
    connections: new Map(),
    requests: new Requests(gone),
    messages: new Messages(gone),
    waiting: [],
    waitingBytes: 0,
    forgotten: new Map(),
    forgottenChanged: false,
    bans: new Map(),
    bansChanged: false,
    memberships: new Map(),
    membershipsVersion: 0,
    membershipsChanged: false,
    sessionsBegun: 0,
    connectionsBegun: 0,
    presenceSeq: 0,
    receiptSeq: 0,
    offlineSeq: 0,
    gone,
    rebuiltFrom: undefined,
  }
}

/** Seq of the first downlink in the outbox that has one, or the one that the next downlink gets. */
export function headSeq (session: Session): number {
  return session.nextSeq - session.numbered
}

/**
 * Downlinks of this session that are gone for good without an ack and that the client was not told of. Numbered ones
 * are dropped oldest first only, so those are exactly the numbers between the last ack and the head of the outbox.
 */
export function missedOf (session: Session): number {
  return session.missed + Math.max(0, headSeq(session) - 1 - Math.max(session.ackedSeq, session.toldSeq))
}

/** True where an older connection must end because a new one opens under `policy`: the same device's always. */
export function endsUnder (
  policy: LoginPolicy, older: Session, newer: { deviceId: string, platform: string }
): boolean {
  // Both would share one sequence space, and one's uplinks would be acked as repeats of the other's.
  if (policy === 'user' || older.deviceId === newer.deviceId) return true
  return policy === 'platform' && older.platform === newer.platform
}
