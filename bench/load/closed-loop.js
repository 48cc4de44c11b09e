import { setTimeout as wait } from 'node:timers/promises'
import { out } from './outgoing.js'
import { startUsage } from './usage.js'

/**
 * Keeps `outstanding` uplinks of every connection on the way: each ack is followed by the next uplink.
 *
 * @param {import('./connections.js').Connections} connections all open
 * @param {{ outstanding: number, warmMs: number, windowMs: number, serverPid: number }} options
 * @returns {Promise<{ perSecond: number, usage: import('./usage.js').Usage }>} uplinks acked in the window
 */
export async function closedLoop (connections, { outstanding, warmMs, windowMs, serverPid }) {
  let ackedTotal = 0
  let sending = true
  connections.drive({
    progress (conn, acks) {
      ackedTotal += acks
      if (sending) while (acks-- > 0) conn.protocol.putUplink(conn)
    },
  })
  for (const conn of connections.list) {
    for (let i = 0; i < outstanding; i++) conn.protocol.putUplink(conn)
    out.flush(conn.socket)
  }
  await wait(warmMs)
  const ackedBefore = ackedTotal
  const endUsage = startUsage(serverPid)
  await wait(windowMs)
  const usage = endUsage()
  const perSecond = (ackedTotal - ackedBefore) / usage.seconds
  sending = false
  return { perSecond, usage }
}
