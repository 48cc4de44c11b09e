import { idle } from './idle.js'
import { latency, uplinks } from './uplinks.js'
import { replay } from './replay.js'
import { joins, posts } from './rooms.js'
import { signals, downlinks } from './fanout.js'
import { jitter, office, roomJitter, roomRestart } from './network.js'

/**
 * @typedef {object} Measurement
 * @property {string} id
 * @property {string} title
 * @property {Figure[]} figures the first one is drawn
 * @property {string[]} peers
 * @property {(ctx: Context) => Promise<object>} run one round with one peer; returns the figures by key, and whatever
 *   else belongs into results.json; `usage` shows both sides' work
 *
 * @typedef {'perSecond' | 'ms' | 'bytes' | 'share' | 'count'} Unit
 * @typedef {{ key: string, label: string, unit: Unit, lower?: boolean }} Figure
 *
 * @typedef {object} Context
 * @property {import('../peers/peers.js').Peer} peer
 * @property {import('../options.js').Options} options
 * @property {string} dataDir fresh and empty, removed after the round
 */

const withOwnClients = ['ledgerline-tcp', 'ledgerline-ws', 'socket.io-recovery']
const withRooms = ['ledgerline-tcp', 'ledgerline-ws', 'socket.io']
const all = ['ledgerline-tcp', 'ledgerline-ws', 'socket.io', 'ws', 'aedes', 'mosquitto']

/** @type {Figure[]} of clients on a bad network */
const whatCame = [
  { key: 'replayP99Ms', label: 'back to complete, p99', unit: 'ms', lower: true },
  { key: 'replayP50Ms', label: 'p50', unit: 'ms', lower: true },
  { key: 'deliveredShare', label: 'delivered', unit: 'share' },
  { key: 'repeats', label: 'delivered twice', unit: 'count', lower: true },
  { key: 'outOfOrder', label: 'out of order', unit: 'count', lower: true },
]

/** @type {Measurement[]} */
export const measurements = [
  {
    id: 'idle',
    title: 'Memory per idle connection',
    figures: [
      { key: 'bytes', label: 'RSS per connection', unit: 'bytes', lower: true },
      { key: 'anonBytes', label: 'anonymous only', unit: 'bytes', lower: true },
    ],
    peers: all,
    run: idle,
  },
  {
    id: 'uplinks-1',
    title: 'Uplinks acked a second, 1 outstanding on each of 200 connections',
    figures: [{ key: 'perSecond', label: 'acked /s', unit: 'perSecond' }],
    peers: all,
    run: uplinks(1),
  },
  {
    id: 'uplinks-16',
    title: 'Uplinks acked a second, 16 outstanding on each of 200 connections',
    figures: [{ key: 'perSecond', label: 'acked /s', unit: 'perSecond' }],
    peers: all,
    run: uplinks(16),
  },
  {
    id: 'latency',
    title: 'Uplink to ack at 5,000 a second over 200 connections',
    figures: [
      { key: 'p50Ms', label: 'p50', unit: 'ms', lower: true },
      { key: 'p99Ms', label: 'p99', unit: 'ms', lower: true },
      { key: 'p999Ms', label: 'p99.9', unit: 'ms', lower: true },
    ],
    peers: all,
    run: latency,
  },
  {
    id: 'signals',
    title: 'Signals delivered a second, fanned out to 200 WebSockets',
    figures: [{ key: 'perSecond', label: 'delivered /s', unit: 'perSecond' }],
    peers: ['ledgerline-ws', 'socket.io', 'ws'],
    run: signals,
  },
  {
    id: 'downlinks',
    title: 'Downlinks delivered and acked a second, to 200 users (durable with Ledgerline alone)',
    figures: [{ key: 'perSecond', label: 'delivered /s', unit: 'perSecond' }],
    peers: ['ledgerline-tcp', 'ledgerline-ws', 'socket.io', 'aedes', 'mosquitto'],
    run: downlinks,
  },
  {
    id: 'room',
    title: 'Posts delivered a second, 1 room of 200 members (durable with Ledgerline alone)',
    figures: [{ key: 'perSecond', label: 'delivered /s', unit: 'perSecond' }],
    peers: withRooms,
    run: posts(1, 200),
  },
  {
    id: 'rooms',
    title: 'Posts delivered a second, 1,000 rooms of 20 members (durable with Ledgerline alone)',
    figures: [{ key: 'perSecond', label: 'delivered /s', unit: 'perSecond' }],
    peers: withRooms,
    run: posts(1_000, 20),
  },
  {
    id: 'joins',
    title: 'Joins a second: 2,000 connections, each in 100 of 1,000 rooms',
    figures: [
      { key: 'perSecond', label: 'joins /s', unit: 'perSecond' },
      { key: 'bytes', label: 'heap per membership', unit: 'bytes', lower: true },
    ],
    peers: withRooms,
    run: joins,
  },
  {
    id: 'replay',
    title: 'Ledger entries replayed a second: read, decoded, folded',
    figures: [{ key: 'perSecond', label: 'entries /s', unit: 'perSecond' }],
    peers: ['ledgerline-tcp'],
    run: replay,
  },
  {
    id: 'jitter',
    title: '1,000 clients on a bad network: each cut every 15 s in the mean and away for 2 s; 5 messages a second to all',
    figures: whatCame,
    peers: withOwnClients,
    run: jitter,
  },
  {
    id: 'room-jitter',
    title: '5,000 clients in 50 rooms on a bad network: each cut every 15 s in the mean and away for 2 s; a post a second in each room',
    figures: whatCame,
    peers: withOwnClients,
    run: roomJitter,
  },
  {
    id: 'room-restart',
    title: 'The same, and the gateway is killed halfway and started again',
    figures: whatCame,
    peers: ['ledgerline-tcp', 'ledgerline-ws'],
    run: roomRestart,
  },
  {
    id: 'office',
    title: '500 clients behind one address, all cut at once, 20 messages to each around it; limits as they are by default',
    figures: [
      { key: 'backMs', label: 'all are back', unit: 'ms', lower: true },
      { key: 'deliveredShare', label: 'delivered', unit: 'share' },
      { key: 'ended', label: 'ended for good', unit: 'count', lower: true },
    ],
    peers: withOwnClients,
    run: office,
  },
]
