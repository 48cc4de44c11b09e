import { setTimeout as wait } from 'node:timers/promises'
import { Connections, protocolNamed } from '../load/connections.js'
import { payloadBytes } from '../load/generator.js'
import { secret } from './nodes.js'

export const protocol = 'ledgerline-tcp'
export const clientCount = 200

/** Tables that follow the ledger and user actors are up to date by then. */
const connectedSettleMs = 1_000
/** How long clients wait for their last acks before they close; the edges would wait for them, too. */
const lastAcksMsMax = 10_000
const lastAcksPollMs = 5

let runs = 0

/** What the load connects to: all edges that run, in turn, as users that no run before had. */
export function targetOf (nodes) {
  return { ports: nodes.edgePorts, secret, users: `run${++runs}` }
}

export function protocolFor (target) {
  return protocolNamed(protocol, target, Buffer.alloc(payloadBytes, 'ledgerline '))
}

/**
 * Opens one connection each of `clientCount` users, half of them on each of two edges, and closes them after `use`.
 * Fails with the first connection that does.
 *
 * @template T
 * @param {import('./nodes.js').Nodes} nodes
 * @param {(connections: Connections) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withClients (nodes, use) {
  const target = targetOf(nodes)
  const connections = new Connections(target, protocolFor(target))
  try {
    await connections.open(clientCount)
    await wait(connectedSettleMs)
    return await Promise.race([use(connections).finally(() => lastAcks(connections.list)), connections.failure])
  } finally {
    for (const { socket } of connections.list) socket.destroy()
  }
}

/** @param {import('../load/connections.js').Connection[]} list none of which sends any more */
export async function lastAcks (list) {
  const endMs = performance.now() + lastAcksMsMax
  while (performance.now() < endMs && list.some(({ acked, sent }) => acked < sent)) await wait(lastAcksPollMs)
}
