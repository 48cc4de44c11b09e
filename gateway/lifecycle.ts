import type { EventLog, Following } from '../ledger/log.js'
import { nodeRows, type NodeRow } from '../projections/nodes.js'
import { openRoutes, type Route } from '../projections/routing.js'
import type { Tables } from '../projections/tables/tables.js'
import type { Entry } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger, nodes } from '../schemas/streams.js'
import type { NodeIdentity } from './node.js'

const sweepEveryMs = 500
/** A node's first connections may be in the routing table before the node table knows the node. */
const unknownForMs = 60_000
/** How long the routing table may take to hold what the ledger held when a node ended. */
const caughtUpWithinMs = 60_000
const entriesPerAppend = 500

export interface LifecycleDeps {
  readonly log: EventLog
  readonly tables: Tables
  /** This process: its own reports coming back show that the way of all reports is open. */
  readonly identity: NodeIdentity
  readonly leaseMs: number
  failed (what: string, error: Error, fields: object): void
}

/** What the watcher has seen of a node, by its own clock: others' clocks may differ. */
interface Seen { readonly row: NodeRow, readonly reportedAtMs: number, readonly atMs: number }

/**
 * Watches the leases of all nodes: one whose report has not changed for its lease is declared lost, once, and the
 * connections of every ended node or epoch are closed in the ledger, so that presence, routing and user actors learn of
 * it alike (design.md 5). One process of the cluster does it, the owner of partition 0 of `nodes`; it keeps nothing, so
 * the next owner just begins.
 *
 * Silence of the whole way (the log or the tables are away) says nothing about nodes: leases run only while this
 * process's own reports come back. And no sweep declares more than half of the nodes lost; the next one waits a lease.
 */
export class Lifecycle {
  readonly #deps: LifecycleDeps
  readonly #seen = new Map<string, Seen>()
  #following: Following | undefined
  #timer: NodeJS.Timeout | undefined
  #sweeping: Promise<void> | undefined
  /** From when on silence counts: the way of reports has been open without a gap for a while. */
  #openSinceMs = 0
  #declaredAtMs = -Infinity
  /** Node ids and epochs that can have connections, as of the last time that others' were closed. */
  #closedFor = ''

