import { hasIndex, isIndexRow, type RowsBefore, withIndex } from '../../projections/tables/route-index.js'
import type { IndexedTables, TableName, TablePosition, TableStep, TableWrite } from '../../projections/tables/tables.js'

interface Table { position: TablePosition, rows: Map<string, Map<string, unknown>> }

/** Tables in memory, as their contract has them; a test can hold applies back or let them fail. */
export class MemoryTables implements IndexedTables {
  /** Every apply that was called, in order. */
  readonly applies: { table: TableName, partition: number, writes: readonly TableWrite[], step: TableStep }[] = []
  /** Applies take effect at once, but resolve only after `release`. */
  held = false
  /** So many of the next calls of `apply` throw, and write nothing. */
  failures = 0
  readonly #tables = new Map<string, Table>()
  #release: (() => void)[] = []

  async get (table: TableName, partition: number, key: string): Promise<ReadonlyMap<string, any>> {
    return new Map(this.#table(table, partition).rows.get(key))
  }

  async * scan (table: TableName, only?: number) {
    for (const [id, { rows }] of [...this.#tables]) {
      const [name, partition] = id.split('/')
      if (name !== table || Number(partition) !== (only ?? Number(partition))) continue
      for (const [key, fields] of [...rows]) yield { partition: Number(partition), key, fields: new Map(fields) }
    }
  }

  async apply (table: TableName, partition: number, writes: readonly TableWrite[], step: TableStep) {
    this.applies.push({ table, partition, writes, step })
    if (this.failures > 0) {
      this.failures--
      throw new Error('the store is away')
    }
    const stored = this.#table(table, partition)
    if (stored.position.next < (step.from ?? 0n)) throw new Error(`at ${stored.position.next}, before ${step.from}`)
    if (stored.position.next >= step.next) return
    const all = hasIndex(table) ? withIndex(writes, rowsOf(stored)) : writes
    for (const write of all) {
      const fields = stored.rows.get(write.key) ?? new Map<string, unknown>()
      if (write.type === 'put') fields.set(write.field, JSON.parse(JSON.stringify(write.value)))
      else fields.delete(write.field)
      if (fields.size > 0) stored.rows.set(write.key, fields)
      else stored.rows.delete(write.key)
    }
    stored.position = { next: step.next, atMs: step.atMs }
    if (this.held) await new Promise<void>(resolve => { this.#release.push(resolve) })
  }

  async index () { return [] }

  async position (table: TableName, partition: number) {
    return this.#table(table, partition).position
  }

  release () {
    this.held = false
    for (const resolve of this.#release.splice(0)) resolve()
  }

  clear (table: TableName) {
    for (const id of [...this.#tables.keys()]) if (id.startsWith(`${table}/`)) this.#tables.delete(id)
  }

  /** All rows of a table that its projection has written, `partition/key` -> field -> value. */
  dump (table: TableName) { return this.#dump(table, key => !isIndexRow(table, key)) }

  /** The rows that those are found by. */
  dumpIndex (table: TableName) { return this.#dump(table, key => isIndexRow(table, key)) }

  #dump (table: TableName, isWanted: (key: string) => boolean): Record<string, Record<string, any>> {
    const rows: [string, Record<string, any>][] = []
    for (const [id, stored] of this.#tables) {
      if (!id.startsWith(`${table}/`)) continue
      for (const [key, fields] of stored.rows) {
        if (isWanted(key)) rows.push([`${id.split('/')[1]}/${key}`, Object.fromEntries(fields)])
      }
    }
    return Object.fromEntries(rows.sort(([a], [b]) => a < b ? -1 : 1))
  }

  #table (table: TableName, partition: number): Table {
    const id = `${table}/${partition}`
    let stored = this.#tables.get(id)
    if (!stored) this.#tables.set(id, stored = { position: { next: 0n, atMs: 0 }, rows: new Map() })
    return stored
  }
}

function rowsOf ({ rows }: Table): RowsBefore {
  return {
    value: (key, field) => rows.get(key)?.get(field),
    hasOther: (key, isGone) => [...rows.get(key)?.keys() ?? []].some(field => !isGone(field)),
  }
}
