import { chooseEndpoints, guardedUpdate } from '../../dist/gateway/choice.js'
import { freshMs } from '../../dist/gateway/node-table.js'

const count = 3

/** Ways to choose the endpoints of an answer. Each gets rows of nodes that are alive. */
export const policies = {
  /** Production's. */
  ledgerline: (rows, nowMs, random) =>
    chooseEndpoints({ nodes: rows, transport: 'ws', region: 'local', count, nowMs, random }),

  'round-robin': roundRobin(),

  'least-connections': rows => [...rows]
    .sort((a, b) => a.reported.connections - b.reported.connections)
    .slice(0, count)
    .map(({ wsUrl }) => wsUrl),
}

function roundRobin () {
  let next = 0
  return rows => {
    const first = next++
    return Array.from({ length: Math.min(count, rows.length) }, (_, i) => rows[(first + i) % rows.length].wsUrl)
  }
}

/** Answers from a copy of the node table, as old as production's may be. */
export class IpConfig {
  away = false
  #rows = []
  #asOfMs = -Infinity

  constructor (nodes, policy, random) {
    this.nodes = nodes
    this.policy = policies[policy]
    this.random = random
  }

  endpoints (nowMs) {
    if (nowMs - this.#asOfMs > freshMs) {
      const rows = this.nodes.map(node => node.row(nowMs)).filter(Boolean)
      this.#rows = guardedUpdate(this.#rows, rows.map(row => ({ ...row, alive: nowMs < row.aliveUntilMs })))
      this.#asOfMs = nowMs
    }
    return this.policy(this.#rows.filter(({ aliveUntilMs }) => nowMs < aliveUntilMs), nowMs, this.random)
  }
}
