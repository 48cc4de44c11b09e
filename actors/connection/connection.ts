import { randomFillSync } from 'node:crypto'
import type { ClientFrame, Frame } from '../../schemas/frames.js'
import type { Entry, Fact, LoginPolicy } from '../../schemas/facts.js'
import { GatewayError, type ErrorCode } from '../../schemas/errors.js'
import type { ConnectionMessage, Links } from '../links.js'
import type { Actor } from '../system.js'
import type { Flow } from './flow.js'
import { silenceOf } from './heartbeat.js'
import type { Intake } from './intake.js'
import type { Move } from './move.js'
import { hold, Reading } from './reading.js'
import type { Sample, Stopwatch } from './stopwatch.js'
import type { Tally } from './tally.js'
import type { TokenCheck, TokenRefusal } from './token.js'
import type { Wire } from './wire.js'

/** What all connection actors of an edge share. */
export interface EdgeContext {
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly limits: EdgeLimits
  /** What all of them have read and not dealt with. */
  readonly intake: Intake
  readonly flow: Flow
  readonly links: Links
  /** Coarse clock: units of `tickMs` since the process started. Small integers take no memory of their own. */
  ticks (): number
  /** @throws GatewayError with how long the client is to wait, where that is known */
  verify (token: string): Promise<Identity>
  partitionOf (userId: string): number
  /** @throws GatewayError `ledger-unavailable` nothing was written */
  append (partition: number, entries: readonly Entry[]): Promise<unknown>
  /** Appends the end of a connection, or what was refused at it, as soon as the ledger takes it. */
  appendLater (partition: number, entry: Entry): void
  /** Uplinks of a lower priority are refused with `overloaded`: -Infinity for none. */
  priorityMin (): number
  /** False where the node is full, busy or leaving: `connect` is answered with `redirect`. */
  admits (transport: string): boolean
  /** Alternatives for a client that is sent away. */
  alternates (transport: string): readonly string[]
  /** Looks for other edges where none is known. Resolves soon, whether there are any or not. */
  lookAround (transport: string): Promise<void>
  /** How long a client that is sent away waits at least. */
  sentAwayMs (): number
  opened (connection: Connection): void
  /** Its acks or writes, or uplinks that it refused, are to be reported soon. */
  reportSoon (connection: Connection): void
  /** Where the time of one uplink at a time goes. */
  readonly stopwatch: Stopwatch
  readonly count: EdgeCounters
  failed (what: string, error: Error, fields: object): void
}

export interface EdgeLimits {
  readonly heartbeatMs: number
  /** The longest silence that a client is given for saying that it means to be silent. */
  readonly silenceMaxMs: number
  readonly uplinkWindow: number
  readonly frameBytesMax: number
  /** Frames a second and burst of one connection; 0 for no limit. */
  readonly frameRate: number
  readonly frameBurst: number
  readonly loginPolicy: LoginPolicy
  readonly handshakeMs: number
  readonly writeQueueBytesMax: number
  /** Queue below which a connection that is behind asks for more downlinks. */
  readonly resumeBytesMax: number
  /** How long a closing socket may take to send what is queued. */
  readonly lingerMs: number
}

export interface Identity {
  readonly userId: string
  /** The token's `dev` claim. */
  readonly deviceId: string | undefined
  /** The token's `exp`, ms since 1970; Infinity for one that does not expire. */
  readonly expiresAtMs: number
  /** When the connection ends with it: clocks may differ by as much as lies between. */
  readonly endsAtMs: number
}

/** Counters for metrics, by the names of docs/operations.md. */
export interface EdgeCounters {
  uplinks: number
  uplinksRefused: number
  downlinks: number
  signals: number
  closed (code: string): void
}

/** Where a connection is in its life. Frames are handled from `opening` on, before that they wait. */
export type Phase = 'new' | 'verifying' | 'opening' | 'open' | 'closing' | 'closed'

/** What reaches a connection besides the frames of its client. */
export type ConnectionEvent =
  | ConnectionMessage
  | { readonly type: 'verified', readonly connect: ClientFrame & { op: 'connect' }, readonly identity: Identity }
  | { readonly type: 'sendAway' }
  | { readonly type: 'fail', readonly code: ErrorCode, readonly reason: string, readonly retryAfterMs?: number }
  | { readonly type: 'tokenVerified', readonly identity: Identity }
  | { readonly type: 'tokenRefused', readonly token: string, readonly refusal: TokenRefusal }
  | { readonly type: 'notStored', readonly entries: readonly Entry[], readonly error: Error }
  | { readonly type: 'stored', readonly entries: number }
  | { readonly type: 'socketClosed', readonly clean: boolean }
  | { readonly type: 'drained' }
  | Move
  /** It is to end as soon as what is under way is finished. */
  | { readonly type: 'leave' }

const none: never[] = []

/** Unit of the coarse clock. */
export const tickMs = 100

/** Later than any tick that a node reaches: what is due then never happens. */
export const never = 0x3fffffff

/**
 * One open socket and all that its actor knows. What arrives is put into `frames` and `events`; one message in the
 * actor's mailbox covers all that has collected by the time it is handled, so the mailbox itself holds at most one.
 */
