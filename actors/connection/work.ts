import type { Connection } from './connection.js'
import type { Incoming } from './events.js'
import { rankOf, ranksMax } from './priority.js'
import { hold } from './reading.js'

/** Frames in work where the log takes no time; and so many more for each ms that it takes, for a core reads no more. */
const framesMax = 128
const framesOfMs = 64

/** Who has sent no more frames in this second sends little, and waits for nobody. */
const littleFrames = 16

/** One in so many of those that are read next is the one that has waited for longest, whatever it sends. */
const turnsOfLongest = 4

/** What the log has held for longer than one to two of these may stay there, and counts no more. */
const secondMs = 1_000

/** How often those that wait are looked at, where nothing is stored. */
const lookEveryMs = 50

/** The second that an append was made in. */
export type WorkSecond = number

/**
 * In overload, bounds the frames in work: read, and not stored yet. Whatever is read waits for all that was read
 * before: turns of the event loop, commits and folds take as long as there is work in them. What is too much waits in
 * sockets instead: past the bound a connection that was read is held until its turn comes, the highest priority first.
 * Who sends little is never held, and finds little before it (docs/decisions/0063-a-bound-of-work-in-overload.md).
 */
export class Work {
  /** Connections that are held and since when, by the rank of what they sent last. */
  readonly #lines = Array.from({ length: ranksMax }, () => new Map<Connection, number>())
  #waiting = 0
  #turns = 0
  /** Who has sent how many frames in this second. */
  readonly #sent = new Map<Connection, number>()
  /** Frames that were read, and neither appended nor dealt with. */
  #read = 0
  /** Given to the log in this second and in the one before, and not stored. */
  #appended = 0
  #appendedBefore = 0
  #second: WorkSecond = 0
  /** The shortest time that the log took for an append, in this second and in the one before, ms. */
  #logMs = Infinity
  #logMsBefore = 0
  /** What a read of those that are held brings, of late. */
  #readFrames = 32
  #isDealing = false
  #timer: NodeJS.Timeout | undefined
  /** Since the last `takeWaitMs`. */
  #frames = 0
  #waitedMs = 0

  /** @param isOverloaded where it is not, nobody is held, and those that are held are read as there is room */
  constructor (readonly isOverloaded: () => boolean, readonly nowMs: () => number = () => performance.now()) {}

  /** Connections that are held. */
  get waiting (): number { return this.#waiting }

  /** In overload, and it sends more than a little. */
  isBusy (connection: Connection): boolean {
    return this.#sent.size > 0 && this.isOverloaded() && (this.#sent.get(connection) ?? 0) > littleFrames
  }

  /** One read brought these frames. */
  read (connection: Connection, frames: readonly Incoming[]): void {
    if (!this.isOverloaded()) return
    const { length } = frames
    const nowMs = this.nowMs()
    this.#turnSecond(nowMs)
    this.#frames += length
    this.#read += length
    const sent = (this.#sent.get(connection) ?? 0) + length
    this.#sent.set(connection, sent)
    if (sent <= littleFrames || this.#room > 0 || connection.reading.isHeldFor(hold.work)) return
    this.#readFrames += (length - this.#readFrames) / 16
    this.#lines[rankOf(priorityOf(frames))]!.set(connection, nowMs)
    this.#waiting++
    connection.reading.hold(connection, hold.work)
    this.#timer ??= setInterval(() => { this.#dealSoon() }, lookEveryMs).unref()
  }

  /** So many frames are dealt with, without an append. */
  handled (frames: number): void {
    this.#read = Math.max(0, this.#read - frames)
    if (this.#waiting > 0) this.#dealSoon()
  }

  /** So many frames are in an append. @returns to be given back with its outcome */
  appended (frames: number): WorkSecond {
    this.#read = Math.max(0, this.#read - frames)
    this.#appended += frames
    return this.#second
  }

  /** The append has an outcome. */
  stored (frames: number, second: WorkSecond): void {
    if (second === this.#second) this.#appended -= frames
    else if (second === this.#second - 1) this.#appendedBefore -= frames
    if (this.#waiting > 0) this.#dealSoon()
  }

  /** The log took so long for an append. */
  logTook (ms: number): void { if (ms < this.#logMs) this.#logMs = ms }

  /** The socket is gone. */
  left (connection: Connection): void {
    this.#sent.delete(connection)
    if (this.#waiting === 0) return
    for (const line of this.#lines) if (line.delete(connection)) this.#waiting--
    this.#restIfDone()
  }

  /** How long frames have been held back since the last call, in the mean, ms. */
  takeWaitMs (): number {
    const ms = this.#frames === 0 ? 0 : this.#waitedMs / this.#frames
    this.#frames = this.#waitedMs = 0
    return ms
  }

  /** Once overload is over, those that are held are read again by and by, whatever is in work. */
  get #room (): number {
    if (!this.isOverloaded()) return framesMax
    const logMs = Math.min(this.#logMs, this.#logMsBefore)
    return framesMax + framesOfMs * logMs - this.#read - this.#appended - this.#appendedBefore
  }

  #dealSoon (): void {
    if (this.#isDealing) return
    this.#isDealing = true
    setImmediate(() => { this.#deal() })
  }

  #deal (): void {
    this.#isDealing = false
    const nowMs = this.nowMs()
    this.#turnSecond(nowMs)
    const room = this.#room
    for (let left = room; left > 0 && this.#waiting > 0; left -= this.#readFrames) this.#readNext(nowMs)
    this.#restIfDone()
    // Some may have sent nothing since.
    if (room > 0 && this.#waiting > 0) this.#dealSoon()
  }

  #turnSecond (nowMs: number): void {
    const now = Math.trunc(nowMs / secondMs)
    if (now === this.#second) return
    this.#sent.clear()
    this.#appendedBefore = now === this.#second + 1 ? this.#appended : 0
    this.#appended = this.#read = 0
    if (this.#logMs < Infinity) this.#logMsBefore = this.#logMs
    this.#logMs = Infinity
    this.#second = now
  }

  #readNext (nowMs: number): void {
    const line = this.#turns++ % turnsOfLongest === 0 ? this.#longest() : this.#highest()
    const [connection, sinceMs] = firstOf(line)!
    line.delete(connection)
    this.#waiting--
    this.#waitedMs += (nowMs - sinceMs) * this.#readFrames
    connection.reading.release(connection, hold.work)
  }

  /** Somebody waits. */
  #highest (): Line { return this.#lines.findLast(({ size }) => size > 0)! }

  #longest (): Line {
    let longest = this.#highest()
    for (const line of this.#lines) if (sinceMsOf(line) < sinceMsOf(longest)) longest = line
    return longest
  }

  #restIfDone (): void {
    if (this.#timer === undefined || this.#waiting > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

type Line = Map<Connection, number>

/** In order of arrival. */
function firstOf (line: Line): [Connection, number] | undefined { return line.entries().next().value }

function sinceMsOf (line: Line): number { return firstOf(line)?.[1] ?? Infinity }

/** Of the last uplink among them. */
function priorityOf (frames: readonly Incoming[]): number {
  const last = frames.findLast(({ op }) => op === 'uplink')
  return last?.op === 'uplink' ? last.priority : 0
}
