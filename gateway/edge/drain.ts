import type { Connection } from '../../actors/connection/connection.js'
import { tickMs } from '../../actors/connection/lifetime.js'
import { type Edge, finishMs } from './edge.js'

/** What is left of the time is for those asked last: to spread their going, and as much again to connect. */
const spreadShare = 0.25
const spreadMsMax = 10_000

/** A connection that had to leave, as it was when its socket was gone. */
export interface Departure {
  readonly userId: string
  readonly deviceId: string
  readonly partition: number
  readonly connectionId: string
  /** All ms since 1970. One that was never asked was asked when it ended. */
  readonly openedAtMs: number
  readonly askedAtMs: number
  readonly endedAtMs: number
  /** It did not go by itself. */
  readonly closed: boolean
  /** Highest uplink taken from it; highest downlink written to it and acked on it. */
  readonly uplinkSeq: number
  readonly writtenSeq: number
  readonly ackedSeq: number
  /** Rooms that it was in. */
  readonly rooms: number
}

export interface EdgeDrainOptions {
  /** Above 0 to 100. */
  readonly percent: number
  /** From now until those that are still here are ended. */
  readonly withinMs: number
  /** By the clock that `ask` is told, which nobody sets. */
  readonly nowMs: number
}

/**
 * Asks a share of an edge's connections to leave, at an even pace, and ends those that are still here when the time is
 * up. Which ones go is by chance. Where all have to go, those that open meanwhile have to go too.
 */
export class EdgeDrain {
  readonly #edge: Edge
  readonly #options: EdgeDrainOptions
  readonly #spreadMs: number
  readonly #queue: Connection[]
  /** Still here, with the time of asking. */
  readonly #asked = new Map<Connection, number>()
  /** Gone. Their last frames may be handled after their sockets are, so nobody looks at them at once. */
  #gone: Array<{ connection: Connection, askedAtMs: number, endedAtMs: number, isEnded: boolean, rooms: number }> = []
  #askedCount = 0
  #total: number
  /** The time is up. */
  #isEnding = false

  constructor (edge: Edge, options: EdgeDrainOptions) {
    const { percent, withinMs } = options
    this.#edge = edge
    this.#options = options
    this.#spreadMs = Math.ceil(Math.min(spreadMsMax, withinMs * spreadShare))
    this.#queue = shuffled(edge.open)
    this.#queue.length = this.#total = Math.ceil(this.#queue.length * percent / 100)
    edge.onClosed = connection => { this.#closed(connection) }
  }

  /** Connections that have to leave, and those of them that were sent a `migrate`. */
  get total (): number { return this.#total }
  get asked (): number { return this.#askedCount }

  get isOver (): boolean {
    if (this.#queue.length > 0 || this.#asked.size > 0) return false
    return this.#options.percent < 100 || (this.#edge.open.length === 0 && !this.#edge.isOpening)
  }

  /** Those that have gone since the last call. */
  takeDeparted (): Departure[] {
    const departed = this.#gone.map(({ connection, askedAtMs, endedAtMs, isEnded, rooms }) => {
      const { userId, deviceId, partition, connectionId, acceptedAt, window, cursor } = connection
      const openedAtMs = Date.now() - (this.#edge.context.ticks() - acceptedAt) * tickMs
      return {
        userId,
        deviceId,
        partition,
        connectionId,
        openedAtMs,
        askedAtMs,
        endedAtMs,
        closed: isEnded,
        uplinkSeq: window.givenSeq,
        writtenSeq: cursor.writtenSeq,
        ackedSeq: cursor.ackedSeq,
        rooms,
      }
    })
    this.#gone = []
    return departed
  }

  /**
   * Asks as many as should have been asked by now.
   *
   * @param nowMs by a clock that nobody sets
   */
  ask (nowMs: number): void {
    if (this.#isEnding) return
    const { percent, withinMs } = this.#options
    if (percent === 100 && this.#queue.length === 0) this.#findMore()
    const share = Math.min(1, (nowMs - this.#options.nowMs) / Math.max(1, withinMs - 2 * this.#spreadMs))
    const leavesAt = this.#edge.context.ticks() + Math.ceil((this.#options.nowMs + withinMs - nowMs) / tickMs)
    while (this.#queue.length > 0 && this.#askedCount < this.#total * share) {
      const connection = this.#queue.pop()!
      if (!connection.life.isOpen) {
        this.#total--
        continue
      }
      this.#askedCount++
      this.#asked.set(connection, Date.now())
      connection.tell({ type: 'migrate', withinMs: this.#spreadMs, reason: 'the node is draining', leavesAt })
    }
  }

  /** The time is up: ends those that have to leave and are still here, once what they have sent is acked. */
  async end (): Promise<void> {
    this.#isEnding = true
    for (const connection of this.#queue.splice(0)) {
      if (connection.life.isOpen) this.#asked.set(connection, 0)
      else this.#total--
    }
    for (const connection of this.#asked.keys()) connection.tell({ type: 'leave' })
    const overdueMs = performance.now() + finishMs
    const deadlineMs = overdueMs + this.#edge.context.limits.lingerMs
    let isToldToEnd = false
    while (this.#asked.size > 0 && performance.now() < deadlineMs) {
      await new Promise(resolve => setTimeout(resolve, 20))
      if (isToldToEnd || performance.now() < overdueMs) continue
      isToldToEnd = true
      for (const connection of this.#asked.keys()) {
        connection.tell({ type: 'fail', code: 'migrating', reason: 'asked to move, and stayed' })
      }
    }
    for (const connection of this.#asked.keys()) connection.wire.destroy()
  }

  /** Asks and ends nobody any more; whoever was asked may stay. */
  stop (): void {
    this.#queue.length = 0
    for (const connection of this.#asked.keys()) connection.tell({ type: 'stay' })
    this.#asked.clear()
    this.#edge.onClosed = undefined
  }

  #findMore (): void {
    for (const connection of this.#edge.open) {
      if (this.#asked.has(connection)) continue
      this.#queue.push(connection)
      this.#total++
    }
  }

  #closed (connection: Connection): void {
    const askedAtMs = this.#asked.get(connection)
    if (askedAtMs === undefined) return
    this.#asked.delete(connection)
    const endedAtMs = Date.now()
    const rooms = connection.rooms?.joined.length ?? 0
    this.#gone.push({ connection, askedAtMs: askedAtMs || endedAtMs, endedAtMs, isEnded: this.#isEnding, rooms })
  }
}

/** In random order. */
function shuffled<T> (items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.trunc(Math.random() * (i + 1))
    const item = items[i]!
    items[i] = items[j]!
    items[j] = item
  }
  return items
}
