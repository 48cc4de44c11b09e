import type { Connection } from './connection.js'
import type { UserFlow } from './flow.js'
import { tickMs } from './lifetime.js'
import type { WorkSecond } from './work.js'

/** Why a socket is not read. It is read again once no reason is left. */
export const hold = {
  /** What it sent has to be dealt with first: its token, its window, its end. */
  turn: 1,
  /** The node has read more than it has dealt with. */
  room: 2,
  /** It sends more bytes a second than it may. */
  rate: 4,
  /** There is overload, it sends more than a little, and there is enough to do. */
  work: 8,
} as const

/** How long a frame that has begun may come at any rate: a network may be gone for a moment. */
const slowMsMax = 10_000

/** What a frame takes in memory beside its bytes: the objects that it becomes on its way to the ledger. */
const frameObjectsBytes = 256

/** What one append has in memory, until its outcome is known and its last uplink is acked or refused. */
export interface AppendedBytes {
  readonly bytes: number
  readonly frames: number
  /** Its last uplink; 0 for none. */
  readonly uplinkSeq: number
  readonly second: WorkSecond
  hasOutcome: boolean
}

const none: AppendedBytes[] = []

/**
 * What of a connection's input is in memory, and whether its socket is read. Every byte is in one of three places: in a
 * frame that is not whole, in frames that wait for their turn, or in an append whose uplinks are not acked.
 */
export class Reading {
  #holds = 0
  #partialBytes = 0
  #waitingBytes = 0
  #waitingFrames = 0
  #appended: AppendedBytes[] = none
  #ended = false
  /** Of the frame that is not whole: since when it is watched, ticks, and what has been read since. */
  #watchedAt = 0
  #watchedBytes = 0
  /** The frame that is not whole is another one now, or we have not read for reasons of our own: it is watched anew. */
  #watchesAnew = true
  /** All three together. */
  heldBytes = 0

  /** Bytes that it may send now, may be negative; and when it was last topped up, ms of the process: see `Flow`. */
  allowance: number
  allowanceAtMs = 0
  /** Of the user, once that is known, and if users have a rate. */
  user: UserFlow | undefined = undefined

  constructor (byteBurst: number) { this.allowance = byteBurst }

  /** Bytes that are let go of without anything more being read. */
  get leavingBytes (): number { return this.heldBytes - this.#partialBytes }

  /** Whole frames that were read and not dealt with. */
  get waitingFrames (): number { return this.#waitingFrames }

  get isHeld (): boolean { return this.#holds !== 0 }

  isHeldFor (why: number): boolean { return (this.#holds & why) !== 0 }

  hold (connection: Connection, why: number): void {
    const wasHeld = this.#holds !== 0
    this.#holds |= why
    this.#watchesAnew = true
    if (!wasHeld) connection.wire.pause()
  }

  release (connection: Connection, why: number): void {
    if ((this.#holds & why) === 0) return
    this.#holds &= ~why
    // What it sent while it was held has yet to be read: who was held for long is not taken for silent before that.
    if (why !== hold.turn) connection.life.heard(connection.edge.ticks())
    if (this.#holds === 0) connection.wire.resume()
  }

  /** One read brought so many bytes. */
  hasRead (connection: Connection, bytes: number): void {
    this.#watchedBytes += bytes
    connection.edge.flow.read(connection, bytes)
  }

  /**
   * True where a frame that is not whole has brought less than `bytesMin` a second for longer than it may: somebody
   * feeds us by the byte. To be asked by each sweep.
   *
   * @param now ticks
   */
  isFedSlowly (now: number, bytesMin: number): boolean {
    if (this.#watchesAnew || this.#partialBytes === 0 || this.#holds !== 0) {
      this.#watchesAnew = false
      this.#watchedAt = now
      this.#watchedBytes = 0
      return false
    }
    const ms = (now - this.#watchedAt) * tickMs
    return ms > slowMsMax && this.#watchedBytes * 1_000 < bytesMin * ms
  }

  /** Whole frames were read, of `bytes` altogether: with all else that their buffers hold in memory. */
  received (connection: Connection, frames: number, bytes: number): void {
    const taken = bytes + frames * frameObjectsBytes
    this.#watchesAnew = true
    this.#waitingBytes += taken
    this.#waitingFrames += frames
    this.#add(connection, taken)
    connection.edge.intake.tookFrames(frames)
    connection.edge.flow.received(connection, frames)
  }

  /** A frame that is not whole yet takes `bytes`. */
  keepsPartial (connection: Connection, bytes: number): void {
    const more = bytes - this.#partialBytes
    if (more === 0) return
    this.#partialBytes = bytes
    connection.edge.intake.tookPartial(more)
    this.#add(connection, more)
  }

  /** A turn has dealt with all frames that waited, and appends nothing because of them. */
  handled (connection: Connection): void {
    const bytes = this.#waitingBytes
    if (bytes === 0) return
    this.#waitingBytes = 0
    connection.edge.intake.gaveFrames(this.#waitingFrames)
    connection.edge.work.handled(this.#waitingFrames)
    this.#waitingFrames = 0
    this.#add(connection, -bytes)
  }

  /** The same of a turn that ends with an append; where frames are left, all stays counted until they are done, too. */
  appended ({ window, hasFrames, edge }: Connection): AppendedBytes {
    const isAll = !hasFrames
    const frames = isAll ? this.#waitingFrames : 0
    const appended = {
      bytes: isAll ? this.#waitingBytes : 0,
      frames,
      uplinkSeq: window.givenSeq,
      second: edge.work.appended(frames),
      hasOutcome: false,
    }
    this.#waitingBytes -= appended.bytes
    this.#waitingFrames -= appended.frames
    if (this.#appended.length === 0) this.#appended = [appended]
    else this.#appended.push(appended)
    return appended
  }

  hasOutcome (connection: Connection, appended: AppendedBytes): void {
    appended.hasOutcome = true
    connection.edge.work.stored(appended.frames, appended.second)
    this.settle(connection)
  }

  /** Acks and refusals have come: lets go of the appends that they answer, in order. */
  settle (connection: Connection): void {
    const appended = this.#appended
    if (appended.length === 0) return
    const { givenSeq, ackedSeq } = connection.window
    let done = 0
    let bytes = 0
    let frames = 0
    while (done < appended.length) {
      const { hasOutcome, uplinkSeq, bytes: its, frames: objects } = appended[done]!
      // One above what is given was refused since.
      if (!hasOutcome || (uplinkSeq > ackedSeq && uplinkSeq <= givenSeq && !this.#ended)) break
      bytes += its
      frames += objects
      done++
    }
    if (done === 0) return
    if (done === appended.length) this.#appended = none
    else appended.splice(0, done)
    connection.edge.intake.gaveFrames(frames)
    if (bytes > 0) this.#add(connection, -bytes)
  }

  /** The socket is gone: only what is on its way to the ledger is still in memory. */
  end (connection: Connection): void {
    this.#ended = true
    this.#holds = 0
    connection.edge.intake.left(connection)
    connection.edge.work.left(connection)
    connection.edge.flow.left(connection)
    this.keepsPartial(connection, 0)
    this.settle(connection)
  }

  #add (connection: Connection, bytes: number): void {
    this.heldBytes += bytes
    if (bytes < 0) connection.edge.intake.gave(-bytes)
    else connection.edge.intake.took(connection, bytes)
  }
}
