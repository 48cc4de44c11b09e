import { setImmediate as turn } from 'node:timers/promises'
import { kind } from '../../ledger/embedded/keys.js'
import type { Store } from '../../ledger/embedded/store.js'
import { GatewayError } from '../../schemas/errors.js'
import { Generations } from './embedded-generations.js'
import { after, namesIn, prefixIn, prefixOf, partitionPrefix, tablePrefix } from './embedded-keys.js'
import { WaitingWrites } from './embedded-writes.js'
import { RowCache } from './row-cache.js'
import {
  type Draft, GenerationReplaced, type RebuildableTables, type TableName, type TablePosition, type TableStep,
  type TableWrite,
} from './tables.js'

export interface EmbeddedTables extends RebuildableTables {
  /** Empties the table and its positions, so that it can be built anew. The old rows go over the next commits. */
  reset (table: TableName): Promise<void>
}

const rowsPerTurn = 500
/** Of rows kept in memory as `get` gave them. */
const rowsCachedBytesMax = 16 << 20

/** The read models in the local store, one row per field. Writes ride on commits of the ledger (`WaitingWrites`). */
export function embeddedTables (store: Store): EmbeddedTables { return new TablesInStore(store) }

class TablesInStore implements EmbeddedTables {
  readonly #store: Store
  readonly #writes: WaitingWrites
  readonly #generations: Generations
  readonly #drafts = new Set<TableName>()
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
    for (const { key } of writes) this.#cache.delete(rowName(table, partition, key))
    // A position alone is worth no commit of its own: where it is lost, what led to it is read again, for nothing.
    if (writes.length > 0) await this.#writes.kept()
  }

  async position (table: TableName, partition: number): Promise<TablePosition> {
    return this.#generations.position(table, this.#generations.live(table), partition)
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
        this.#writes.put(writes.map(write => prefixOf(table, generation, partition, write)), writes)
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
    const prefixes = writes.map(write => prefixOf(table, generation, partition, write)) // a bad key refuses all of it
    this.#writes.put(prefixes, writes, this.#generations.move(table, generation, partition, step))
    return true
  }
}

function rowName (table: TableName, partition: number, key: string): string { return `${table}/${partition}/${key}` }
