import { hasIndex, type RowsBefore, withIndex } from '../../projections/tables/route-index.js'
import {
  type Draft, GenerationReplaced, keyBytesMax, type RebuildableTables, type TableName, type TablePosition,
  type TableStep, type TableWrite,
} from '../../projections/tables/tables.js'
import { GatewayError } from '../../schemas/errors.js'
import { Channel, type SharedStore } from './channel.js'

type Fields = Map<string, string>

interface StoredTable {
  position: TablePosition
  /** Values as JSON. */
  readonly rows: Map<string, Fields>
  readonly generation: string
}

/** A draft whose maker is silent for so long is nobody's any more. */
const draftMs = 60_000

/** The tables of a simulated cluster. */
export class TableStore {
  readonly #live = new Map<string, StoredTable>()
  readonly #drafts = new Map<TableName, { usedMs: number }>()
  #generations = 0

  constructor (readonly store: SharedStore) {}

  live (table: TableName, partition: number): StoredTable {
    const key = `${table}/${partition}`
    let stored = this.#live.get(key)
    if (!stored) this.#live.set(key, stored = this.empty())
    return stored
  }

  /** Partitions of a table that anything was written to. */
  partitions (table: TableName): number[] {
    return [...this.#live.keys()].filter(key => key.startsWith(`${table}/`)).map(key => Number(key.split('/')[1]))
      .sort((a, b) => a - b)
  }

  adopt (table: TableName, partition: number, stored: StoredTable): void {
    this.#live.set(`${table}/${partition}`, stored)
  }

  empty (): StoredTable {
    return { position: { next: 0n, atMs: 0 }, rows: new Map(), generation: `g${++this.#generations}` }
  }

  /** All rows are gone, as after a restart of a Redis that keeps nothing. */
  lose (): void { this.#live.clear() }

  claim (table: TableName): { usedMs: number } {
    const nowMs = this.store.nowMs()
    const other = this.#drafts.get(table)
    if (other && nowMs - other.usedMs < draftMs) throw new GatewayError('not-ready', `${table} is being rebuilt`)
    const draft = { usedMs: nowMs }
    this.#drafts.set(table, draft)
    return draft
  }

  release (table: TableName, draft: { usedMs: number }): void {
    if (this.#drafts.get(table) === draft) this.#drafts.delete(table)
  }
}

/** A node's view of them. */
export class SimulatedTables implements RebuildableTables {
  readonly #tables: TableStore
  readonly #channel: Channel

  constructor (tables: TableStore, channel: Channel) {
    this.#tables = tables
    this.#channel = channel
  }

  async get (table: TableName, partition: number, key: string): Promise<ReadonlyMap<string, any>> {
    return await this.#channel.ask(`get of ${table}`, () => fieldsOf(this.#tables.live(table, partition), key))
  }

  async * scan (
    table: TableName, only?: number
  ): AsyncIterable<{ partition: number, key: string, fields: ReadonlyMap<string, any> }> {
    const partitions = only === undefined
      ? await this.#channel.ask(`scan of ${table}`, () => this.#tables.partitions(table))
      : [only]
    for (const partition of partitions) {
      yield * await this.#channel.ask(`scan of ${table}`, () => rowsOf(this.#tables.live(table, partition), partition))
    }
  }

  async apply (table: TableName, partition: number, writes: readonly TableWrite[], step: TableStep): Promise<void> {
    checkKeys(writes)
    const texts = writes.map(asText)
    await this.#channel.ask(`apply to ${table}`, () => {
      const stored = this.#tables.live(table, partition)
      const { generation = stored.generation } = step
      if (generation !== stored.generation) throw new GenerationReplaced(table, partition)
      applyTo(stored, table, partition, texts, step)
    })
  }

  async position (table: TableName, partition: number): Promise<TablePosition> {
    return await this.#channel.ask(`position of ${table}`, () => {
      const { position, generation } = this.#tables.live(table, partition)
      return { ...position, generation }
    })
  }

  async index (): Promise<readonly number[]> { return [] }

  async draft (table: TableName): Promise<Draft> {
    const claim = await this.#channel.ask(`draft of ${table}`, () => this.#tables.claim(table))
    return new SimulatedDraft(this.#tables, this.#channel, table, claim)
  }
}

class SimulatedDraft implements Draft {
  readonly #partitions = new Map<number, StoredTable>()

  constructor (
    readonly tables: TableStore, readonly channel: Channel, readonly table: TableName,
    readonly claim: { usedMs: number }
  ) {}

