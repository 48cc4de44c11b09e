import { randomFillSync } from 'node:crypto'
import type { ClientFrame, Frame, ServerFrame } from '../../schemas/frames.js'
import type { Entry, Fact, LoginPolicy } from '../../schemas/facts.js'
import { GatewayError, type ErrorCode } from '../../schemas/errors.js'
import type { RoomPatterns } from '../../schemas/room-rights.js'
import type { EdgeRooms } from '../edge-rooms/edge-rooms.js'
import type { ConnectionMessage, Links, SharedSignal } from '../links.js'
import type { Actor } from '../system.js'
import type { WaitProbe } from '../wait-probe.js'
import { DownlinkCursor } from './cursor.js'
import type { Flow } from './flow.js'
import { silenceOf } from './heartbeat.js'
import type { Intake } from './intake.js'
import { Lifetime } from './lifetime.js'
import type { Move } from './move.js'
import type { Phase } from './phases.js'
import { FrameAllowance } from './rate.js'
import { hold, Reading } from './reading.js'
import type { ConnectionRooms } from './rooms.js'
import type { Sample, Stopwatch } from './stopwatch.js'
import type { Tally } from './tally.js'
import type { TokenCheck, TokenRefusal } from './token.js'
import type { EdgeTracer } from './tracer.js'
import { UplinkWindow } from './window.js'
import type { SharedFrame, Wire } from './wire.js'

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
  verify (token: string, bearer: TokenBearer): Promise<Identity>
  partitionOf (userId: string): number
  /**
   * @param entries of one user
   * @throws GatewayError `ledger-unavailable` nothing was written
   */
  append (partition: number, entries: readonly Entry[]): Promise<unknown>
  /** Appends the end of a connection, or what was refused at it, as soon as the ledger takes it. */
  appendLater (partition: number, entry: Entry): void
  /** How long frames wait for the turn of their connection. */
  readonly reads: WaitProbe
  /**
   * An uplink came.
   *
   * @param heldBytes what its connection has in memory
   * @returns false where the node bears none of this priority, or of this user, just now
   */
  bears (userId: string, priority: number, heldBytes: number): boolean
  /** Why no user actor can answer just now, in words; empty where one may. */
  usersAway (): string
  /**
   * False where the node is full, busy or leaving: `connect` is answered with `redirect`.
   *
   * @param userId undefined before it is known
   */
  admits (transport: string, userId: string | undefined): boolean
  /** Alternatives for a client that is sent away. */
  alternates (transport: string): readonly string[]
  /** Looks for other edges where none is known. Resolves soon, whether there are any or not. */
  lookAround (transport: string): Promise<void>
  /** How long a client that is sent away waits at least. */
  sentAwayMs (): number
  /** Where there are apps with rules of their own. */
  readonly apps?: AppsOfEdge | undefined
  readonly rooms: EdgeRooms
  opened (connection: Connection): void
  /** Its acks or writes, or uplinks that it refused, are to be reported soon. */
  reportSoon (connection: Connection): void
  /** Where the time of one uplink at a time goes. */
  readonly stopwatch: Stopwatch
  /** Undefined where nothing is traced. */
  readonly tracer?: EdgeTracer | undefined
  readonly count: EdgeCounters
  failed (what: string, error: Error, fields: object): void
}

/** What an edge does otherwise for users of some apps. */
export interface AppsOfEdge {
  /** Undefined where the user's app has none of its own. */
  loginPolicyOf (userKey: string): LoginPolicy | undefined
  /** @returns false where the user's app has all the connections that it may have here */
  join (connection: Connection, userKey: string): boolean
  /** Its socket is gone; it may be one that never joined. */
  left (connection: Connection): void
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
  /** Bytes a second that a frame which has begun must bring; 0 for none. */
  readonly byteRateMin: number
  readonly loginPolicy: LoginPolicy
  /** The stream `presence` is written. */
  readonly presence: boolean
  /** How long a device may be away before that says so. */
  readonly presenceGraceMs: number
  readonly handshakeMs: number
  readonly writeQueueBytesMax: number
  /** Queue below which a connection that is behind asks for more downlinks. */
  readonly resumeBytesMax: number
  /** How long a closing socket may take to send what is queued. */
  readonly lingerMs: number
}

