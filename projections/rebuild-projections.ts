import type { Entry } from '../schemas/facts.js'
import { ledger, nodes as nodesStream, type Stream } from '../schemas/streams.js'
import { ClosedConnections, isSlot, loadSlots } from './closed.js'
import { Derivation, openingsOf, project } from './derivation.js'
import { LastConnections } from './last-connections.js'
import { nodes } from './nodes.js'
import { pack, unpack } from './opening.js'
import { presence } from './presence.js'
import type { Route } from './routing.js'
import { routing } from './routing.js'
import type { PlacedProjection } from './table-writer.js'
import { isIndexRow } from './tables/route-index.js'
import { put, type Draft, type TableName, type Tables, type TableWrite } from './tables/tables.js'

/** How one table is built from its stream alone. */
export interface RebuildPlan {
  readonly stream: Stream<any>
  readonly projection: PlacedProjection<any>
  /** What the projection's writes go through on their way into the draft. */
  readonly through: (draft: Draft) => Tables
  readonly appliesMax: number
  /**
   * Whoever keeps the live table writes records as it goes on, and from the place of the draft once that is live: the
   * draft must not pass it, or what lies between is never recorded.
   */
  readonly staysBehindLive: boolean
  /**
   * What of a live row is to be kept where the beginning of the stream was deleted: all that may be older than
   * `atMs`. What is kept without need does no harm, for the stream goes over it.
   */
  older (fields: ReadonlyMap<string, any>, atMs: number): Iterable<readonly [field: string, value: unknown]>
}

export const rebuildPlans: Readonly<Record<TableName, () => RebuildPlan>> = {
  presence: () => plan(ledger, presence, ({ atMs, openedAtMs = atMs }) => openedAtMs),
  // Of a route it is known only that the node started before it.
  routing: () => plan(ledger, routing, ({ nodeEpoch }: Route) => nodeEpoch),
  nodes: () => plan(nodesStream, nodes, ({ atMs }) => atMs),
  connections: connectionsPlan,
}

/** @param timeOf when the value came to be, or earlier */
function plan (stream: Stream<any>, projection: PlacedProjection<any>, timeOf: (value: any) => number): RebuildPlan {
  return {
    stream,
    projection,
    through: draft => draft,
    appliesMax: 8,
    staysBehindLive: false,
    * older (fields, atMs) {
      for (const [field, value] of fields) if (!isSlot(value) && timeOf(value) < atMs) yield [field, value]
    },
  }
}

/** As `History` keeps the table, without the records: those are in their stream. */
function connectionsPlan (): RebuildPlan {
  const lastConnections = new Map<number, LastConnections>()
  return {
    stream: ledger,
    projection: {
      table: 'connections',
      concerns: ({ fact }: Entry) => fact.type === 'ConnectionOpened' || fact.type === 'ConnectionClosed',
      project,
      async memory (tables, partition) {
        const slots = await loadSlots('connections', tables, partition)
        lastConnections.set(partition, new LastConnections(slots))
        return ClosedConnections.of(slots)
      },
    },
    through: draft => ({
      get: (table, partition, key) => draft.get(table, partition, key),
      scan: (table, partition) => draft.scan(table, partition),
      position: (table, partition) => draft.position(table, partition),
      async apply (table, partition, writes, step) {
        const openings = await openingsOf(draft, partition, writes)
        const derivation = new Derivation(openings, lastConnections.get(partition)!, step.next, new Map())
        for (const write of writes) derivation.take(write)
        await draft.apply(table, partition, derivation.stored, step)
      },
    }),
    appliesMax: 1, // each step reads what the one before it has written
    staysBehindLive: true,
    * older (fields, atMs) {
      for (const [connectionId, value] of fields) {
        const opening = unpack(value)
        if (!opening || opening.openedAtMs >= atMs) continue
        // One that was opened later is told of again, and finds that it follows this one.
        const next = unpack(fields.get(opening.resumedTo))
        const resumedTo = next && next.openedAtMs < atMs ? opening.resumedTo : ''
        yield [connectionId, pack({ ...opening, resumedTo })]
      }
    },
  }
}

const seededPerStep = 1000

/**
 * Puts into the draft what the live table knows from before `atMs`.
 *
 * @param atMs by partition; undefined where the stream is there from its beginning
 */
export async function seed (
  plan: RebuildPlan, live: Tables, draft: Draft, atMs: ReadonlyMap<number, number>
): Promise<void> {
  if (atMs.size === 0) return
  const waiting = new Map<number, TableWrite[]>()
  for await (const { partition, key, fields } of live.scan(plan.projection.table)) {
    const before = atMs.get(partition)
    if (before === undefined || isIndexRow(plan.projection.table, key)) continue
    const writes = waiting.get(partition) ?? []
    waiting.set(partition, writes)
    for (const [field, value] of plan.older(fields, before)) writes.push(put(key, field, value))
    if (writes.length >= seededPerStep) await draft.seed(partition, writes.splice(0))
  }
  for (const [partition, writes] of waiting) if (writes.length > 0) await draft.seed(partition, writes)
}
