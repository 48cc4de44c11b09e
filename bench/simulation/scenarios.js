import { Clients } from './clients.js'
import { Clock } from './clock.js'
import { IpConfig } from './ip-config.js'
import { Node } from './nodes.js'
import { exponential, seeded } from './random.js'
import { Tally } from './tally.js'

const bucketMs = 250
const zones = 6
/** What the SDK waits at most before its first attempt. */
const baseMs = 1_000

/** Ends of nodes, with every client connected before. `back`: after how long they have started again. */
export const failures = [
  { id: 'node', title: 'A node with 1 % of the clients dies', dies: node => node.index === 0, watchMs: 60_000 },
  { id: 'zone', title: 'A zone with 17 % of the clients dies', dies: node => node.zone === 0, watchMs: 120_000 },
  { id: 'restart', title: 'Everything restarts, and is away for 30 s', dies: () => true, backMs: 30_000, watchMs: 240_000 },
]

/**
 * @returns attempts a second over time, and what is to be read off them: `steady` is the rate of the backoff's first
 *   interval, everybody's first attempt spread over it; `peakShare` the highest rate of any bucket as a share of that,
 *   `laterShare` of any bucket after that interval
 */
export async function fail (failure, { clients: count, nodes: nodeCount, seed }) {
  const random = seeded(seed)
  const clock = new Clock(count + 1)
  const nodes = fleet(nodeCount, count)
  const ipConfig = new IpConfig(nodes, 'ledgerline', random)
  const tally = new Tally(bucketMs)
  const clients = new Clients({ count, clock, nodes, ipConfig, random, tally })
  await settle(clients, count, clock, nodes)

  tally.fromMs = clock.nowMs
  const lost = nodes.filter(failure.dies)
  let left = 0
  for (const node of lost) {
    left += node.connections
    node.die()
    clients.lose(node)
  }
  const startMs = clock.nowMs
  if (failure.backMs !== undefined) {
    ipConfig.away = true
    await clock.run(startMs + failure.backMs, (id, round) => clients.handle(id, round))
    ipConfig.away = false
    for (const node of lost) node.restart(clock.nowMs)
  }
  await clock.run(startMs + failure.watchMs, (id, round) => clients.handle(id, round))

  const attempts = tally.attemptRates()
  const steady = left / (baseMs / 1000)
  const afterFirst = Math.ceil(baseMs / bucketMs)
  return {
    id: failure.id,
    title: failure.title,
    bucketMs,
    left,
    steady,
    attempts,
    connected: tally.connectedRates(),
    peakShare: Math.max(...attempts) / steady,
    laterShare: Math.max(...attempts.slice(afterFirst)) / steady,
    backMs: { most: tally.reached(Math.ceil(0.99 * left)), all: tally.reached(left) },
    failed: tally.failed,
    redirected: tally.redirected,
    spread: spreadOf(nodes.filter(({ alive }) => alive)),
    backToFull: clients.connected === count,
  }
}

const dayMs = 86_400_000
const stayMs = 7_200_000

/**
 * A day of people who come and go, by day more than by night: the spread between fullest and emptiest node, as a share
 * of the mean, by the minute. It is judged from the second hour on, when the start is forgotten.
 */
export async function churn (policy, { clients: count, nodes: nodeCount, seed, hours = 24 }, tick) {
  const random = seeded(seed)
  const clock = new Clock(count + 1)
  const nodes = fleet(nodeCount, count)
  const ipConfig = new IpConfig(nodes, policy, random)
  const tally = new Tally(60_000)
  // From 45 % of all at night to 85 % by day are connected at a time.
  const share = () => 0.65 - 0.2 * Math.cos(2 * Math.PI * clock.nowMs / dayMs)
  const awayMs = () => stayMs * (1 - share()) / share()
  const clients = new Clients({ count, clock, nodes, ipConfig, random, tally, churn: { stayMs, awayMs } })
  for (let id = 0; id < count; id++) {
    clients.comeIn(id, random() < share() ? random() * 300_000 : exponential(random, awayMs()))
  }
  const spreads = []
  const connected = []
  const minutes = hours * 60
  for (let minute = 1; minute <= minutes; minute++) {
    await clock.run(minute * 60_000, (id, round) => clients.handle(id, round))
    spreads.push(spreadOf(nodes))
    connected.push(clients.connected)
    tick?.(minute / minutes)
  }
  const judged = spreads.slice(120)
  return {
    policy,
    spreads,
    connected,
    worst: Math.max(...judged),
    median: [...judged].sort((a, b) => a - b)[judged.length >> 1],
    connects: tally.connectedRates().reduce((sum, rate) => sum + rate * 60, 0),
  }
}

function fleet (nodeCount, clients) {
  // Two thirds full when all are there, as one keeps them to bear the loss of a zone.
  const connectionsMax = Math.ceil(1.5 * clients / nodeCount)
  return Array.from({ length: nodeCount }, (_, i) => new Node(i, i % zones, connectionsMax))
}

/** All clients connected over five minutes, as ip-config spreads them. */
async function settle (clients, count, clock, nodes) {
  const partMs = 500
  const parts = 600
  for (let part = 0; part < parts; part++) {
    await clock.run(clock.nowMs + partMs, () => {})
    const to = Math.floor((part + 1) * count / parts)
    for (let id = Math.floor(part * count / parts); id < to; id++) await clients.place(id)
  }
  // Two reports later the table is as it is with everybody connected.
  await clock.run(clock.nowMs + 10_000, () => {})
  for (const node of nodes) node.row(clock.nowMs)
}

function spreadOf (nodes) {
  let least = Infinity
  let most = 0
  let sum = 0
  for (const { connections } of nodes) {
    if (connections < least) least = connections
    if (connections > most) most = connections
    sum += connections
  }
  return (most - least) / (sum / nodes.length)
}
