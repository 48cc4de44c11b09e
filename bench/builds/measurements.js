import { asThePeers } from './as-the-peers.js'
import { fairLog, fairUser } from './fairness.js'
import { flood, pushes } from './flood.js'
import { idle } from '../measure/idle.js'
import { latency, uplinks } from '../measure/uplinks.js'
import { pushBytes } from './push-bytes.js'
import { snapshot } from './snapshot.js'
import { tail } from './tail.js'
import { waiting } from './waiting.js'

/**
 * @typedef {object} Measurement
 * @property {string} id
 * @property {string} title
 * @property {import('../measure/measurements.js').Figure[]} figures
 * @property {Record<string, string>} rows labels by name, of each build; `all` where there is one row
 * @property {number} rounds by default
 * @property {(ctx: Context) => Promise<{ rows: Record<string, object> }>} run one round of one build
 *
 * @typedef {object} Context
 * @property {string} program
 * @property {string} dataDir fresh and empty
 * @property {string | undefined} profileDir
 * @property {import('./options.js').Options} options
 */

const transports = { tcp: 'TCP', ws: 'WebSocket' }
const acked = [{ key: 'perSecond', label: 'acked /s', unit: 'perSecond' }]
const lower = (key, label, unit) => ({ key, label, unit, lower: true })
const quantiles = [lower('p50Ms', 'p50', 'ms'), lower('p99Ms', 'p99', 'ms'), lower('p999Ms', 'p99.9', 'ms')]
const others = [
  lower('p99Ratio', 'others\' p99 to calm', 'ratio'),
  lower('calmP99Ms', 'calm p99', 'ms'),
  lower('p99Ms', 'p99 meanwhile', 'ms'),
  lower('maxMs', 'longest', 'ms'),
]
const disk = [
  lower('diskCalmP99Ms', 'the disk\'s own p99, calm', 'ms'),
  lower('diskP99Ms', 'the disk\'s own p99 meanwhile', 'ms'),
]
const waitingFigures = [
  lower('bytesRatio', 'bytes written, to a user without', 'ratio'),
  lower('handedRatio', 'bytes handed to the kernel', 'ratio'),
  lower('fullBytes', 'written for it', 'bytes'),
  lower('emptyBytes', 'for one without', 'bytes'),
  ...others,
  lower('rssBytesMax', 'RSS, most', 'bytes'),
]
const memory = [
  lower('rssBytesMax', 'RSS, most', 'bytes'),
  lower('anonBytesMax', 'anonymous only', 'bytes'),
  lower('afterBytes', 'RSS 10 s after', 'bytes'),
  ...others,
  ...disk,
  { key: 'takenBytes', label: 'given to it', unit: 'bytes' },
  lower('diskBytes', 'grown on the disk', 'bytes'),
]
const one = { all: '' }

