import { setTimeout as wait } from 'node:timers/promises'
import { closedLoop } from '../load/closed-loop.js'
import { withClients } from './clients.js'
import { bucketsOf, quantilesBetween } from './histogram.js'
import { restingLoop } from './resting-loop.js'
import { pidsOf, startShares } from './shares.js'

const perSecond = 1_000
const outstanding = 16
const lateMsMax = 10
const edges = ['e1', 'e2']
const logSeconds = 'ledgerline_uplink_log_seconds'
const accessSeconds = 'ledgerline_uplink_access_seconds'

/** A fixed rate; beside the clients' own view what the edges say of the log's share and of everything else. */
export function latency ({ nodes, servers, options }) {
  return withClients(nodes, async connections => {
    await restingLoop(connections, { perSecond, windowMs: options.warmMs })
    const before = await metricsOf(nodes)
    const endShares = startShares(pidsOf({ nodes, servers }))
    const windowMs = 2 * options.windowMs
    const { lateMs, unanswered, ...whole } = await restingLoop(connections, { perSecond, windowMs })
    const shares = endShares()
    const after = await metricsOf(nodes)
    if (unanswered > 0) throw new Error(`${unanswered} uplinks were not acked`)
    const log = partOf(before, after, logSeconds)
    const access = partOf(before, after, accessSeconds)
    const usage = { ...usageOf(shares), loadBound: lateMs > lateMsMax }
    return { rows: { whole: { ...whole, usage }, log, access }, shares, lateMs, samples: log.samples }
  })
}

/** As many as the cluster acks. */
export function saturated ({ nodes, servers, options: { warmMs, windowMs } }) {
  return withClients(nodes, async connections => {
    const shares = wait(warmMs).then(async () => {
      const endShares = startShares(pidsOf({ nodes, servers }))
      await wait(windowMs)
      return endShares()
    })
    // The loop looks at one server; here `startShares` looks at all of them.
    const { perSecond } = await closedLoop(connections, { outstanding, warmMs, windowMs, serverPid: process.pid })
    return { rows: { cluster: { perSecond, usage: usageOf(await shares) } }, shares: await shares }
  })
}

function metricsOf (nodes) {
  return Promise.all(edges.map(name => nodes.ask(name, '/metrics')))
}

function partOf (before, after, name) {
  const { samples, quantiles } = quantilesBetween(bucketsOf(before, name), bucketsOf(after, name), [0.5, 0.99])
  return { p50Ms: 1000 * quantiles[0], p99Ms: 1000 * quantiles[1], samples }
}

/** In the words of the other tables: the nodes are the server. */
function usageOf ({ edges = null, users = null, projections = null, load = null, others = null }) {
  return { serverCpu: edges === null ? null : edges + users + projections, loadCpu: load, othersCpu: others }
}
