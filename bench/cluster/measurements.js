import { clientCpu } from './client-cpu.js'
import { embedded } from './embedded.js'
import { killEdge, killUsers } from './kills.js'
import { latency, saturated } from './uplinks.js'

/**
 * @typedef {object} Measurement
 * @property {string} id
 * @property {string} title
 * @property {{ key: string, label: string, unit: string, lower?: boolean }[]} figures
 * @property {{ name: string, label: string, own: boolean }[]} rows `own` is drawn as ours
 * @property {'nodes' | 'servers' | 'none'} needs the whole cluster, Kafka alone, or neither
 * @property {(ctx: Context) => Promise<{ rows: Record<string, object> }>} run one round; returns figures by row and
 *   key, and whatever else belongs into cluster.json
 *
 * @typedef {object} Context
 * @property {import('./nodes.js').Nodes} nodes
 * @property {Awaited<ReturnType<import('./servers.js').startServers>>} servers
 * @property {import('./options.js').Options} options
 * @property {string} temporary directory
 * @property {string | undefined} profileDir
 */

const quantiles = [
  { key: 'p50Ms', label: 'p50', unit: 'ms', lower: true },
  { key: 'p99Ms', label: 'p99', unit: 'ms', lower: true },
]
const ackedPerSecond = [{ key: 'perSecond', label: 'acked /s', unit: 'perSecond' }]
const healing = [{ key: 'ms', label: 'after the kill', unit: 'ms', lower: true }]
const builds = [{ name: 'this', label: 'this build', own: true }, { name: 'other', label: 'the other build', own: false }]

/** @type {Measurement[]} */
export const measurements = [
  {
    id: 'latency',
    title: 'Uplink to ack at 1,000 a second over 200 connections, two edges',
    figures: quantiles,
    rows: [
      { name: 'whole', label: 'at the clients', own: true },
      { name: 'log', label: 'the log\'s share', own: false },
      { name: 'access', label: 'everything else', own: true },
    ],
    needs: 'nodes',
    run: latency,
  },
  {
    id: 'saturated',
    title: 'Uplinks acked a second, 16 outstanding on each of 200 connections, two edges',
    figures: ackedPerSecond,
    rows: [{ name: 'cluster', label: 'the cluster', own: true }],
    needs: 'nodes',
    run: saturated,
  },
  {
    id: 'client-cpu',
    title: 'CPU of the log\'s client for one ledger entry, produced and consumed',
    figures: [{ key: 'nsPerEntry', label: 'ns per entry', unit: 'ns', lower: true }],
    rows: [{ name: 'log', label: 'the log\'s client', own: true }],
    needs: 'servers',
    run: clientCpu,
  },
  {
    id: 'kill-users',
    title: 'kill -9 of a users node: acks flow again for all of 200 users',
    figures: healing,
    rows: [{ name: 'acks', label: 'all users acked', own: true }],
    needs: 'nodes',
    run: killUsers,
  },
  {
    id: 'kill-edge',
    title: 'kill -9 of an edge: its 100 clients are on the other one',
    figures: healing,
    rows: [
      { name: 'resumed', label: 'sessions resumed', own: true },
      { name: 'presence', label: 'presence right', own: true },
    ],
    needs: 'nodes',
    run: killEdge,
  },
  {
    id: 'embedded-1',
    title: 'Without a cluster: uplinks acked a second, 1 outstanding on each of 200 connections',
    figures: ackedPerSecond,
    rows: builds,
    needs: 'none',
    run: embedded(1),
  },
  {
    id: 'embedded-16',
    title: 'Without a cluster: uplinks acked a second, 16 outstanding on each of 200 connections',
    figures: ackedPerSecond,
    rows: builds,
    needs: 'none',
    run: embedded(16),
  },
]
