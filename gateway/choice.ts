import type { NodeRow } from '../projections/nodes.js'
import type { Transport } from '../schemas/facts.js'

export interface ChoiceRequest {
  /** The node table, best after `guardedUpdate`. */
  readonly nodes: readonly NodeRow[]
  readonly transport: Transport
  readonly region: string
  readonly count?: number
  /** The time that `nodes` was read at: a list served while the store is away must not die of age. */
  readonly nowMs: number
  /** 0 up to but without 1. */
  readonly random: () => number
}

/** Below this share of spare capacity a node is overloaded: reports are seconds old when they are read. */
const spareShareMin = 0.05

/**
 * What ip-config answers with (design.md 6): URLs of different nodes, in the order in which a client should try them.
 * Nodes of the region come first, then others; among those by weighted chance, so that a herd of clients spreads.
 *
 * Draining nodes get nobody, however few of their connections they ask to leave: a newcomer might be asked next. Only
 * where all nodes are overloaded or draining does it answer with the least bad ones, rather than with nothing.
 *
 * @returns at most `count`; empty when no node with a URL for the transport is alive
 */
export function chooseEndpoints (request: ChoiceRequest): string[] {
  const { nodes, transport, region, count = 3, nowMs, random } = request
  const alive = nodes.filter(node => nowMs < node.aliveUntilMs && urlOf(node, transport) !== '')
  const steady = alive.filter(({ state }) => state !== 'draining')
  const fit = steady.filter(node => spareShare(node) > spareShareMin)
  const order = fit.length > 0
    ? byRegion(fit, region, some => byChance(some, random))
    : byRegion(steady.length > 0 ? steady : alive, region, some => leastBad(some, count, random))
  // Nodes behind one load balancer share a URL; a client has no use for it twice.
  return [...new Set(order.map(node => urlOf(node, transport)))].slice(0, count)
}

/**
 * Where a node sends clients that it does not want itself: other nodes that are alive, not draining and not overloaded.
 * Unlike ip-config's list it is empty rather than bad, for the client has a node already, or asks ip-config next. It
 * never has a URL of the node's own, which one behind the same load balancer would share: that way might lead back.
 *
 * @param nodeId who asks
 */
export function chooseAlternates (request: ChoiceRequest & { readonly nodeId: string }): string[] {
  const { nodes, nodeId, transport, nowMs } = request
  const own = nodes.find(node => node.nodeId === nodeId)
  const others = nodes.filter(node => nowMs < node.aliveUntilMs && node.state !== 'draining' &&
    spareShare(node) > spareShareMin && (own === undefined || urlOf(node, transport) !== urlOf(own, transport)))
  return chooseEndpoints({ ...request, nodes: others })
}

/**
 * True where another node could take clients of this one by the very URL that they have: it stands behind the same load
 * balancer. It can't be named, for that URL may lead back; its clients are told to ask and connect again.
 */
export function hasPeer ({ nodes, nodeId, nowMs }: Pick<ChoiceRequest, 'nodes' | 'nowMs'> & { nodeId: string }): boolean {
  const own = nodes.find(node => node.nodeId === nodeId)
  return own !== undefined && nodes.some(node => node !== own && nowMs < node.aliveUntilMs && node.state !== 'draining' &&
    spareShare(node) > spareShareMin &&
    ((own.wsUrl !== '' && node.wsUrl === own.wsUrl) || (own.tcpUrl !== '' && node.tcpUrl === own.tcpUrl)))
}

/** True where the node's event loop, its memory or its waits leave so little that ip-config names it to nobody. */
export function isShedding ({ reported }: NodeRow): boolean {
  return Math.min(1 - reported.eventLoopUtilization, spareMemory(reported), spareWait(reported)) <= spareShareMin
}

/**
 * How many more connections the node can take, judged by what it has least of: connections, event loop, memory, or time
 * until uplinks wait for too long.
 * A node of twice the size has twice as much at the same load.
 */
export function spareCapacity (node: NodeRow): number {
  return node.connectionsMax * spareShare(node)
}

/** @returns 0 for none to 1 for all */
function spareShare ({ connectionsMax, reported }: NodeRow): number {
  const { connections, eventLoopUtilization } = reported
  const spareConnections = connectionsMax > 0 ? 1 - connections / connectionsMax : 0
  return Math.min(1, Math.max(0, Math.min(
    spareConnections, 1 - eventLoopUtilization, spareMemory(reported), spareWait(reported))))
}

function spareMemory ({ rssBytes, memoryBytesMax }: NodeRow['reported']): number {
  return memoryBytesMax > 0 ? 1 - rssBytes / memoryBytesMax : 1 // 0 until the first report
}

/** None where uplinks are refused, and before: overload has to last before any is. */
function spareWait ({ waitMs, waitMsMax, admissionLevel }: NodeRow['reported']): number {
  if (admissionLevel > 0) return 0
  return waitMsMax > 0 ? 1 - waitMs / waitMsMax : 1
}

function urlOf (node: NodeRow, transport: Transport) {
  return transport === 'tcp' ? node.tcpUrl : node.wsUrl
}

function byRegion (nodes: readonly NodeRow[], region: string, order: (some: readonly NodeRow[]) => NodeRow[]) {
  const near = nodes.filter(node => node.region === region)
  const far = nodes.filter(node => node.region !== region)
  return [...order(near), ...order(far)]
}

/** In the order of draws without replacement, each with chances by spare capacity. */
function byChance (nodes: readonly NodeRow[], random: () => number): NodeRow[] {
  // After Efraimidis and Spirakis: the times of first arrival, at rates by weight, have just this order.
  return nodes
    .map(node => ({ node, arrival: -Math.log(1 - random()) / spareCapacity(node) }))
    .sort((a, b) => a.arrival - b.arrival)
    .map(({ node }) => node)
}

/** The `count` with most to spare, in random order: whoever has the very most must not get all clients. */
function leastBad (nodes: readonly NodeRow[], count: number, random: () => number): NodeRow[] {
  return [...nodes]
    .sort((a, b) => spareShare(b) - spareShare(a))
    .slice(0, count)
    .map(node => ({ node, draw: random() }))
    .sort((a, b) => a.draw - b.draw)
    .map(({ node }) => node)
}

/**
 * The node table after an update that may be wrong about many nodes at once: a stalled stream or an emptied store looks
 * like the death of everybody. At most half of the nodes that were alive drop out, the longest silent first; the others
 * stay as they were until the next update judges them again, so what is really dead is gone after a few. The last one
 * stays until another comes.
 *
 * A node that stopped as asked always drops out, and counts: there is nothing doubtful about it.
 */
export function guardedUpdate (previous: readonly NodeRow[], next: readonly NodeRow[]): NodeRow[] {
  const rows = new Map(next.map(node => [node.nodeId, node]))
  const wereAlive = previous.filter(({ alive }) => alive)
  const gone = wereAlive.filter(({ nodeId }) => !rows.get(nodeId)?.alive)
  const doubtful = gone
    .filter(({ nodeId }) => rows.get(nodeId)?.state !== 'stopped')
    .sort((a, b) => b.reportedAtMs - a.reportedAtMs)
  const kept = Math.min(doubtful.length, Math.max(0, gone.length - Math.floor(wereAlive.length / 2)))
  for (const node of doubtful.slice(0, kept)) {
    rows.set(node.nodeId, { ...node, aliveUntilMs: Number.MAX_SAFE_INTEGER })
  }
  return [...rows.values()]
}
