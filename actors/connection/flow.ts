import { type Allowance, earn } from './allowance.js'
import { BegunRooms } from './begun-rooms.js'
import type { Connection } from './connection.js'
import { hold } from './reading.js'

/** How often those that are held are looked at. At the default rates a read is paid for in 64 ms at most. */
const lookEveryMs = 20

/** Seconds of its rates that a user may send at once. */
const userBurstS = 4

export interface FlowRates {
  /** Bytes a second and burst of one connection; 0 for no limit. */
  readonly byteRate: number
  readonly byteBurst: number
  /** Bytes a second that all connections of one user to this node may send; 0 for no limit. */
  readonly userByteRate: number
  /** Frames a second of all of them; 0 for no limit. */
  readonly userFrameRate: number
}

/** What all connections of a user share: bytes, frames, and rooms that they begin. */
export interface UserFlow extends Allowance {
  readonly frames: Allowance
  readonly rooms: BegunRooms
  connections: number
}

/**
 * Bytes a second of a connection; bytes and frames a second of a user. Whoever sends more is not read for as long as it
 * takes to earn it, so the kernel holds the client back: nothing that it sent is dropped, and nothing is to be sent
 * again. A read may go into debt, for its size is known only once it is read, and its frames count for the next one.
 * Posts in new rooms are refused instead, with a wait: to earn one takes so long that a client that is not read would
 * be taken for gone.
 */
export class Flow {
  readonly #users = new Map<string, UserFlow>()
  readonly #held = new Set<Connection>()
  #timer: NodeJS.Timeout | undefined

  constructor (readonly rates: FlowRates, readonly nowMs: () => number = () => performance.now()) {}

  /** Users that are remembered: those with a connection, and those that have not earned what they sent. */
  get users (): number { return this.#users.size }

  /** Until the user has earned what his connections have sent, ms. */
  debtMs (userId: string): number {
    const user = this.#users.get(userId)
    if (!user) return 0
    const { userByteRate, userFrameRate } = this.rates
    this.#earnOf(user, Math.trunc(this.nowMs()))
    const bytesMs = userByteRate > 0 ? -1000 * user.allowance / userByteRate : 0
    const framesMs = userFrameRate > 0 ? -1000 * user.frames.allowance / userFrameRate : 0
    return Math.ceil(Math.max(0, bytesMs, framesMs))
  }

  /** The connection is this user's from now on, and so is what it has sent until it was known whose it is. */
  join (connection: Connection, userId: string): void {
    const { userByteRate, userFrameRate } = this.rates
    if (userByteRate === 0 && userFrameRate === 0) return
    let user = this.#users.get(userId)
    if (!user) {
      const allowanceAtMs = Math.trunc(this.nowMs())
      const frames = { allowance: userBurstS * userFrameRate, allowanceAtMs }
      const rooms = new BegunRooms(allowanceAtMs)
      user = { allowance: userBurstS * userByteRate, allowanceAtMs, frames, rooms, connections: 0 }
      this.#users.set(userId, user)
    }
    user.connections++
    connection.reading.user = user
    if (userByteRate > 0) user.allowance -= connection.wire.bytesIn
    this.received(connection, connection.reading.waitingFrames)
    this.#holdInDebt(connection)
  }

  read (connection: Connection, bytes: number): void {
    const { byteRate, byteBurst, userByteRate } = this.rates
    const { reading } = connection
    const { user } = reading
    if (user === undefined && byteRate === 0) return
    if (byteRate > 0 && byteBurst > 0) reading.allowance -= bytes
    if (user && userByteRate > 0) user.allowance -= bytes
    this.#holdInDebt(connection)
  }

  /** Of what was read, so many frames are whole. */
  received ({ reading: { user } }: Connection, frames: number): void {
    if (user && this.rates.userFrameRate > 0) user.frames.allowance -= frames
  }

  /** @returns ms until the user may post in this room, that has had no post, as far as is known; 0 for now */
  newRoomMs ({ reading: { user } }: Connection, roomId: string): number {
    return user === undefined ? 0 : user.rooms.waitMs(roomId, Math.trunc(this.nowMs()))
  }

  /** It posts there. @param isNew as far as is known, the room has had no post */
  posts ({ reading: { user } }: Connection, roomId: string, isNew: boolean): void { user?.rooms.posts(roomId, isNew) }

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

  #holdInDebt (connection: Connection): void {
    if (this.#held.has(connection) || this.#mayRead(connection, Math.trunc(this.nowMs()))) return
    this.#held.add(connection)
    connection.reading.hold(connection, hold.rate)
    this.#timer ??= setInterval(() => { this.#look() }, lookEveryMs).unref()
  }

  #mayRead ({ reading }: Connection, nowMs: number): boolean {
    const { byteRate, byteBurst } = this.rates
    const { user } = reading
    if (byteRate > 0 && byteBurst > 0) earn(reading, byteRate, byteBurst, nowMs)
    if (user) this.#earnOf(user, nowMs)
    if (reading.allowance < 0) return false
    return user === undefined || (user.allowance >= 0 && user.frames.allowance >= 0)
  }

  /** @returns true where the user has as much of all as he may have */
  #earnOf (user: UserFlow, nowMs: number): boolean {
    const { userByteRate, userFrameRate } = this.rates
    const hasBytes = earn(user, userByteRate, userBurstS * userByteRate, nowMs)
    const hasFrames = earn(user.frames, userFrameRate, userBurstS * userFrameRate, nowMs)
    return user.rooms.earn(nowMs) && hasBytes && hasFrames
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
