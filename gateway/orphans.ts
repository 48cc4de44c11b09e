import type { EventLog } from '../ledger/log.js'
import { nodeRows, type NodeRow } from '../projections/nodes.js'
import { connectionsOf, type NodeLife } from '../projections/routing.js'
import type { IndexedTables, Tables } from '../projections/tables/tables.js'
import { unknownCounts } from '../schemas/counts.js'
import type { Entry } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger, nodes } from '../schemas/streams.js'

/** A node's first connections may be in the routing table before the node table knows the node. */
export const unknownForMs = 60_000
const entriesPerAppend = 500
const own = { reserved: true }

export interface OrphansDeps {
  readonly log: EventLog
  readonly tables: IndexedTables
  /** How long a device may be away before the stream `presence` says so: it goes into the facts. */
  readonly presenceGraceMs: number
}

/** When a node was first missed, by the watcher's own clock. */
export type Unknown = Map<string, number>

/** Its connections are its own to end. */
export function isLiving (state: NodeRow['state']): boolean {
  return state === 'up' || state === 'draining'
}

/**
 * Whether a node is gone for good, and its connections with it. That a node or an epoch has ended must
 * be said by its row: what is absent from a table proves nothing, for the table may be half read. A node without a row
 * counts as gone once it has been missed for a minute and the table is shown to be whole since.
 */
export class Orphans {
  readonly #firstLiving: ReadonlyMap<string, number>
  readonly #missed = new Set<string>()

  /**
   * @param unknown keeps when nodes were first missed, from one judgement to the next
   * @param provenTo up to when the part of the table that a node's row would stand in is known to be whole
   */
  constructor (
    view: readonly NodeRow[], readonly unknown: Unknown, readonly nowMs: number,
    readonly provenTo: (nodeId: string) => number
  ) {
    // A node that begins anew has connections which this view knows nothing of.
    this.#firstLiving = new Map(view.map(({ nodeId, epoch, state }) => [nodeId, isLiving(state) ? epoch : epoch + 1]))
  }

  has ({ nodeId, nodeEpoch }: NodeLife): boolean {
    const first = this.#firstLiving.get(nodeId)
    if (first !== undefined) return nodeEpoch < first
    const sinceMs = this.unknown.get(nodeId)
    if (sinceMs === undefined) this.unknown.set(nodeId, this.nowMs)
    const isGone = sinceMs !== undefined && this.provenTo(nodeId) - sinceMs > unknownForMs
    if (!isGone) this.#missed.add(nodeId)
    return isGone
  }

  /** All were judged: nodes that are known by now, and those without a connection, are missed no longer. */
  forgetFound (): void {
    for (const nodeId of this.unknown.keys()) if (!this.#missed.has(nodeId)) this.unknown.delete(nodeId)
  }
}

/**
 * Says in `nodes` of all nodes that the table shows living that they are gone, as a process may that has their store to
 * itself. Before their connections are closed: whoever closes them knows of an end that stands in `nodes`.
 */
export async function endNodes (log: EventLog, tables: Tables): Promise<void> {
  const rows = []
  for await (const row of tables.scan('nodes')) rows.push(row)
  for (const { nodeId, epoch, state } of nodeRows(rows, Date.now())) {
    if (!isLiving(state)) continue
    const entry = { nodeId, epoch, atMs: Date.now(), fact: { type: 'NodeLost' } } as const
    await log.append(nodes, partitionOf(nodeId, log.partitions(nodes)), [entry], own)
  }
}

/**
 * Closes in the ledger all connections that the routing table shows open on nodes of which `isOver` says that they are.
 *
 * @param partitions of the ledger, in which to do so
 */
export async function endConnections (
  { log, tables, presenceGraceMs }: OrphansDeps, partitions: readonly number[], isOver: (node: NodeLife) => boolean,
  reason: string
): Promise<void> {
  const byPartition = new Map<number, Entry[]>()
  for await (const { partition, userId, connectionId } of connectionsOf(tables, partitions, isOver)) {
    const entries = byPartition.get(partition) ?? []
    byPartition.set(partition, entries)
    entries.push(nodeLost(userId, connectionId, reason, presenceGraceMs))
    if (entries.length >= entriesPerAppend) await log.append(ledger, partition, entries.splice(0), own)
  }
  await Promise.all([...byPartition].filter(([, entries]) => entries.length > 0)
    .map(([partition, entries]) => log.append(ledger, partition, entries, own)))
}

/** The end of a connection whose node can't tell it. */
function nodeLost (userId: string, connectionId: string, reason: string, presenceGraceMs: number): Entry {
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
      ...unknownCounts,
      presenceGraceMs,
      by: '',
    },
  }
}