/** Who shows a token, as he says himself, and from where. */
export interface TokenBearer {
  /** The token came with `connect`, or later on the open connection. */
  readonly frame: 'connect' | 'token'
  readonly deviceId: string
  readonly platform: string
  /** Empty with `token`. */
  readonly client: string
  /** Remote IP address and port. */
  readonly address: string
}

export interface Identity {
  /** The user's key: with the app whose issuer vouches for him. */
  readonly userId: string
  /** The token's `dev` claim. */
  readonly deviceId: string | undefined
  /** The token's `jti`; empty where it has none that is an id. */
  readonly tokenId: string
  /** What the token's `rooms` claim allows. */
  readonly rooms: RoomPatterns
  /** The token's `exp`, ms since 1970; Infinity for one that does not expire. */
  readonly expiresAtMs: number
  /** When the connection ends with it: clocks may differ by as much as lies between. */
  readonly endsAtMs: number
  /** A service of business said so: the token itself need not, and its client is told when it expires. */
  readonly isAsked?: boolean
}

/** Counters for metrics, by the names of docs/operations.md. */
export interface EdgeCounters {
  uplinks: number
  downlinks: number
  signals: number
  /** Posts written to members of rooms. */
  posts: number
  /** Signals that were written for broadcasts, and connections left out because their clients did not read. */
  broadcastsSent: number
  broadcastsSlow: number
  /** Connections that were ended for a frame that came too slowly. */
  slowFrames: number
  /** Some downlinks are timed: from their request to their write, and from there to their ack. */
  downlinkDelivered (ms: number): void
  downlinkAcked (ms: number): void
  /** A client was told that uplinks of it were refused. */
  refused (code: string): void
  closed (code: string): void
}

/** What its client sends. Nothing is read behind a frame that can't be read. */
export type Incoming = Frame | { readonly op: 'unreadable', readonly error: GatewayError }

/** What reaches a connection besides the frames of its client; phases.ts says when it is heeded. */
export type ConnectionEvent =
  | ConnectionMessage
  | { readonly type: 'verified', readonly connect: ClientFrame & { op: 'connect' }, readonly identity: Identity }
  | { readonly type: 'sendAway' }
  | { readonly type: 'fail', readonly code: ErrorCode, readonly reason: string, readonly retryAfterMs?: number }
  | { readonly type: 'tokenVerified', readonly identity: Identity }
  | { readonly type: 'tokenRefused', readonly token: string, readonly refusal: TokenRefusal }
  /** The token that was being verified is to be tried again. */
  | { readonly type: 'tokenDue', readonly token: string }
  | { readonly type: 'notOpened' }
  | { readonly type: 'notStored', readonly entries: readonly Entry[], readonly error: Error }
  | { readonly type: 'stored', readonly entries: number }
  | { readonly type: 'socketClosed', readonly clean: boolean }
  | { readonly type: 'drained' }
  | Move
  /** It is to end as soon as what is under way is finished. */
  | { readonly type: 'leave' }
  /** It was asked to go, or is being ended for not having gone, and may stay. */
  | { readonly type: 'stay' }

const none: never[] = []

/**
 * One open socket and all that its actor knows. What arrives is collected as frames and events; one message in the
 * actor's mailbox covers all that has collected by the time it is handled, so the mailbox itself holds at most one.
 *
 * What has rules is in parts, each of which alone writes its fields. Their numbers are small integers: another number
 * takes memory of its own.
 */
export class Connection {
  readonly wire: Wire
  readonly edge: EdgeContext
  actor!: Actor<typeof wake>
  #woken = false
  #frames: Incoming[] = none
  #events: ConnectionEvent[] = none
  /** What this turn adds to the ledger, in order; one append at its end. */
  #entries: Entry[] = none

  connectionId = ''
  /** The user's key. */
  userId = ''
  deviceId = ''
  platform = ''
  /** Of the token that counts, and how many of another id it took the place of. */
  tokenId = ''
  tokenRenewals = 0
  /** When the token expires that it opened with, where its client is to be told; Infinity where not, or never. */
  untoldExpiryMs = Infinity
  partition = 0

