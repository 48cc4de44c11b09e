import type { GatewayError } from '../../schemas/errors.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import type { ServerFrame } from '../../schemas/frames.js'
import type { SharedSignal } from '../links.js'
import type { Actor } from '../system.js'
import { DownlinkCursor } from './cursor.js'
import type { EdgeContext } from './edge-context.js'
import type { ConnectionEvent, Incoming } from './events.js'
import { silenceOf } from './heartbeat.js'
import { quietBytesMax } from './intake.js'
import { Lifetime } from './lifetime.js'
import type { Phase } from './phases.js'
import { FrameAllowance } from './rate.js'
import { hold, Reading } from './reading.js'
import type { ConnectionRooms } from './rooms.js'
import type { Sample } from './stopwatch.js'
import type { Tally } from './tally.js'
import type { TokenCheck } from './token.js'
import { UplinkWindow } from './window.js'
import type { SharedFrame, Wire } from './wire.js'

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

  /** It has little in memory, and in overload it sends little: nobody waits for it. */
  get isQuiet (): boolean { return this.reading.heldBytes <= quietBytesMax && !this.edge.work.isBusy(this) }

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
    this.edge.work.read(this, frames)
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
