import { closeConnection } from './close.js'
import type { Connection } from './connection.js'
import type { EdgeLimits } from './edge-context.js'

/** Seconds of the full rate that a client may be in debt before its connection is closed. */
const debtS = 10

/**
 * Frames that a client may send now: `frameRate` more each second, up to `frameBurst`. Refused frames count too, so a
 * client that waits as told comes back into credit, and one that hammers on runs into debt and is closed with
 * `rate-limited`. Counted in thousandths, which a millisecond brings a whole number of.
 */
export class FrameAllowance {
  /** May be negative. */
  #left: number
  /** When it was last topped up, ms of the process. */
  #atMs = 0

  constructor ({ frameBurst }: EdgeLimits) { this.#left = 1000 * frameBurst }

  /** @param nowMs whole ms of the process */
  spend ({ frameRate, frameBurst }: EdgeLimits, nowMs: number): void {
    const grown = this.#left + (nowMs - this.#atMs) * frameRate
    this.#left = Math.min(1000 * frameBurst, grown) - 1000
    this.#atMs = nowMs
  }

  get isOver (): boolean { return this.#left < 0 }

  /** There is a frame left. */
  get hasCredit (): boolean { return this.#left >= 1000 }

  isBroke ({ frameRate, frameBurst }: EdgeLimits): boolean {
    return this.#left < -1000 * (debtS * frameRate + frameBurst)
  }

  /** Until its debt would be paid, ms. */
  debtMs ({ frameRate }: EdgeLimits): number { return Math.ceil(-this.#left / frameRate) }

  /**
   * How long until it has credit for as many frames as it is over, ms: for those it will resend, all at once. Credit
   * for nothing, or for one, would only have them refused again.
   */
  waitMs ({ frameRate, frameBurst }: EdgeLimits): number {
    const wanted = Math.min(1000 * frameBurst, 1000 - this.#left)
    return Math.max(1, Math.ceil((wanted - this.#left) / frameRate))
  }
}

/** Whole ms of the process. */
export function wholeMs (): number { return Math.trunc(performance.now()) }

/** True where frames are counted at all. */
function isLimited ({ frameRate, frameBurst }: EdgeLimits): boolean { return frameRate !== 0 && frameBurst !== 0 }

/**
 * Takes one frame from the connection's allowance. A client that is too deep in debt is closed for it.
 *
 * @param nowMs see `wholeMs`: one look at the clock does for all frames of a turn
 * @returns `over` for a frame that it has no allowance for
 */
export function take (connection: Connection, nowMs: number): 'in' | 'over' | 'closed' {
  const { edge: { limits }, allowance } = connection
  if (!isLimited(limits)) return 'in'
  allowance.spend(limits, nowMs)
  if (allowance.isBroke(limits)) {
    closeConnection(connection, 'rate-limited', tooMany(limits), { retryAfterMs: allowance.debtMs(limits) })
    return 'closed'
  }
  return allowance.isOver ? 'over' : 'in'
}

/**
 * The same for a ping or pong of WebSocket's own, which reaches no turn: it counts as life and as a frame.
 *
 * @returns false where the connection is being closed for it
 */
export function takeControl (connection: Connection): boolean {
  const { edge: { ticks, limits }, life, allowance } = connection
  life.heard(ticks())
  if (!isLimited(limits)) return true
  allowance.spend(limits, wholeMs())
  if (!allowance.isBroke(limits)) return true
  connection.tell({
    type: 'fail', code: 'rate-limited', reason: tooMany(limits), retryAfterMs: allowance.debtMs(limits),
  })
  return false
}

/** True where one more frame is within what the connection had left at its last one. */
export function hasCredit ({ allowance, edge: { limits } }: Connection): boolean {
  return !isLimited(limits) || allowance.hasCredit
}

function tooMany ({ frameRate }: EdgeLimits): string { return `more than ${frameRate} frames a second` }