  readonly life: Lifetime
  readonly reading: Reading
  readonly allowance: FrameAllowance
  readonly window = new UplinkWindow()
  readonly cursor = new DownlinkCursor()
  /** While a token that it has sent since is verified. */
  tokenCheck: TokenCheck | undefined = undefined
  /** The uplink that is being timed. */
  sample: Sample | undefined = undefined
  /** Its rooms and rights to some; undefined until there are any. */
  rooms: ConnectionRooms | undefined = undefined
  /** What its end will tell; undefined until there is something. */
  tally: Tally | undefined = undefined

  #framesIn = 0
  #framesOut = 0

  constructor (wire: Wire, edge: EdgeContext, acceptedAt = edge.ticks()) {
    this.wire = wire
    this.edge = edge
    this.life = new Lifetime(acceptedAt, edge.ticks(), silenceOf(edge.limits, 0))
    this.reading = new Reading(edge.flow.rates.byteBurst)
    this.allowance = new FrameAllowance(edge.limits)
  }

  get phase (): Phase { return this.life.phase }
  get acceptedAt (): number { return this.life.acceptedAt }

  get framesIn (): number { return this.#framesIn }
  get framesOut (): number { return this.#framesOut }

  /** Frames and events wait for the turn that handles them. */
  get hasFrames (): boolean { return this.#frames.length > 0 }
  get hasEvents (): boolean { return this.#events.length > 0 }
  get hasEntries (): boolean { return this.#entries.length > 0 }

  /**
   * From the wire: the frames of one read, in order.
   *
   * @param bytes all that they keep in memory
   */
  received (frames: Incoming[], bytes: number): void {
    this.reading.received(this, frames.length, bytes)
    this.#frames = this.#frames.length === 0 ? frames : this.#frames.concat(frames)
    if (this.#frames.length > this.edge.limits.uplinkWindow) this.hold()
    this.wakeUp()
    this.edge.reads.given(frames.length)
  }

  /** From the wire: a frame that can't be read. Nothing behind it is. */
  receivedBadFrame (error: GatewayError): void {
    this.#frames = [...this.#frames, { op: 'unreadable', error }]
    this.hold()
    this.wakeUp()
  }

  tell (event: ConnectionEvent): void {
    if (this.#events.length === 0) this.#events = [event]
    else this.#events.push(event)
    this.wakeUp()
  }

  /** A turn begins. */
  wokeUp (): void { this.#woken = false }

  takeFrames (): Incoming[] {
    const frames = this.#frames
    this.#frames = none
    return frames
  }

  /** Those from the one at `index` on wait for a later turn. */
  putBack (frames: Incoming[], index: number): void {
    this.#frames = index === 0 ? frames : frames.slice(index)
  }

  takeEvents (): ConnectionEvent[] {
    const events = this.#events
    this.#events = none
    return events
  }

  takeEntries (): Entry[] {
    const entries = this.#entries
    this.#entries = none
    return entries
  }

  /** Adds a fact to what this turn appends. */
  record (atMs: number, fact: Fact): void {
    const entry = { userId: this.userId, atMs, fact }
    if (this.#entries.length === 0) this.#entries = [entry]
    else this.#entries.push(entry)
  }

  countFrame (): void { this.#framesIn++ }

  write (frame: ServerFrame): void {
    this.wire.write(frame)
    this.#framesOut++
  }

  writeSignal (signal: SharedSignal): void {
    this.wire.writeSignal(signal)
    this.#framesOut++
  }

  writeShared (shared: SharedFrame): void {
    this.wire.writeShared(shared)
    this.#framesOut++
  }

  /** Until what it sent is dealt with. */
  hold (): void { this.reading.hold(this, hold.turn) }

  release (): void { this.reading.release(this, hold.turn) }

  wakeUp (): void {
    if (this.#woken) return
    this.#woken = true
    this.actor.tell(wake)
  }
}

/** The only message in a connection actor's mailbox: look at frames and events. */
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
