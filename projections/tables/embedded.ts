import { setImmediate as turn } from 'node:timers/promises'
import { kind } from '../../ledger/embedded/keys.js'
import type { Store } from '../../ledger/embedded/store.js'
import { GatewayError } from '../../schemas/errors.js'
import { Generations } from './embedded-generations.js'
import { after, namesIn, prefixIn, prefixOf, partitionPrefix, tablePrefix } from './embedded-keys.js'
import { WaitingWrites } from './embedded-writes.js'
import { bucketPrefix, bucketsMax, hasIndex, isIndexRow, nodePrefix, nodesKey, userPrefix, withIndex } from './route-index.js'
import { RowCache } from './row-cache.js'
import {
  type Draft, GenerationReplaced, put, type RebuildableTables, remove, type TableName, type TablePosition,
  type TableStep, type TableWrite,
} from './tables.js'

export interface EmbeddedTables extends RebuildableTables {
  /** Empties the table and its positions, so that it can be built anew. The old rows go over the next commits. */
  reset (table: TableName): Promise<void>
}

const rowsPerTurn = 500
/** Of an index that is made anew, before they are waited for. */
const indexWritesMax = 2_000
/** Of rows kept in memory as `get` gave them. */
const rowsCachedBytesMax = 16 << 20

/** The read models in the local store, one row per field. Writes ride on commits of the ledger (`WaitingWrites`). */
export function embeddedTables (store: Store): EmbeddedTables { return new TablesInStore(store) }

class TablesInStore implements EmbeddedTables {
  readonly #store: Store
  readonly #writes: WaitingWrites
  readonly #generations: Generations
  readonly #drafts = new Set<TableName>()
  /** Indexes are made anew one after the other. */
  #indexing: Promise<void> = Promise.resolve()
  /** A signal to 200 users would otherwise be 200 walks through the tree, 10 us each, which was most of its cost. */
  readonly #cache = new RowCache(rowsCachedBytesMax)

  constructor (store: Store) {
    this.#store = store
    this.#writes = new WaitingWrites(store)
    this.#generations = new Generations(store, this.#writes)
  }

  async get (table: TableName, partition: number, key: string): Promise<ReadonlyMap<string, any>> {
    const name = rowName(table, partition, key)
    const cached = this.#cache.get(name)
    if (cached) return cached
    const fields = this.#row(table, this.#generations.live(table), partition, key)
    if (fields.size > 0) this.#cache.set(name, fields)
    return fields
  }

  scan (table: TableName, partition?: number) { return this.#scan(table, this.#generations.live(table), partition) }

  async apply (table: TableName, partition: number, writes: readonly TableWrite[], step: TableStep): Promise<void> {
    const generation = this.#generations.live(table)
    if (step.generation !== undefined && step.generation !== `${generation}`) {
      throw new GenerationReplaced(table, partition)
    }
    if (!this.#take(table, generation, partition, writes, step)) return
    // A position alone is worth no commit of its own: where it is lost, what led to it is read again, for nothing.
    if (writes.length > 0) await this.#writes.kept()
  }

  async position (table: TableName, partition: number): Promise<TablePosition> {
    return this.#generations.position(table, this.#generations.live(table), partition)
  }

  async index (table: TableName, partitions: readonly number[]): Promise<readonly number[]> {
    const made = this.#indexing.then(async () => {
      for (const partition of partitions) {
        const generation = this.#generations.live(table)
        if (!this.#generations.isIndexed(table, generation, partition)) {
          await this.#makeIndex(table, generation, partition)
        }
      }
    })
    this.#indexing = made.catch(() => {})
    await made
    return []
  }

  async reset (table: TableName): Promise<void> { await this.#replace(table, this.#generations.begin(table)) }

  async draft (table: TableName): Promise<Draft> {
    if (this.#drafts.has(table)) throw new GatewayError('not-ready', `${table} is being rebuilt already`)
    this.#drafts.add(table)
    const generation = this.#generations.begin(table)
    let adopted = false
    return {
      get: async (_table, partition, key) => this.#row(table, generation, partition, key),
      scan: (_table, partition) => this.#scan(table, generation, partition),
      position: async (_table, partition) => this.#generations.position(table, generation, partition),
      apply: async (_table, partition, writes, step) => {
        if (this.#take(table, generation, partition, writes, step)) await this.#writes.kept()
      },
      seed: async (partition, writes) => {
        this.#put(table, generation, partition, this.#withIndex(table, generation, partition, writes))
        await this.#writes.kept()
      },
      adopt: async (partitions, behindMax) => {
        const at = (of: number, partition: number) => this.#generations.position(table, of, partition).next
        const live = this.#generations.live(table)
        const isBehind = partitions.some(partition => at(generation, partition) + behindMax < at(live, partition))
        if (isBehind) return partitions // the table is one for all partitions
        adopted = true
        this.#drafts.delete(table)
        await this.#replace(table, generation)
        return []
      },
      discard: async () => {
        if (!this.#drafts.has(table) || adopted) return
        await this.#writes.kept()
        this.#generations.giveUp(table, generation)
        this.#drafts.delete(table)
      },
    }
  }

  async #replace (table: TableName, generation: number): Promise<void> {
    const replaced = this.#generations.replace(table, generation)
    this.#cache.clear()
    await replaced
  }

  #row (table: TableName, generation: number, partition: number, key: string): Map<string, any> {
    return this.#fieldsOf(prefixOf(table, generation, partition, { key, field: '' }))
  }

  #fieldsOf (prefix: string): Map<string, any> {
    const fields = new Map<string, any>()
    const first = Buffer.from(prefix, 'latin1')
    for (const { key, value } of this.#store.env.getRange({ start: first, end: after(first) })) {
      fields.set(key.toString('utf8', first.length), JSON.parse(value.toString()))
    }
    this.#writes.layOver(prefix, fields)
    return fields
  }

  async * #scan (table: TableName, generation: number, partition?: number) {
    const all = partition === undefined
      ? tablePrefix(kind.field, table, generation)
      : partitionPrefix(table, generation, partition)
    const unseen = this.#writes.prefixes(all.toString('latin1'))
    for (let from: Buffer | undefined = all; from !== undefined;) {
      const prefixes = new Set<string>()
      for (const key of this.#store.env.getKeys({ start: from, end: after(all), limit: rowsPerTurn })) {
        prefixes.add(prefixIn(key))
      }
      from = undefined
      for (const prefix of prefixes) {
        unseen.delete(prefix)
        const fields = this.#fieldsOf(prefix)
        if (fields.size > 0) yield { ...namesIn(prefix), fields }
        // Past all fields of the last key, for it was given whole, whatever of it lies beyond this turn's rows.
        from = after(Buffer.from(prefix, 'latin1'))
      }
      await turn()
    }
    for (const prefix of unseen) {
      const fields = this.#fieldsOf(prefix)
      if (fields.size > 0) yield { ...namesIn(prefix), fields }
    }
  }

