import { setTimeout as wait } from 'node:timers/promises'
import { out } from './outgoing.js'
import { quantile } from './quantile.js'
import { startUsage } from './usage.js'

const drainMsMax = 3_000
const drainPollMs = 5

/**
 * Sends at fixed times, whether answers come or not, and counts each uplink's latency from the time that it was
 * scheduled for: a server that stalls pays for all that should have been sent meanwhile (no coordinated omission).
 *
 * The loop spins on its core rather than sleep, so its CPU share says nothing; `lateMs`, how late uplinks really left,
 * says whether it kept up.
 *
 * @param {import('./connections.js').Connections} connections all open; uplinks go to them in turn
 * @param {{ perSecond: number, warmMs: number, windowMs: number, serverPid: number, withSamples?: boolean }} options
 * @returns {Promise<{ p50Ms: number, p99Ms: number, p999Ms: number, lateMs: number, unanswered: number, usage }>}
 *   `lateMs` is a 99th percentile; unanswered uplinks count as `drainMsMax`; `samples`, where they are wanted, are all
 *   latencies, sorted
 */
export async function openLoop (connections, { perSecond, warmMs, windowMs, serverPid, withSamples = false }) {
  const { list } = connections
  const intervalMs = 1000 / perSecond
  const warm = Math.round(warmMs / intervalMs)
  const total = warm + Math.round(windowMs / intervalMs)
  const late = new Float64Array(total)
  const latency = new Float64Array(total).fill(drainMsMax)
  const counts = { answered: 0 }
  let sent = 0
  let startMs = 0
  const first = list.map(conn => conn.acked)

  connections.drive({
    progress (conn, acks) {
      const nowMs = performance.now()
      // The nth uplink of connection i is number i + n * connections; acks come in order.
      let n = conn.acked - acks - first[conn.index]
      for (; acks > 0; acks--, n++, counts.answered++) {
        const number = conn.index + n * list.length
        latency[number] = nowMs - (startMs + number * intervalMs)
      }
    },
  })

  let endUsage
  await new Promise(resolve => {
    startMs = performance.now() + 5
    const turn = () => {
      const nowMs = performance.now()
      for (; sent < total && startMs + sent * intervalMs <= nowMs; sent++) {
        if (sent === warm) endUsage = startUsage(serverPid)
        const conn = list[sent % list.length]
        conn.protocol.putUplink(conn)
        out.flush(conn.socket)
        late[sent] = performance.now() - (startMs + sent * intervalMs)
      }
      if (sent < total) setImmediate(turn)
      else resolve()
    }
    turn()
  })
  const usage = endUsage()
  const endMs = performance.now() + drainMsMax
  while (performance.now() < endMs && counts.answered < total) await wait(drainPollMs)

  const sorted = latency.subarray(warm).sort()
  return {
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
    p999Ms: quantile(sorted, 0.999),
    lateMs: quantile(late.subarray(warm).sort(), 0.99),
    unanswered: total - counts.answered,
    usage,
    ...withSamples ? { samples: [...sorted] } : {},
  }
}