export class Connection {
  phase: Phase = 'new'
  readonly wire: Wire
  readonly edge: EdgeContext
  actor!: Actor<typeof wake>
  woken = false
  frames: Frame[] = none
  events: ConnectionEvent[] = none
  /** What this turn adds to the ledger, in order; one append at its end. */
  entries: Entry[] = none
  /** What ended the reading: everything before it is handled first. */
  frameError: GatewayError | undefined = undefined

  connectionId = ''
  userId = ''
  deviceId = ''
  partition = 0
  /** When the token ends, ticks; far away for one that does not. */
  expiresAt = never
  /** When it is ended for not having gone where it was asked to, ticks; `leaving` while it is being ended (move.ts). */
  leavesAt = never

  readonly acceptedAt: number
  /** When the client was last heard of, and for how long it may be silent from then on, ticks. */
  heardAt: number
  silence: number
  /** When its opening or closing began, ticks. */
  phaseAt = 0

  /** Highest uplink seq given to the ledger and highest acked; the difference is the window in use. */
  forwardedSeq = 0
  ackedUplinkSeq = 0
  /** Entries given to the ledger and not durable yet. */
  unstored = 0
  readonly reading: Reading

  /** Downlinks: highest seq written, acked, known to exist, and last reported to the ledger. */
  writtenSeq = 0
  ackedSeq = 0
  knownSeq = 0
  reportedWrittenSeq = 0
  reportedAckedSeq = 0
  /** Since when an answer to a `Resync` is awaited, ticks; -1 for none. */
  resyncAt = -1
  /** Since when the sweep sees it wait for its user actor, ticks; -1 for not. */
  waitsSince = -1
  /** Its `connected` was written in an earlier turn, so that what comes now may be an answer to it. */
  greeted = false
  /** The client sent what it sends only when it has read its `connected`; uplinks may have been on their way before. */
  hasReadConnected = false
  /** While a token that it has sent since is verified. */
  tokenCheck: TokenCheck | undefined = undefined

  /** Frames that it may send now, may be negative; and when it was last topped up, ms of the process. */
  allowance: number
  allowanceAtMs = 0

  framesIn = 0
  framesOut = 0

  /** The uplink that is being timed. */
  sample: Sample | undefined = undefined

  /** What its end will tell; undefined until there is something. */
  tally: Tally | undefined = undefined

  constructor (wire: Wire, edge: EdgeContext, acceptedAt = edge.ticks()) {
    this.wire = wire
    this.edge = edge
    this.reading = new Reading(edge.intake, edge.flow)
    this.acceptedAt = acceptedAt
    this.heardAt = edge.ticks()
    this.silence = silenceOf(edge.limits, 0)
    this.allowance = edge.limits.frameBurst
  }

  /**
   * From the wire: the frames of one read, in order.
   *
   * @param bytes all that they keep in memory
   */
  received (frames: Frame[], bytes: number): void {
    this.reading.received(this, frames.length, bytes)
    this.frames = this.frames.length === 0 ? frames : this.frames.concat(frames)
    if (this.frames.length > this.edge.limits.uplinkWindow) this.hold()
    this.wakeUp()
  }

  /** The same for one frame. */
  receivedOne (frame: Frame, bytes: number): void {
    this.reading.received(this, 1, bytes)
    if (this.frames.length === 0) this.frames = [frame]
    else this.frames.push(frame)
    if (this.frames.length > this.edge.limits.uplinkWindow) this.hold()
    this.wakeUp()
  }

  /** From the wire: a frame that can't be read. Nothing behind it is. */
  receivedBadFrame (error: GatewayError): void {
    this.frameError ??= error
    this.hold()
    this.wakeUp()
  }

  tell (event: ConnectionEvent): void {
    if (this.events.length === 0) this.events = [event]
    else this.events.push(event)
    this.wakeUp()
  }

  takeFrames (): Frame[] {
    const { frames } = this
    this.frames = none
    return frames
  }

  takeEvents (): ConnectionEvent[] {
    const { events } = this
    this.events = none
    return events
  }

  takeEntries (): Entry[] {
    const { entries } = this
    this.entries = none
    return entries
  }

  /** Adds a fact to what this turn appends. */
  record (atMs: number, fact: Fact): void {
    const entry = { userId: this.userId, atMs, fact }
    if (this.entries.length === 0) this.entries = [entry]
    else this.entries.push(entry)
  }

  /** A frame came that a client sends when it has read its `connected`: what that said need not be said again. */
  answersConnected (): void {
    if (this.greeted) this.hasReadConnected = true
  }

  /** Until what it sent is dealt with. */
  hold (): void { this.reading.hold(this, hold.turn) }

  release (): void { this.reading.release(this, hold.turn) }

  wakeUp (): void {
    if (this.woken) return
    this.woken = true
    this.actor.tell(wake)
  }
}

/** The only message in a connection actor's mailbox: look at `frames` and `events`. */
export const wake = { type: 'wake' } as const

const idBytes = Buffer.allocUnsafe(12 * 256)
let idsLeft = 0

/** 96 random bits, base64url: 16 characters. */
export function newConnectionId (): string {
  if (idsLeft === 0) {
    randomFillSync(idBytes)
    idsLeft = 256
  }
  const at = 12 * --idsLeft
  return idBytes.toString('base64url', at, at + 12)
}