  static async start (deps: LifecycleDeps): Promise<Lifecycle> {
    const lifecycle = new Lifecycle(deps)
    lifecycle.#following = await deps.log.follow(nodes, 'lifecycle', {
      async assigned (partition) {
        if (partition === 0) lifecycle.#begin()
        return (await deps.log.bounds(nodes, partition)).next
      },
      received () {},
      async revoked (partition) {
        if (partition === 0) await lifecycle.#end()
      },
    })
    return lifecycle
  }

  private constructor (deps: LifecycleDeps) {
    this.#deps = deps
  }

  async stop (): Promise<void> {
    await this.#following?.stop()
    await this.#end()
  }

  #begin (): void {
    this.#seen.clear()
    this.#openSinceMs = performance.now()
    this.#closedFor = ''
    this.#timer ??= setInterval(() => {
      this.#sweeping ??= this.#sweep()
        .catch(err => { this.#deps.failed('nodes could not be watched', err, {}) })
        .finally(() => { this.#sweeping = undefined })
    }, sweepEveryMs)
  }

  async #end (): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#sweeping
  }

  async #sweep (): Promise<void> {
    const rows = []
    for await (const row of this.#deps.tables.scan('nodes')) rows.push(row)
    const view = nodeRows(rows, Date.now())
    const nowMs = performance.now()
    this.#look(view, nowMs)
    await this.#declareLost(view, nowMs)
    await this.#closeOrphans(view)
  }

  #look (view: readonly NodeRow[], nowMs: number): void {
    const { identity, leaseMs } = this.#deps
    for (const row of view) {
      const seen = this.#seen.get(row.nodeId)
      if (seen?.row.epoch === row.epoch && seen.reportedAtMs === row.reportedAtMs) continue
      this.#seen.set(row.nodeId, { row, reportedAtMs: row.reportedAtMs, atMs: nowMs })
    }
    const own = this.#seen.get(identity.nodeId)
    // After a gap the others get a lease more: their reports were refused, and the next ones wait for their turn.
    if (!own || nowMs - own.atMs > leaseMs / 2) this.#openSinceMs = nowMs + leaseMs
  }

  async #declareLost (view: readonly NodeRow[], nowMs: number): Promise<void> {
    const { log, identity, leaseMs } = this.#deps
    const living = view.filter(({ state }) => state === 'up' || state === 'draining')
    const silent = living.filter(row => row.nodeId !== identity.nodeId &&
      nowMs - Math.max(this.#seen.get(row.nodeId)!.atMs, this.#openSinceMs) > row.leaseMs)
    if (silent.length === 0 || nowMs - this.#declaredAtMs < leaseMs) return
    const lost = silent.slice(0, Math.max(1, Math.floor(living.length / 2)))
    this.#declaredAtMs = silent.length > lost.length ? nowMs : -Infinity
    await Promise.all(lost.map(({ nodeId, epoch }) =>
      log.append(nodes, partitionOf(nodeId, log.partitions(nodes)),
        [{ nodeId, epoch, atMs: Date.now(), fact: { type: 'NodeLost' } }])))
  }

  /** Closes what the routing table shows open on nodes and epochs that are gone, whenever their set has changed. */
  async #closeOrphans (view: readonly NodeRow[]): Promise<void> {
    const living = new Map<string, number>()
    for (const { nodeId, epoch, state } of view) if (state === 'up' || state === 'draining') living.set(nodeId, epoch)
    const key = JSON.stringify([...living])
    if (key === this.#closedFor) return
    await this.#routingCaughtUp()
    // A node that begins anew while the routing table catches up has connections which this view knows nothing of.
    const firstLiving = new Map(view.map(({ nodeId, epoch }) => [nodeId, living.get(nodeId) ?? epoch + 1]))
    const isOrphan = ({ nodeId, nodeEpoch }: Route) =>
      nodeEpoch < (firstLiving.get(nodeId) ?? Date.now() - unknownForMs)
    await endConnections(this.#deps.log, this.#deps.tables, isOrphan, 'its node is gone')
    this.#closedFor = key
  }

  /** What a node appended before it was gone must be in the table, or its last connections would stay in it. */
  async #routingCaughtUp (): Promise<void> {
    const { log, tables } = this.#deps
    const partitions = Array.from({ length: log.partitions(ledger) }, (_, partition) => partition)
    const ends = await Promise.all(partitions.map(async partition => (await log.bounds(ledger, partition)).next))
    const deadline = performance.now() + caughtUpWithinMs
    for (const partition of partitions) {
      while ((await tables.position('routing', partition)).next < ends[partition]!) {
        if (performance.now() > deadline) return
        await new Promise(resolve => setTimeout(resolve, 50))
      }
    }
  }
}

/** Closes in the ledger those connections that the routing table shows open and `isOver` says are not. */
export async function endConnections (
  log: EventLog, tables: Tables, isOver: (route: Route) => boolean, reason: string
): Promise<void> {
  const byPartition = new Map<number, Entry[]>()
  for await (const route of openRoutes(tables.scan('routing'))) {
    if (!isOver(route)) continue
    const { partition, userId, connectionId } = route
    const entries = byPartition.get(partition) ?? []
    byPartition.set(partition, entries)
    entries.push(nodeLost(userId, connectionId, reason))
    if (entries.length >= entriesPerAppend) await log.append(ledger, partition, entries.splice(0))
  }
  await Promise.all([...byPartition].filter(([, entries]) => entries.length > 0)
    .map(([partition, entries]) => log.append(ledger, partition, entries)))
}

/** The end of a connection whose node can't tell it. */
function nodeLost (userId: string, connectionId: string, reason: string): Entry {
  return {
    userId,
    atMs: Date.now(),
    fact: {
      type: 'ConnectionClosed',
      connectionId,
      code: 'node-lost',
      reason,
      endSession: false,
      told: false,
      writtenSeq: 0,
      ackedSeq: 0,
      framesIn: 0,
      framesOut: 0,
      bytesIn: 0,
      bytesOut: 0,
      uplinks: 0,
      downlinksWritten: 0,
      downlinksAcked: 0,
      roundTripMs: -1,
    },
  }
}
