import type { WriteBatch } from '../../ledger/embedded/batch.js'
import { kind } from '../../ledger/embedded/keys.js'
import type { Store } from '../../ledger/embedded/store.js'
import {
  after, generationsMax, positionKey, positionsOf, tableKey, tableNames, tablePrefix,
} from './embedded-keys.js'
import type { WaitingWrites } from './embedded-writes.js'
import { hasIndex } from './route-index.js'
import type { TableName, TablePosition } from './tables.js'

/** The row of a table: its live generation, and others that may have rows: a draft, and what is being removed. */
interface GenerationsRow { readonly generation: number, readonly others?: readonly number[] }

/** How far a generation is, and whether its index is whole: an earlier version does not say so, and has none. */
interface Stored { readonly next: bigint, readonly atMs: number, readonly indexed: boolean }

interface Given { readonly table: TableName, readonly generation: number }

const start: Stored = { next: 0n, atMs: 0, indexed: true }
const removalsPerCommit = 1000

/**
 * Which generation of each table is the live one, and how far each generation is. Rows of one that is given up are
 * removed over the next commits, by the next start where this one ends before.
 */
export class Generations {
  readonly #store: Store
  readonly #writes: WaitingWrites
  readonly #rows = new Map<TableName, GenerationsRow>()
  readonly #positions = new Map<string, Stored>()
  /** Whose rows are being removed. */
  readonly #givenUp: Given[] = []

  constructor (store: Store, writes: WaitingWrites) {
    this.#store = store
    this.#writes = writes
    store.register({ derived: true, write: batch => { this.#remove(batch) }, committed () {}, failed () {} })
    // A draft that a crash left behind, or what was being removed.
    for (const table of tableNames) for (const other of this.#row(table).others ?? []) this.giveUp(table, other)
  }

  live (table: TableName): number { return this.#row(table).generation }

  /** A generation beside the live one, without any rows, and without rows that are still to be removed. */
  begin (table: TableName): number {
    const { generation: live, others = [] } = this.#row(table)
    let fresh = live
    do fresh = (fresh + 1) % generationsMax; while (others.includes(fresh))
    this.#set(table, live, [...others, fresh]) // with the first write at the latest
    return fresh
  }

  /** Makes `generation` the live one, and the live one a thing of the past. */
  async replace (table: TableName, generation: number): Promise<void> {
    const { generation: old, others = [] } = this.#row(table)
    this.#set(table, generation, [...others.filter(other => other !== generation), old])
    await this.#writes.kept() // with all that was taken for the old one, so that nothing comes after its removal
    this.giveUp(table, old)
  }

  giveUp (table: TableName, generation: number): void {
    this.#givenUp.push({ table, generation })
    this.#store.request(true)
  }

  position (table: TableName, generation: number, partition: number): TablePosition {
    const { next, atMs } = this.#stored(positionKey(table, generation, partition))
    return { next, atMs, generation: `${generation}` }
  }

  /** Whether all that was ever written to the partition came with what keeps its index. */
  isIndexed (table: TableName, generation: number, partition: number): boolean {
    return !hasIndex(table) || this.#stored(positionKey(table, generation, partition)).indexed
  }

  /** @returns what is to be stored of it, with the writes that led there: its key and its value */
  move (table: TableName, generation: number, partition: number, { next, atMs }: TablePosition): [string, Buffer] {
    const key = positionKey(table, generation, partition)
    return this.#put(key, table, { next, atMs, indexed: this.#stored(key).indexed })
  }

  /** The index is whole as of now. As `move`. */
  completed (table: TableName, generation: number, partition: number): [string, Buffer] {
    const key = positionKey(table, generation, partition)
    return this.#put(key, table, { ...this.#stored(key), indexed: true })
  }

  #stored (key: string): Stored {
    let position = this.#positions.get(key)
    if (!position) {
      const row = this.#store.env.getBinary(Buffer.from(key, 'latin1'))
      const stored = row ? JSON.parse(row.toString()) : undefined
      position = stored
        ? { next: BigInt(stored.next), atMs: stored.atMs, indexed: stored.indexed === true }
        : start
      this.#positions.set(key, position)
    }
    return position
  }

  #put (key: string, table: TableName, position: Stored): [string, Buffer] {
    this.#positions.set(key, position)
    const { next, atMs, indexed } = position
    return [key, Buffer.from(`{"next":"${next}","atMs":${atMs}${hasIndex(table) && indexed ? ',"indexed":true' : ''}}`)]
  }

  #remove (batch: WriteBatch): void {
    const [first] = this.#givenUp
    if (!first) return
    const { table, generation } = first
    let count = 0
    for (const of of [kind.field, kind.position]) {
      const prefix = tablePrefix(of, table, generation)
      const range = { start: prefix, end: after(prefix), limit: removalsPerCommit - count }
      for (const key of this.#store.env.getKeys(range)) {
        batch.remove(key)
        count++
      }
      if (count === removalsPerCommit) break
    }
    if (count === 0) { // the removal of the last ones is durable
      this.#givenUp.shift()
      for (const key of this.#positions.keys()) {
        if (key.startsWith(positionsOf(table, generation))) this.#positions.delete(key)
      }
      const { generation: live, others = [] } = this.#row(table)
      this.#set(table, live, others.filter(other => other !== generation))
    }
    this.#store.request(true)
  }

  #row (table: TableName): GenerationsRow {
    let row = this.#rows.get(table)
    if (!row) {
      const stored = this.#store.env.getBinary(tableKey(table))
      row = stored ? JSON.parse(stored.toString()) as GenerationsRow : { generation: 0 }
      this.#rows.set(table, row)
    }
    return row
  }

  #set (table: TableName, generation: number, others: readonly number[]): void {
    const row = others.length > 0 ? { generation, others } : { generation }
    this.#rows.set(table, row)
    this.#writes.putTable(table, JSON.stringify(row))
  }
}
