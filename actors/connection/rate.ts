import { closeConnection } from './close.js'
import type { Connection } from './connection.js'

/** Seconds of the full rate that a client may be in debt before its connection is closed. */
const debtS = 10

/**
 * Takes one frame from the connection's allowance, which grows by `frameRate` a second up to `frameBurst`. Refused
 * frames count too, so a client that waits as told comes back into credit, and one that hammers on runs into debt and
 * is closed with `rate-limited`.
 *
 * @returns false where the client is over its rate
 */
export function allowed (connection: Connection): boolean {
  const { frameRate, frameBurst } = connection.edge.limits
  if (frameRate === 0 || frameBurst === 0) return true
  spend(connection)
  if (isBroke(connection)) {
    closeConnection(connection, 'rate-limited', tooMany(connection), { retryAfterMs: debtMs(connection) })
  }
  return connection.allowance >= 0
}

/**
 * The same for a ping or pong of WebSocket's own, which reaches no turn: it counts as life and as a frame.
 *
 * @returns false where the connection is being closed for it
 */
export function allowedControl (connection: Connection): boolean {
  const { ticks, limits: { frameRate, frameBurst } } = connection.edge
  connection.heardAt = ticks()
  if (frameRate === 0 || frameBurst === 0) return true
  spend(connection)
  if (!isBroke(connection)) return true
  connection.tell({ type: 'fail', code: 'rate-limited', reason: tooMany(connection), retryAfterMs: debtMs(connection) })
  return false
}

function spend (connection: Connection): void {
  const { frameRate, frameBurst } = connection.edge.limits
  const nowMs = Math.trunc(performance.now())
  const grown = connection.allowance + (nowMs - connection.allowanceAtMs) * frameRate / 1000
  connection.allowance = Math.min(frameBurst, grown) - 1
  connection.allowanceAtMs = nowMs
}

function isBroke ({ allowance, edge }: Connection): boolean {
  const { frameRate, frameBurst } = edge.limits
  return allowance < -debtS * frameRate - frameBurst
}

/** Until its debt would be paid, ms. */
function debtMs ({ allowance, edge }: Connection): number {
  return Math.ceil(-allowance * 1000 / edge.limits.frameRate)
}

function tooMany ({ edge }: Connection): string { return `more than ${edge.limits.frameRate} frames a second` }

/** True where one more frame is within what the connection had left at its last one. */
export function hasCredit ({ allowance, edge }: Connection): boolean {
  const { frameRate, frameBurst } = edge.limits
  return frameRate === 0 || frameBurst === 0 || allowance >= 1
}

/**
 * How long until the connection has credit for as many frames as it is over, ms: for those it will resend, all at once.
 * Credit for nothing, or for one, would only have them refused again.
 */
export function waitMs ({ allowance, edge }: Connection): number {
  const { frameRate, frameBurst } = edge.limits
  const wanted = Math.min(frameBurst, 1 - allowance)
  return Math.max(1, Math.ceil((wanted - allowance) * 1000 / frameRate))
}
