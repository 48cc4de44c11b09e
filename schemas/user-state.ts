import { loadSchema } from './avsc-files.js'
import { PartCodec } from './part-codec.js'
import type { RoomRight } from './room-rights.js'

/*
  The parts of a user's saved state that are Avro records (`user-state/`), each behind a single-object header of its
  own, and whole states as earlier versions wrote them (`history/user-state-<n>.avsc`).
*/

/** What names the other parts. Runs of numbers: see `writeRuns` of actors/user/parts.ts. */
export interface StoredHead {
  offset: number
  userSeq: number
  sessionsBegun: number
  connectionsBegun: number
  messagesBegun: number
  requestsFirst: number
  requestsEnd: number
  sessions: StoredSessionOutbox[]
  connections: number[]
  messages: number[]
  waiting: number[]
  forgotten: boolean
  bans: boolean
  memberships: boolean
  presenceSeq: number
  receiptSeq: number
  offlineSeq: number
  acked: number[]
  handedOver: number[]
}

export interface StoredSessionOutbox {
  ordinal: number
  inSession: boolean
  outbox: number[]
}

interface SessionFields {
  deviceId: string
  ordinal: number
  platform: string
  sessionId: string
  connectionId: string
  touchedAtMs: number
  uplinkSeq: number
  answers: number[]
  answersMax: number
  nextSeq: number
  ackedSeq: number
  toldSeq: number
  missed: number
  numbered: number
}

export interface StoredSession extends SessionFields { outbox: number[], toldOnline: boolean }

export interface StoredConnection {
  connectionId: string
  nodeId: string
  deviceId: string
  sessionId: string
  sessionOrdinal: number
  missed: number
  downlinkSeq: number
  open: boolean
  resumed: boolean
  takesOver: boolean
  tokenId: string
  renewals: number
  endCode: string
  endReason: string
  endBy: string
}

interface DownlinkFields {
  readonly messageId: string
  readonly service: string
  readonly requestedAtMs: number
  readonly expiresAtMs: number
  readonly platforms: readonly string[]
  readonly exceptDevices: readonly string[]
  readonly devices: readonly string[]
}

export interface StoredMessage extends DownlinkFields {
  readonly payloadBytes: number
  /** Empty where the payload is a part of its own. */
  readonly payload: Uint8Array
  readonly receipts: boolean
}

export interface StoredForgotten {
  deviceId: string
  atMs: number
  knownSeq: number
  lastSeq: number
  unnumbered: number
}

export interface StoredBan {
  banId: string
  deviceId: string
  tokenId: string
  untilMs: number
  reason: string
  bannedAtMs: number
  by: string
}

export interface StoredMembership {
  roomId: string
  rights: RoomRight
  grantedAtMs: number
}

/** A whole state, as the versions before wrote it. */
export interface WholeState {
  offset: number
  userSeq: number
  sessionsBegun: number
  sessions: WholeSession[]
  connections: Array<Omit<StoredConnection, 'takesOver' | 'tokenId' | 'renewals' | 'endCode' | 'endReason' | 'endBy'>>
  /** Ids as the first version remembered them; empty since there is `remembered`. */
  requests: string[]
  remembered: Uint8Array
  waiting: WholeDownlink[]
  forgotten: StoredForgotten[]
}

export interface WholeSession extends SessionFields { outbox: WholeDownlink[] }

export interface WholeDownlink extends DownlinkFields { readonly payload: Uint8Array }

export const headCodec = new PartCodec<StoredHead>(loadSchema('user-state/head'))
export const sessionCodec = new PartCodec<StoredSession>(loadSchema('user-state/session'))
export const connectionCodec = new PartCodec<StoredConnection>(loadSchema('user-state/connection'))
export const messageCodec = new PartCodec<StoredMessage>(loadSchema('user-state/message'))
export const forgottenCodec = new PartCodec<{ sessions: StoredForgotten[] }>(loadSchema('user-state/forgotten'))
export const bansCodec = new PartCodec<{ bans: StoredBan[] }>(loadSchema('user-state/bans'))
export const membershipsCodec =
  new PartCodec<{ version: number, rooms: StoredMembership[] }>(loadSchema('user-state/memberships'))
/** Read only. */
export const wholeCodec: Pick<PartCodec<WholeState>, 'reads' | 'decode'> =
  new PartCodec<WholeState>(loadSchema('history/user-state-2'))