  /** @returns false where the step was taken before */
  #take (
    table: TableName, generation: number, partition: number, writes: readonly TableWrite[], step: TableStep
  ): boolean {
    const { next, from } = step
    const taken = this.#generations.position(table, generation, partition).next
    if (taken >= next) return false
    if (from !== undefined && taken < from) {
      throw new Error(`${table}, partition ${partition}: got a step from ${from} on, want one from ${taken} on`)
    }
    const all = this.#withIndex(table, generation, partition, writes)
    this.#put(table, generation, partition, all, () => this.#generations.move(table, generation, partition, step))
    return true
  }

  /** @param positionOf not called where a bad key refuses all of it */
  #put (
    table: TableName, generation: number, partition: number, writes: readonly TableWrite[],
    positionOf?: () => [string, Buffer]
  ): void {
    const prefixes = writes.map(write => prefixOf(table, generation, partition, write))
    this.#writes.put(prefixes, writes, positionOf?.())
    for (const { key } of writes) this.#cache.delete(rowName(table, partition, key))
  }

  #withIndex (
    table: TableName, generation: number, partition: number, writes: readonly TableWrite[]
  ): readonly TableWrite[] {
    if (!hasIndex(table)) return writes
    const rowOf = (key: string, field = '') => prefixOf(table, generation, partition, { key, field })
    return withIndex(writes, {
      value: (key, field) => this.#field(rowOf(key, field), field),
      hasOther: (key, isGone) => this.#hasOther(rowOf(key), isGone),
    })
  }

  #field (prefix: string, field: string): unknown {
    const waiting = this.#writes.waiting(prefix, field)
    const json = waiting
      ? waiting.json
      : this.#store.env.getBinary(Buffer.concat([Buffer.from(prefix, 'latin1'), Buffer.from(field)]))?.toString()
    return json === undefined ? undefined : JSON.parse(json)
  }

  #hasOther (prefix: string, isGone: (field: string) => boolean): boolean {
    const first = Buffer.from(prefix, 'latin1')
    for (const key of this.#store.env.getKeys({ start: first, end: after(first) })) {
      const field = key.toString('utf8', first.length)
      if (!isGone(field) && !this.#writes.waiting(prefix, field)) return true
    }
    for (const field of this.#writes.waitingFields(prefix)) if (!isGone(field)) return true
    return false
  }

  /** Of the rows that an earlier version has written, while steps are applied as ever. */
  async #makeIndex (table: TableName, generation: number, partition: number): Promise<void> {
    this.#dropIndex(table, generation, partition)
    let unkept = 0
    for await (const { key } of this.#scan(table, generation, partition)) {
      if (this.#generations.live(table) !== generation) return // rebuilt: the new one has its own
      if (!key.startsWith(userPrefix)) continue
      // Read in the turn that writes: a step may have come since the scan has read it.
      const same = Array.from(this.#row(table, generation, partition, key), ([field, value]) => put(key, field, value))
      const writes = this.#withIndex(table, generation, partition, same).filter(write => isIndexRow(table, write.key))
      this.#put(table, generation, partition, writes)
      unkept += writes.length
      if (unkept < indexWritesMax) continue
      await this.#writes.kept()
      unkept = 0
    }
    this.#writes.put([], [], this.#generations.completed(table, generation, partition))
    await this.#writes.kept()
  }

  /** What an earlier version took no notice of. All of it in one turn, so that no step sees half of it. */
  #dropIndex (table: TableName, generation: number, partition: number): void {
    const nodes = this.#row(table, generation, partition, nodesKey)
    const keys = [nodesKey, ...Array.from(nodes.keys(), node => nodePrefix + node)]
    for (let bucket = 0; bucket < bucketsMax; bucket++) keys.push(`${bucketPrefix}${bucket}`)
    for (const key of keys) {
      const fields = this.#row(table, generation, partition, key)
      this.#put(table, generation, partition, Array.from(fields.keys(), field => remove(key, field)))
    }
  }
}

function rowName (table: TableName, partition: number, key: string): string { return `${table}/${partition}/${key}` }
