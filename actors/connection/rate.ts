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
  if (frameRate === 0) return true
  const nowMs = Math.trunc(performance.now())
  const grown = connection.allowance + (nowMs - connection.allowanceAtMs) * frameRate / 1000
  connection.allowance = Math.min(Math.max(frameBurst, 1), grown) - 1
  connection.allowanceAtMs = nowMs
  if (connection.allowance >= 0) return true
  if (connection.allowance < -debtS * frameRate - frameBurst) {
    closeConnection(connection, 'rate-limited', `more than ${frameRate} frames a second`)
  }
  return false
}

/** How long until the connection has credit again, ms. */
export function waitMs (connection: Connection): number {
  return Math.max(1, Math.ceil(-connection.allowance * 1000 / connection.edge.limits.frameRate))
}
