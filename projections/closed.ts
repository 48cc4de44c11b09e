import type { Entry } from '../schemas/facts.js'
import type { Memory, TableReader } from './projection.js'
import { put } from './tables/tables.js'
import type { TableName, TableWrite } from './tables/tables.js'

/** How many closed connections each table remembers in each partition. */
export const closedMax = 8192
const fieldsPerRow = 64

/** What a slot of the ring holds: the number of the closing, its connection, and what its table keeps with it. */
export type ClosedSlot = readonly [n: number, connectionId: string, ...kept: any[]]

/**
 * The connections of one partition that closed last, so that a late repeat of their `ConnectionOpened` does not bring
 * them back, and one of their `ConnectionClosed` does not set `lastSeen` back.
 *
 * The table itself holds them, as a ring: the nth closing overwrites slot `n mod max`, with `[n, connectionId]` as
 * field `slot mod 64` of row `closed:<slot div 64>`. So a closing costs one more write, nothing has to be swept, and a
 * restart reads `max / 64` rows. Rejected: a tombstone in the user's own row, which nobody who sees only one entry can
 * take away again; reading the ledger backwards at a restart, minutes of it under load; a time limit, which needs the
 * clocks of several nodes to agree.
 *
 * Past `max` newer closings a repeat is not known any more: the connection stays in the table until its node is lost or
 * starts again. A user id that looks like a ring row shares the row harmlessly: only ring slots are arrays.
 */
export class ClosedConnections implements Memory<Entry> {
  readonly #max: number
  readonly #ring: string[] = []
  readonly #ids = new Set<string>()
  #count = 0

  constructor (max = closedMax) {
    this.#max = max
  }

  static async load (table: TableName, tables: TableReader, partition: number, max = closedMax) {
    return ClosedConnections.of(await loadSlots(table, tables, partition, max), max)
  }

  /** @param slots of `loadSlots` */
  static of (slots: readonly ClosedSlot[], max = closedMax): ClosedConnections {
    const closed = new ClosedConnections(max)
    for (const [n, connectionId] of slots) closed.#remember(n, connectionId)
    return closed
  }

  admit ({ fact }: Entry): readonly TableWrite[] | undefined {
    if (fact.type !== 'ConnectionOpened' && fact.type !== 'ConnectionClosed') return []
    if (this.#ids.has(fact.connectionId)) return undefined
    if (fact.type === 'ConnectionOpened') return []
    const n = this.#count
    this.#remember(n, fact.connectionId)
    const slot = n % this.#max
    const field = String(slot % fieldsPerRow)
    return [put(rowKey(Math.floor(slot / fieldsPerRow)), field, [n, fact.connectionId])]
  }

  #remember (n: number, connectionId: string) {
    const slot = n % this.#max
    const oldest = this.#ring[slot]
    if (oldest !== undefined) this.#ids.delete(oldest)
    this.#ring[slot] = connectionId
    this.#ids.add(connectionId)
    this.#count = n + 1
  }
}

/** What the ring of a table holds, oldest first. */
export async function loadSlots (
  table: TableName, tables: TableReader, partition: number, max = closedMax
): Promise<ClosedSlot[]> {
  const keys = Array.from({ length: Math.ceil(max / fieldsPerRow) }, (_, row) => rowKey(row))
  const rows = await Promise.all(keys.map(key => tables.get(table, partition, key)))
  return rows.flatMap(fields => [...fields.values()].filter(isSlot)).sort(([a], [b]) => a - b)
}

function rowKey (row: number) {
  return `closed:${row}`
}

export function isSlot (value: unknown): value is ClosedSlot {
  return Array.isArray(value)
}