/** @type {Measurement[]} */
export const measurements = [
  {
    id: 'uplinks-1',
    title: 'Uplinks acked a second, 1 outstanding on each of 200 connections',
    figures: acked,
    rows: transports,
    rounds: 3,
    run: asThePeers(uplinks(1)),
  },
  {
    id: 'uplinks-16',
    title: 'Uplinks acked a second, 16 outstanding on each of 200 connections',
    figures: acked,
    rows: transports,
    rounds: 3,
    run: asThePeers(uplinks(16)),
  },
  {
    id: 'latency',
    title: 'Uplink to ack at 5,000 a second over 200 connections',
    figures: quantiles,
    rows: transports,
    rounds: 3,
    run: asThePeers(latency),
  },
  {
    id: 'tail',
    title: 'Uplink to ack at 5,000 a second over TCP, and fdatasync of as many bytes as often, in turns on the same disk',
    figures: quantiles,
    rows: { uplinks: 'uplink to ack', disk: 'the disk' },
    rounds: 2,
    run: tail,
  },
  {
    id: 'idle',
    title: 'Memory per idle connection',
    figures: [lower('bytes', 'RSS per connection', 'bytes'), lower('anonBytes', 'anonymous only', 'bytes')],
    rows: transports,
    rounds: 1,
    run: asThePeers(idle),
  },
  {
    id: 'waiting-left',
    title: '8 small pushes to a user with 60 MB waiting (940 x 64 KB), whose device left',
    figures: waitingFigures,
    rows: one,
    rounds: 1,
    run: waiting({ devices: 1, waiting: 940, payloadBytes: 64_000, pushes: 8 }),
  },
  {
    id: 'waiting-never',
    title: '8 small pushes to a user with 60 MB waiting (940 x 64 KB), who never came',
    figures: waitingFigures,
    rows: one,
    rounds: 1,
    run: waiting({ devices: 0, waiting: 940, payloadBytes: 64_000, pushes: 8 }),
  },
  {
    id: 'waiting-devices',
    title: '4 small pushes to a user with 20 MB waiting (940 x 21 KB) for each of 64 devices that left',
    figures: waitingFigures,
    rows: one,
    rounds: 1,
    run: waiting({ devices: 64, waiting: 940, payloadBytes: 21_000, pushes: 4 }),
  },
  {
    id: 'push-bytes',
    title: 'Written to the disk by an idle gateway, everything that follows included',
    figures: [
      lower('bytes', 'written', 'bytes'),
      lower('handedBytes', 'handed to the kernel', 'bytes'),
      lower('commits', 'commits', 'count'),
    ],
    rows: {
      connected: 'a push to a connected user',
      absent: 'a push to an absent user',
      uplink: 'an uplink',
      connect: 'a connect',
    },
    rounds: 1,
    run: pushBytes,
  },
  {
    id: 'snapshot',
    title: 'Saved state written a checkpoint, of a user with one device, online, who acks',
    figures: [lower('bytes', 'a checkpoint', 'bytes'), lower('bytesMax', 'largest', 'bytes')],
    rows: { during: '1,000 pushes, 100 a second', after: 'after them, 5 a second' },
    rounds: 1,
    run: snapshot,
  },
  {
    id: 'flood-largest',
    title: '30 clients send the largest frames within the default limits: 64 KB, 100 a second each',
    figures: memory,
    rows: one,
    rounds: 1,
    run: flood({ count: 30, payloadBytes: [65_000], perSecond: 100 }),
  },
  {
    id: 'flood-greedy',
    title: '300 clients send uplinks of 30 to 65 KB as fast as they can and never read',
    figures: memory,
    rows: one,
    rounds: 1,
    run: flood({ count: 300, payloadBytes: [30_000, 40_000, 50_000, 65_000], reads: false }),
  },
  {
    id: 'flood-unlimited',
    title: '10 clients send uplinks of 65 KB as fast as acks let them, rate limits off',
    figures: memory,
    rows: one,
    rounds: 1,
    run: flood({ count: 10, payloadBytes: [65_000], limits: 'off' }),
  },
  {
    id: 'pushes-deaf',
    title: '25 pushes of 60 KB to 200 clients that never read',
    figures: memory,
    rows: one,
    rounds: 1,
    run: pushes({ deaf: 200, pushes: 25, payloadBytes: 60_000, everyMs: 400 }),
  },
  {
    id: 'pushes-many',
    title: '6 pushes of 60 KB to 1,000 users, half of them there',
    figures: memory,
    rows: one,
    rounds: 1,
    run: pushes({ there: 500, absent: 500, pushes: 6, payloadBytes: 60_000, everyMs: 1_000 }),
  },
  {
    id: 'fair-log',
    title: 'An append of 10 bytes beside five busy partitions of the embedded log',
    figures: [
      lower('commitsP99', 'commits until durable, p99', 'count'),
      lower('commitsMax', 'most', 'count'),
      lower('p99Ms', 'p99', 'ms'),
    ],
    rows: { sixth: 'to a sixth partition', uplinks: 'to `uplinks`' },
    rounds: 1,
    run: fairLog,
  },
  {
    id: 'fair-user',
    title: '1,000 users send one uplink a second each beside one who sends up to 100,000',
    figures: [...others, { key: 'hotPerSecond', label: 'his acked /s', unit: 'perSecond' }],
    rows: one,
    rounds: 2,
    run: fairUser,
  },
]
