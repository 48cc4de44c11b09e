import { nodeRows, type NodeRow } from '../projections/nodes.js'
import type { Tables } from '../projections/tables/tables.js'
import type { Health } from '../schemas/conditions.js'
import { GatewayError } from '../schemas/errors.js'
import { chooseAlternates, chooseEndpoints, guardedUpdate, hasPeer, isShedding } from './choice.js'
import type { IpConfig, IpConfigRequest } from './http/ip-config.js'
import type { AsOf } from './http/shapes.js'
import type { NodeIdentity } from './node.js'
import { NodeSilence } from './node-silence.js'
import { isLiving } from './orphans.js'

/** How old the copy that answers come from may be. */
export const freshMs = 500

/** How long whoever asks may wait for a younger copy, before it gets the one that there is. */
const waitMs = 500

/** How long a node that starts waits to be in the table. */
const ownRowMs = 2_000
/** It looks again after 10 ms, and twice as long each time, up to this. */
const ownWaitMsMax = 250

/** What ip-config tells clients besides endpoints (protocol.md 3, Reconnecting). */
const ttlMs = 300_000
const backoff = { baseMs: 1_000, capMs: 60_000 }

/**
 * This node's copy of the node table; the last good one while the store is away. Leases in it go by this node's clock.
 */
export class NodeTable {
  #rows: NodeRow[] = []
  #asOfMs = 0
  /** By a clock that nobody sets. */
  #readAtMs = -Infinity
  #refreshing: Promise<void> | undefined
  readonly #silence = new NodeSilence()
  /** By partition, how far the table was when it was read: below that it has lost something. */
  readonly #readTo: bigint[] = []

  constructor (
    readonly tables: Tables, readonly partitions: number, readonly heartbeatMs: number, readonly health: Health
  ) {}

  /** Every node, from a copy that is at most so old while the store answers, and the time that it was made. */
  async rows (maxAgeMs = freshMs): Promise<{ rows: readonly NodeRow[], asOfMs: number }> {
    if (performance.now() - this.#readAtMs > maxAgeMs) await soon(this.#refreshing ??= this.#refresh())
    return { rows: this.#rows, asOfMs: this.#asOfMs }
  }

  /** @throws GatewayError `not-ready` before the table was ever read */
  async described (): Promise<{ nodes: readonly NodeRow[], asOf: AsOf }> {
    const { rows: nodes, asOfMs: atMs } = await this.rows()
    if (atMs === 0) throw new GatewayError('not-ready', 'the node table could not be read yet')
    return { nodes, asOf: { position: this.#readTo.map((next, partition) => `${partition}@${next}`).join(','), atMs } }
  }

  /** @throws GatewayError `not-ready` before the table was ever read */
  async ipConfig ({ transport, region }: IpConfigRequest): Promise<IpConfig> {
    const { rows, asOfMs } = await this.rows()
    if (asOfMs === 0) throw new GatewayError('not-ready', 'the node table could not be read yet')
    const endpoints = chooseEndpoints({ nodes: rows, transport, region, nowMs: asOfMs, random: Math.random })
    return { endpoints, ttlMs, heartbeatMs: this.heartbeatMs, backoff, asOfMs }
  }

  /** Where this node sends a client that it does not want: other nodes with room, from the copy as it is. */
  alternates (nodeId: string, transport: 'tcp' | 'ws', region: string): string[] {
    return chooseAlternates({
      nodes: this.#rows, nodeId, transport, region, nowMs: this.#asOfMs, random: Math.random,
    })
  }

  /** True where a client that connects again by the node's own URL may meet another node, behind the same balancer. */
  hasPeer (nodeId: string): boolean {
    return hasPeer({ nodes: this.#rows, nodeId, nowMs: this.#asOfMs })
  }

  /**
   * Resolves once the copy has this life of the node, so that ip-config names it from now on; or after 2 s, for the
   * table may be far behind.
   */
  async awaitNode ({ nodeId, epoch }: NodeIdentity): Promise<void> {
    const untilMs = performance.now() + ownRowMs
    // Nodes that start together, with a table that is behind, must not read all of it a hundred times a second each.
    for (let ms = 10; performance.now() < untilMs; ms = Math.min(2 * ms, ownWaitMsMax)) {
      await this.rows(0)
      if (this.#rows.some(row => row.nodeId === nodeId && row.epoch >= epoch)) return
      await new Promise(resolve => setTimeout(resolve, ms))
    }
  }

  /** True where this life of the node is over, as its row says: what is absent from the table proves nothing. */
  hasEnded (nodeId: string, epoch: number): boolean {
    const row = this.#rows.find(row => row.nodeId === nodeId)
    return row !== undefined && (row.epoch > epoch || (row.epoch === epoch && !isLiving(row.state)))
  }

  /** True where the node, by its own last report, is too busy for newcomers. */
  sheds (nodeId: string): boolean {
    const row = this.#rows.find(row => row.nodeId === nodeId)
    return row !== undefined && isShedding(row)
  }

  /** True where another node is alive that does all of this. */
  isDoneElsewhere (nodeId: string, roles: readonly string[]): boolean {
    return roles.every(role => this.#rows.some(row =>
      row.nodeId !== nodeId && this.#asOfMs < row.aliveUntilMs && row.roles.split(',').includes(role)))
  }

  /** Other living nodes that have one of the roles, from the copy as it is. */
  nodesBeside (nodeId: string, roles: readonly string[]): string[] {
    return this.#rows
      .filter(row => row.nodeId !== nodeId && isLiving(row.state))
      .filter(row => row.roles.split(',').some(role => roles.includes(role)))
      .map(row => row.nodeId)
  }

  async #refresh (): Promise<void> {
    try {
      const [nowMs, startMs] = [Date.now(), performance.now()]
      const rows = []
      for await (const row of this.tables.scan('nodes')) rows.push(row)
      await this.#checkPositions() // after the rows: they are of a table that was as far as that
      const judged = this.#silence.judge(nodeRows(rows, nowMs), { nowMs, steadyMs: startMs })
      this.#rows = guardedUpdate(this.#rows, judged.rows)
      this.#asOfMs = judged.asOfMs
      this.#readAtMs = startMs
      this.health.end('node-table', 'copy')
    } catch (err) {
      this.health.begin('node-table', (err as Error).message, 'copy')
      // The store is away, or reads the table again from the log: the last good copy stays, and says how old it is.
    } finally {
      this.#refreshing = undefined
    }
  }

  /** @throws where a part of the table is not as far as it was: it was emptied, or is an old copy */
  async #checkPositions (): Promise<void> {
    const partitions = Array.from({ length: this.partitions }, (_, partition) => partition)
    const positions = await Promise.all(partitions.map(partition => this.tables.position('nodes', partition)))
    for (const [partition, { next }] of positions.entries()) {
      const readTo = this.#readTo[partition] ?? 0n
      if (next < readTo) throw new Error(`table nodes, partition ${partition}: at ${next}, and it was at ${readTo}`)
      this.#readTo[partition] = next
    }
  }
}

/** The same, but not for long: a store that is frozen answers after seconds, or never. */
async function soon (work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([work, new Promise<void>(resolve => { timer = setTimeout(resolve, waitMs) })])
  clearTimeout(timer)
}
