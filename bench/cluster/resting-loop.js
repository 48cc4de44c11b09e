import { setTimeout as wait } from 'node:timers/promises'
import { out } from '../load/outgoing.js'
import { quantile } from '../load/quantile.js'

const drainMsMax = 10_000
const drainPollMs = 5

/**
 * Sends at a fixed rate, whether answers come or not, and rests in between: on cores that load and servers share, a
 * loop that spins to be on time (load/open-loop.js) would take one from them. The price is the timer's millisecond, so
 * a latency counts from when the uplink left; `lateMs` says how long after its time that was.
 *
 * @param {import('../load/connections.js').Connections} connections all open; uplinks go to them in turn
 * @param {{ perSecond: number, windowMs: number }} options
 * @returns {Promise<{ p50Ms: number, p99Ms: number, lateMs: number, unanswered: number }>} `lateMs` is a 99th
 *   percentile; unanswered uplinks count as `drainMsMax`
 */
export async function restingLoop (connections, { perSecond, windowMs }) {
  const { list } = connections
  const intervalMs = 1000 / perSecond
  const total = Math.round(windowMs / intervalMs)
  const leftAtMs = new Float64Array(total)
  const late = new Float64Array(total)
  const latency = new Float64Array(total).fill(drainMsMax)
  const first = list.map(conn => conn.acked)
  const counts = { answered: 0 }
  let sent = 0

  connections.drive({
    progress (conn, acks) {
      const nowMs = performance.now()
      // The nth uplink of connection i is number i + n * connections; acks come in order.
      let n = conn.acked - acks - first[conn.index]
      for (; acks > 0; acks--, n++, counts.answered++) {
        const number = conn.index + n * list.length
        latency[number] = nowMs - leftAtMs[number]
      }
    },
  })

  await new Promise(resolve => {
    const startMs = performance.now()
    const turn = () => {
      for (; sent < total && startMs + sent * intervalMs <= performance.now(); sent++) {
        const conn = list[sent % list.length]
        conn.protocol.putUplink(conn)
        leftAtMs[sent] = performance.now()
        late[sent] = leftAtMs[sent] - (startMs + sent * intervalMs)
        out.flush(conn.socket)
      }
      if (sent < total) setTimeout(turn, 1)
      else resolve()
    }
    turn()
  })
  const endMs = performance.now() + drainMsMax
  while (performance.now() < endMs && counts.answered < total) await wait(drainPollMs)

  const sorted = latency.sort()
  return {
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
    lateMs: quantile(late.sort(), 0.99),
    unanswered: total - counts.answered,
  }
}
