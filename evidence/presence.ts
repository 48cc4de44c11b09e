import type { LogReader } from '../ledger/log.js'
import { nodeRows, type NodeRow, nodes as nodesProjection } from '../projections/nodes.js'
import { type OpenSession, type Presence, presence as presenceProjection, presenceOf } from '../projections/presence.js'
import { shownUser } from '../schemas/apps.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger, nodes } from '../schemas/streams.js'
import { beginningOf } from './beginning.js'
import { entriesOf } from './entries.js'
import { ProjectedRows } from './projected.js'
import { anew, readWhole } from './whole.js'

/** Who was online and which nodes there were at one time, as the production projections have it. */
export interface PresenceView {
  readonly atMs: number
  /** Connections that opened before are not known, nor nodes that started before; null where all is kept. */
  readonly knownSinceMs: number | null
  /** Users with an open connection. */
  readonly users: number
  readonly connections: number
  readonly byNode: Counts
  readonly byPlatform: Counts
  readonly byTransport: Counts
  readonly nodes: readonly NodeRow[]
}

/** Open connections by name, most first. */
export type Counts = Readonly<Record<string, number>>

export interface PresenceOptions {
  readonly atMs: number
  /** Called for each block that was read. */
  readonly read?: () => void
}

/** Clocks of nodes may differ by so much: entries of before a time stand at most so long behind it. */
export const clockSkewMsMax = 60_000

/** Blocks that `presenceAt` reads at this time. */
export async function blocksBefore (log: LogReader, atMs: number): Promise<number> {
  let blocks = 0n
  for (const stream of [ledger, nodes]) {
    for (let partition = 0; partition < log.partitions(stream); partition++) {
      const to = await log.offsetAt(stream, partition, atMs + clockSkewMsMax)
      blocks += to - (await log.bounds(stream, partition)).first
    }
  }
  return Math.max(0, Number(blocks))
}

/**
 * Replays the ledger and the nodes up to a time; memory goes with who was online.
 *
 * @throws BlocksGone when retention passes it
 */
export async function presenceAt (log: LogReader, { atMs, read = () => {} }: PresenceOptions): Promise<PresenceView> {
  const byNode = new Map<string, number>()
  const byPlatform = new Map<string, number>()
  const byTransport = new Map<string, number>()
  let knownSinceMs: number | null = null
  let users = 0
  let connections = 0
  for (let partition = 0; partition < log.partitions(ledger); partition++) {
    const table = await ProjectedRows.open(presenceProjection, partition, ({ field }) => field !== 'lastSeen')
    const { first } = await log.bounds(ledger, partition)
    const to = await log.offsetAt(ledger, partition, atMs + clockSkewMsMax)
    for await (const { offset, items } of readWhole(log, ledger, partition, { from: first, to })) {
      if (offset === first && first > 0n) knownSinceMs = Math.max(knownSinceMs ?? 0, items[0]?.atMs ?? 0)
      for (const entry of items) if (entry.atMs <= atMs) table.take(entry)
      read()
    }
    users += table.rows.size
    for (const fields of table.rows.values()) {
      for (const { nodeId, platform, transport } of fields.values() as Iterable<OpenSession>) {
        connections++
        add(byNode, nodeId)
        add(byPlatform, platform)
        add(byTransport, transport)
      }
    }
  }
  return {
    atMs,
    knownSinceMs,
    users,
    connections,
    byNode: mostFirst(byNode),
    byPlatform: mostFirst(byPlatform),
    byTransport: mostFirst(byTransport),
    nodes: await nodesAt(log, atMs, read),
  }
}

/** Which sessions a user had open; those that opened before `knownSinceMs` are not known. */
export async function presenceOfUserAt (
  log: LogReader, userId: string, atMs: number
): Promise<Presence & { readonly app?: string } & Pick<PresenceView, 'atMs' | 'knownSinceMs'>> {
  const partition = partitionOf(userId, log.partitions(ledger))
  const table = await anew(async () => {
    const rows = await ProjectedRows.open(presenceProjection, partition)
    for await (const { entry } of entriesOf(log, userId)) if (entry.atMs <= atMs) rows.take(entry)
    return rows
  })
  const knownSinceMs = (await beginningOf(log, partition))?.atMs ?? null
  return { atMs, knownSinceMs, ...presenceOf(userId, table.rows.get(userId) ?? new Map()), ...shownUser(userId) }
}

async function nodesAt (log: LogReader, atMs: number, read: () => void): Promise<NodeRow[]> {
  const rows: NodeRow[] = []
  for (let partition = 0; partition < log.partitions(nodes); partition++) {
    const table = await ProjectedRows.open(nodesProjection, partition)
    const to = await log.offsetAt(nodes, partition, atMs + clockSkewMsMax)
    for await (const { items } of log.read(nodes, partition, { from: 0n, to })) {
      for (const entry of items) if (entry.atMs <= atMs) table.take(entry)
      read()
    }
    rows.push(...nodeRows(Array.from(table.rows, ([key, fields]) => ({ key, fields })), atMs))
  }
  return rows.sort((a, b) => a.nodeId < b.nodeId ? -1 : 1)
}

function add (counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}

function mostFirst (counts: ReadonlyMap<string, number>): Counts {
  return Object.fromEntries([...counts].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1)))
}
