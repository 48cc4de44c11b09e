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
  const nowMs = Math.trunc(performance.now())
  const grown = connection.allowance + (nowMs - connection.allowanceAtMs) * frameRate / 1000
  connection.allowance = Math.min(frameBurst, grown) - 1
  connection.allowanceAtMs = nowMs
  if (connection.allowance >= 0) return true
  if (connection.allowance < -debtS * frameRate - frameBurst) {
    closeConnection(connection, 'rate-limited', `more than ${frameRate} frames a second`)
  }
  return false
}

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