  async seed (partition: number, writes: readonly TableWrite[]): Promise<void> {
    checkKeys(writes)
    const texts = writes.map(asText)
    await this.#ask(() => { write(this.#of(partition), this.table, texts) })
  }

  async get (_table: TableName, partition: number, key: string): Promise<ReadonlyMap<string, any>> {
    return await this.#ask(() => fieldsOf(this.#of(partition), key))
  }

  async * scan (
    _table: TableName, only?: number
  ): AsyncIterable<{ partition: number, key: string, fields: ReadonlyMap<string, any> }> {
    for (const partition of only === undefined ? [...this.#partitions.keys()] : [only]) {
      yield * await this.#ask(() => rowsOf(this.#of(partition), partition))
    }
  }

  async apply (table: TableName, partition: number, writes: readonly TableWrite[], step: TableStep): Promise<void> {
    checkKeys(writes)
    const texts = writes.map(asText)
    await this.#ask(() => { applyTo(this.#of(partition), table, partition, texts, step) })
  }

  async position (_table: TableName, partition: number): Promise<TablePosition> {
    return await this.#ask(() => this.#of(partition).position)
  }

  async adopt (partitions: readonly number[], behindMax: bigint): Promise<readonly number[]> {
    return await this.#ask(() => partitions.filter(partition => {
      const draft = this.#of(partition)
      if (draft.position.next + behindMax < this.tables.live(this.table, partition).position.next) return true
      this.tables.adopt(this.table, partition, draft)
      this.#partitions.delete(partition)
      return false
    }))
  }

  async discard (): Promise<void> {
    await this.#ask(() => { this.tables.release(this.table, this.claim) })
  }

  async #ask<T> (act: () => T): Promise<T> {
    return await this.channel.ask(`draft of ${this.table}`, () => {
      this.claim.usedMs = this.tables.store.nowMs()
      return act()
    })
  }

  #of (partition: number): StoredTable {
    let stored = this.#partitions.get(partition)
    if (!stored) this.#partitions.set(partition, stored = this.tables.empty())
    return stored
  }
}

/** As it goes over a wire: the value as JSON, undefined for one that is removed. */
interface TextWrite { readonly key: string, readonly field: string, readonly text: string | undefined }

function asText (write: TableWrite): TextWrite {
  const { key, field } = write
  return { key, field, text: write.type === 'put' ? JSON.stringify(write.value) : undefined }
}

function checkKeys (writes: readonly TableWrite[]): void {
  for (const { key, field } of writes) {
    if (Buffer.byteLength(key) <= keyBytesMax && Buffer.byteLength(field) <= keyBytesMax) continue
    throw new RangeError(`a key or a field of a table is longer than ${keyBytesMax} bytes`)
  }
}

function applyTo (
  stored: StoredTable, table: TableName, partition: number, writes: readonly TextWrite[],
  { from = 0n, next, atMs }: TableStep
): void {
  const { position } = stored
  if (position.next < from) {
    throw new Error(`${table}, partition ${partition}: got a step from ${from} on, want one from ${position.next} on`)
  }
  if (position.next >= next) return
  write(stored, table, writes)
  stored.position = { next, atMs }
}

function write ({ rows }: StoredTable, table: TableName, writes: readonly TextWrite[]): void {
  for (const { key, field, text } of hasIndex(table) ? indexed(rows, writes) : writes) {
    const fields = rows.get(key) ?? new Map<string, string>()
    if (text !== undefined) fields.set(field, text)
    else fields.delete(field)
    if (fields.size > 0) rows.set(key, fields)
    else rows.delete(key)
  }
}

function indexed (rows: ReadonlyMap<string, Fields>, writes: readonly TextWrite[]): TextWrite[] {
  const before: RowsBefore = {
    value: (key, field) => parsed(rows.get(key)?.get(field)),
    hasOther: (key, isGone) => [...rows.get(key)?.keys() ?? []].some(field => !isGone(field)),
  }
  const asWrites = writes.map(({ key, field, text }): TableWrite =>
    text === undefined ? { type: 'remove', key, field } : { type: 'put', key, field, value: parsed(text) })
  return withIndex(asWrites, before).map(asText)
}

function parsed (text: string | undefined): unknown { return text === undefined ? undefined : JSON.parse(text) }

function fieldsOf ({ rows }: StoredTable, key: string): Map<string, any> {
  return new Map(Array.from(rows.get(key) ?? [], ([field, text]) => [field, parsed(text)]))
}

function rowsOf (
  stored: StoredTable, partition: number
): Array<{ partition: number, key: string, fields: Map<string, any> }> {
  return Array.from(stored.rows.keys(), key => ({ partition, key, fields: fieldsOf(stored, key) }))
}
