import type { Connection } from './connection.js'
import { hold } from './reading.js'

/** What one read takes at most; libuv's own suggestion. */
export const readBytesMax = 64 * 1024

/** A connection that holds no more than this is quiet: it is read however full the node is. */
export const quietBytesMax = 16 * 1024

/** One part in so many is for finishing frames. */
const finishingShare = 4

/** A frame for so many bytes of the bound is too many: their objects would fill the heap. */
const bytesForFrame = 64

/**
 * Of those that wait, what one turn of the event loop reads: a megabyte. To read as much as there may be room for takes
 * more than 10 ms, for which all others would wait.
 */
const turnReadsMax = 16

/** How long those that wait for room stay unread at most, where nothing of what is held goes by itself. */
const turnEveryMs = 50

/**
 * All bytes of this node that were read from sockets and not dealt with: frames that are not whole, frames that wait,
 * and appends without an outcome or an ack. Whoever holds more of them than there is room left for is not read: the
 * largest first, so that n busy connections share all but one part of n + 1, and a quiet one never waits. Those that
 * wait are read again in the order in which they came, no more in one turn of the event loop than there is room for.
 */
export class Intake {
  #bytes = 0
  /** Of them in frames that are not whole, which go only once more is read. */
  #partialBytes = 0
  /** Frames that were read and not dealt with, and how many a read brought at most, of late. */
  #frames = 0
  #readFrames = 1
  /** Nobody is read, for there are too many frames. */
  #shut = false
  /** All connections of the node. */
  everybody: () => Iterable<Connection> = () => []
  readonly #waiting = new Set<Connection>()
  #dealing = false
  #timer: NodeJS.Timeout | undefined
  #dealtAtMs = 0

  constructor (readonly bytesMax: number) {}

  get bytes (): number { return this.#bytes }

  /** Connections that are not read for want of room. */
  get waiting (): number { return this.#waiting.size }

  took (connection: Connection, bytes: number): void {
    this.#bytes += bytes
    const { heldBytes } = connection.reading
    if (heldBytes <= quietBytesMax || heldBytes <= this.bytesMax - this.#bytes) return
    if (this.#waiting.has(connection)) return
    this.#waiting.add(connection)
    connection.reading.hold(connection, hold.room)
    this.#timer ??= setInterval(() => { this.#dealAnyway() }, turnEveryMs).unref()
  }

  /** `bytes` more, or fewer, of those are in frames that are not whole. */
  tookPartial (bytes: number): void { this.#partialBytes += bytes }

  /**
   * A read may become fifteen times as much when it is full of the smallest frames, so one read of each connection is
   * too much to pass the bound by: past the bound of frames nobody is read at all.
   */
  tookFrames (frames: number): void {
    this.#frames += frames
    if (frames > this.#readFrames) this.#readFrames = frames
    if (this.#frames <= this.#framesMax || this.#shut) return
    this.#shut = true
    for (const connection of this.everybody()) {
      const { reading, life } = connection
      if (life.isOver || reading.isHeldFor(hold.room)) continue
      this.#waiting.add(connection)
      reading.hold(connection, hold.room)
    }
    this.#timer ??= setInterval(() => { this.#dealAnyway() }, turnEveryMs).unref()
  }

  gaveFrames (frames: number): void { this.#frames -= frames }

  get #framesMax (): number { return this.bytesMax / bytesForFrame }

  gave (bytes: number): void {
    this.#bytes -= bytes
    if (this.#waiting.size > 0) this.#dealSoon()
  }

  left (connection: Connection): void {
    if (this.#waiting.delete(connection)) this.#stopIfDone()
  }

  #dealSoon (): void {
    if (this.#dealing) return
    this.#dealing = true
    setImmediate(() => { this.#deal() })
  }

  /** Lets those be read again for which there is room, whoever has waited for longest first. */
  #deal (): void {
    this.#dealing = false
    this.#dealtAtMs = performance.now()
    // A part is always for finishing frames, or many that are not whole would keep each other waiting.
    const leavingBytes = this.#bytes - this.#partialBytes
    let room = Math.max(this.bytesMax - this.#bytes, this.bytesMax / finishingShare - leavingBytes)
    if (this.#shut && this.#frames > this.#framesMax / 2) return
    this.#shut = false
    let reads = (this.#framesMax - this.#frames) / this.#readFrames
    this.#readFrames = Math.max(1, this.#readFrames >> 1)
    let turnReads = turnReadsMax
    for (const connection of this.#waiting) {
      if (room < readBytesMax || reads < 1) break
      if (turnReads-- === 0) {
        this.#dealSoon()
        break
      }
      const { reading } = connection
      // Half of what holds it, or it would be held again by its next read.
      if (reading.leavingBytes > quietBytesMax && 2 * reading.leavingBytes > room) continue
      room -= readBytesMax
      reads--
      this.#readAgain(connection)
    }
    this.#stopIfDone()
  }

  /** Nothing was dealt with for a while, so nobody says that there is room: what is held may all be parts of frames. */
  #dealAnyway (): void {
    if (performance.now() - this.#dealtAtMs >= turnEveryMs) this.#dealSoon()
  }

  #readAgain (connection: Connection): void {
    this.#waiting.delete(connection)
    connection.reading.release(connection, hold.room)
  }

  #stopIfDone (): void {
    if (this.#waiting.size > 0) return
    this.#shut = false
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
