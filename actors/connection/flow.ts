import type { Connection } from './connection.js'
import { hold } from './reading.js'

/** How often those that are held are looked at. At the default rates a read is paid for in 64 ms at most. */
const lookEveryMs = 20

/** Seconds of its rates that a user may send at once. */
const userBurstS = 4

/** Rooms that a user may begin at once, and how many more each second. */
const roomsBurst = 1_000
const roomsRate = 1

export interface FlowRates {
  /** Bytes a second and burst of one connection; 0 for no limit. */
  readonly byteRate: number
  readonly byteBurst: number
  /** Bytes a second that all connections of one user to this node may send; 0 for no limit. */
  readonly userByteRate: number
  /** Frames a second of all of them; 0 for no limit. */
  readonly userFrameRate: number
}

interface Allowance {
  allowance: number
  allowanceAtMs: number
}

/** What all connections of a user share: bytes, frames, and rooms that they begin. */
export interface UserFlow extends Allowance {
  readonly frames: Allowance
  readonly rooms: Allowance
  connections: number
}

/**
 * Bytes a second of a connection; bytes, frames and new rooms a second of a user. Whoever sends more is not read for
 * as long as it takes to earn it, so the kernel holds the client back: nothing that it sent is dropped, and nothing is
 * to be sent again. A read may go into debt, for its size is known only once it is read, and its frames and rooms count
 * for the next one.
 */
export class Flow {
  readonly #users = new Map<string, UserFlow>()
  readonly #held = new Set<Connection>()
  #timer: NodeJS.Timeout | undefined

  constructor (readonly rates: FlowRates, readonly nowMs: () => number = () => performance.now()) {}

  /** Users that are remembered: those with a connection, and those that have not earned what they sent. */
  get users (): number { return this.#users.size }

  /** The connection is this user's from now on. */
  join (connection: Connection, userId: string): void {
    const { userByteRate, userFrameRate } = this.rates
    if (userByteRate === 0 && userFrameRate === 0) return
    let user = this.#users.get(userId)
    if (!user) {
      const allowanceAtMs = Math.trunc(this.nowMs())
      const frames = { allowance: userBurstS * userFrameRate, allowanceAtMs }
      const rooms = { allowance: roomsBurst, allowanceAtMs }
      user = { allowance: userBurstS * userByteRate, allowanceAtMs, frames, rooms, connections: 0 }
      this.#users.set(userId, user)
    }
    user.connections++
    connection.reading.user = user
  }

  read (connection: Connection, bytes: number): void {
    const { byteRate, byteBurst, userByteRate } = this.rates
    const { reading } = connection
    const { user } = reading
    if (user === undefined && byteRate === 0) return
    const nowMs = Math.trunc(this.nowMs())
    if (byteRate > 0 && byteBurst > 0) reading.allowance -= bytes
    if (user && userByteRate > 0) user.allowance -= bytes
    if (this.#mayRead(connection, nowMs) || this.#held.has(connection)) return
    this.#held.add(connection)
    reading.hold(connection, hold.rate)
    this.#timer ??= setInterval(() => { this.#look() }, lookEveryMs).unref()
  }

  /** Of what was read, so many frames are whole. */
  received ({ reading: { user } }: Connection, frames: number): void {
    if (user && this.rates.userFrameRate > 0) user.frames.allowance -= frames
  }

  /** It posts in a room that has had no post, as far as is known: of such a room something is kept for ever. */
  begun ({ reading: { user } }: Connection): void {
    if (user) user.rooms.allowance--
  }

  /** The socket is gone. A user in debt is remembered, so that coming back pays nothing. */
  left (connection: Connection): void {
    this.#held.delete(connection)
    const { user } = connection.reading
    connection.reading.user = undefined
    if (user) user.connections--
    this.#stopIfDone()
  }

  /** Forgets users who have left and owe nothing; to be called now and then. */
  sweep (): void {
    const nowMs = Math.trunc(this.nowMs())
    for (const [userId, user] of this.#users) {
      if (user.connections === 0 && this.#earnOf(user, nowMs)) this.#users.delete(userId)
    }
  }

  #mayRead ({ reading }: Connection, nowMs: number): boolean {
    const { byteRate, byteBurst } = this.rates
    const { user } = reading
    if (byteRate > 0 && byteBurst > 0) this.#earn(reading, byteRate, byteBurst, nowMs)
    if (user) this.#earnOf(user, nowMs)
    if (reading.allowance < 0) return false
    return user === undefined || (user.allowance >= 0 && user.frames.allowance >= 0 && user.rooms.allowance >= 0)
  }

  /** @returns true where the user has as much of all as he may have */
  #earnOf (user: UserFlow, nowMs: number): boolean {
    const { userByteRate, userFrameRate } = this.rates
    const hasBytes = this.#earn(user, userByteRate, userBurstS * userByteRate, nowMs)
    const hasFrames = this.#earn(user.frames, userFrameRate, userBurstS * userFrameRate, nowMs)
    return this.#earn(user.rooms, roomsRate, roomsBurst, nowMs) && hasBytes && hasFrames
  }

  /** @returns true where it has as much as it may have */
  #earn (of: Allowance, rate: number, burst: number, nowMs: number): boolean {
    const earned = Math.trunc((nowMs - of.allowanceAtMs) * rate / 1000)
    if (earned > 0) {
      of.allowance = Math.min(burst, of.allowance + earned)
      // The rest of a second, in which one room is earned, counts for the next look.
      of.allowanceAtMs += Math.ceil(1000 * earned / rate)
    }
    return of.allowance === burst
  }

  #look (): void {
    const nowMs = Math.trunc(this.nowMs())
    for (const connection of this.#held) {
      if (!this.#mayRead(connection, nowMs)) continue
      this.#held.delete(connection)
      connection.reading.release(connection, hold.rate)
    }
    this.#stopIfDone()
  }

  #stopIfDone (): void {
    if (this.#held.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
