import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster, Redis } from 'ioredis'
import { CircuitOpen } from '../../ledger/circuit.js'
import { GatewayError } from '../../schemas/errors.js'
import { newGeneration, TableKeys, type Slice } from './redis-keys.js'
import { completeIndex } from './redis-index.js'
import { scanKeys } from './redis-scan.js'
import { tableScripts, type TableScripts } from './redis-scripts.js'
import { sweep } from './redis-sweep.js'
import { rowsPerCall, TableReads } from './redis-reads.js'
import { changesOf, filled, keptBeside, listed, type Row } from './redis-rows.js'
import { beginDraft } from './redis-draft.js'
import { hasIndex } from './route-index.js'
import {
  type Draft, GenerationReplaced, type RebuildableTables, type TableName, type TablePosition, type TableStep,
  type TableWrite,
} from './tables.js'

export interface RedisTablesOptions {
  /** What every key begins with. Letters, digits, `.`, `_` and `-`. */
  readonly prefix: string
  /** Names the log that the tables are made of. A table that was made of another one counts as empty. */
  readonly identity: string
  /** Partitions of the stream that the table is made of. */
  readonly partitions: (table: TableName) => number
  /**
   * The first offset that the partition of the table's stream does not have yet. A table that claims to be further was
   * made of a log that is gone, and counts as empty.
   */
  readonly endOf?: (table: TableName, partition: number) => Promise<bigint>
  /** How long after the first write, or after a new generation, rows of old ones are removed. */
  readonly sweepAfterMs?: number
  /** Pause after each thousand keys of it. */
  readonly sweepPauseMs?: number
  /** Rows of old generations could not be removed. It is tried again after the next start. */
  readonly onSweepFailed?: (error: unknown) => void
}

export interface RedisTables extends RebuildableTables {
  /** Ends what goes on in the background. The connection is the caller's. */
  close (): void
}

/** The generation of a slice as this process knows it; one that has not begun is what the next `apply` would begin. */
interface Generation { readonly id: string, readonly begun: boolean }

/** Tries of one call that meets a generation it does not know: to learn of it, and to be overtaken once more. */
const triesMax = 3

/**
 * The read models in Redis, one hash per row. Writes and position of a step are one script. What is stored belongs to a
 * generation, a random name that stands in the keys and beside the position: a Redis that was flushed, or that somebody
 * else's log was written to, has no generation of ours, so the table is empty, at position 0, and what the runner reads
 * from the log again begins the next one.
 *
 * Nothing is queued and nothing is tried again here: a call fails when Redis is away, and may have taken effect.
 */
export function redisTables (redis: Redis | Cluster, options: RedisTablesOptions): RedisTables {
  return new TablesInRedis(redis, options)
}

class TablesInRedis implements RedisTables {
  readonly #redis: Redis | Cluster
  readonly #scripts: TableScripts
  readonly #options: RedisTablesOptions
  readonly #keys: TableKeys
  readonly #reads: TableReads
  /** By the key of the slice's hash. */
  readonly #generations = new Map<string, Generation>()
  /** Slices whose position was compared with the end of the log. */
  readonly #compared = new Set<string>()
  /** Tables with a sweep that is due, and those that had one. */
  readonly #sweepsDue = new Set<TableName>()
  readonly #swept = new Set<TableName>()
  readonly #closed = new AbortController()

  constructor (redis: Redis | Cluster, options: RedisTablesOptions) {
    this.#redis = redis
    this.#scripts = tableScripts(redis)
    this.#options = options
    this.#keys = new TableKeys(options.prefix)
    this.#reads = new TableReads(redis, this.#scripts, this.#keys, options.identity)
  }

  async get (table: TableName, partition: number, key: string): Promise<ReadonlyMap<string, any>> {
    const [fields] = await answered(this.#read({ table, partition }, [key]))
    return fields ?? new Map()
  }

  async * scan (table: TableName, partition?: number): AsyncIterable<Row> {
    try {
      yield * this.#scan(table, partition)
    } catch (cause) {
      throw unanswered(cause as Error)
    }
  }

  async * #scan (table: TableName, only?: number): AsyncIterable<Row> {
    if (listed.has(table)) {
      const all = Array.from({ length: this.#options.partitions(table) }, (_, partition) => partition)
      const slices = all.filter(partition => partition === (only ?? partition)).map(partition => ({ table, partition }))
      const keys = await Promise.all(slices.map(slice => this.#list(slice)))
      const rows = await Promise.all(slices.map((slice, i) => this.#read(slice, keys[i]!)))
      for (const [i, slice] of slices.entries()) yield * filled(slice, keys[i]!, rows[i]!)
      return
    }
    for await (const step of scanKeys(this.#redis, this.#keys, table)) {
      // The read of a generation that is not the live one gives nothing: whether it is live only Redis can tell.
      const wanted = step.filter(({ slice: { partition } }) => partition === (only ?? partition))
      const reads = wanted.map(({ slice, generation, keys }) => this.#read(slice, keys, generation))
      for (const [i, rows] of (await Promise.all(reads)).entries()) {
        yield * filled(wanted[i]!.slice, wanted[i]!.keys, rows)
      }
    }
  }

  async apply (table: TableName, partition: number, writes: readonly TableWrite[], step: TableStep): Promise<void> {
    const slice = { table, partition }
    const { rows, changes } = changesOf(table, writes)
    for (let tries = 0; tries < triesMax; tries++) {
      // No await before this call: steps reach Redis in the order in which they were given.
      const generation = this.#generationOf(slice)
      const isReplaced = step.generation !== undefined && generation.begun && generation.id !== step.generation
      if (isReplaced) throw new GenerationReplaced(table, partition)
      const [status, stored] = await this.#scripts.tableApply(2 + rows.length, this.#keysOf(slice, generation, rows), [
        this.#options.identity, generation.id, generation.begun ? 0 : 1,
        String(step.from ?? 0n), String(step.next), step.atMs, keptBeside(table), ...changes,
      ])
      if (status === 'behind') {
        throw new Error(`${table}, partition ${partition}: got a step from ${step.from} on, want one from ${stored} on`)
      }
      this.#learn(slice, status === 'kept' ? generation.id : stored)
      if (status === 'kept') {
        if (!generation.begun || !this.#swept.has(table)) this.#sweepLater(table)
        return
      }
    }
    throw new Error(`${table}, partition ${partition}: its generations change too fast`)
  }

  async position (table: TableName, partition: number): Promise<TablePosition> {
    const slice = { table, partition }
    const stored = await this.#position(slice)
    const { endOf } = this.#options
    const name = this.#keys.meta(slice)
    if (endOf && !this.#compared.has(name)) {
      const end = await endOf(table, partition) // asked for after the position was read, so it is not behind it
      this.#compared.add(name)
      if (stored.next > end) {
        await this.#scripts.tableAbandon(1, [name], [this.#generationOf(slice).id])
        return await this.#position(slice)
      }
    }
    return stored
  }

  async index (table: TableName, partitions: readonly number[]): Promise<readonly number[]> {
    if (!hasIndex(table)) return []
    const { identity } = this.#options
    const deps = {
      redis: this.#redis, scripts: this.#scripts, reads: this.#reads, keys: this.#keys, identity, table,
    }
    return await answered(completeIndex(deps, partitions))
  }

  async draft (table: TableName): Promise<Draft> {
    const { identity, partitions } = this.#options
    return await beginDraft({
      redis: this.#redis,
      scripts: this.#scripts,
      keys: this.#keys,
      identity,
      table,
      partitions: partitions(table),
      adopted: (partition, generation) => { this.#learn({ table, partition }, generation) },
      sweep: () => sweep(this.#redis, this.#scripts, this.#keys, table, 0, this.#closed.signal)
        .catch(error => { this.#options.onSweepFailed?.(error) }),
    })
  }

  close (): void { this.#closed.abort() }

  async #position (slice: Slice): Promise<TablePosition> {
    const { live, next, atMs } = await answered(this.#reads.position(slice))
    this.#learn(slice, live)
    return { next, atMs, generation: this.#generationOf(slice).id }
  }

  /** @returns the fields of the rows, in order; none at all when `generation` is not the live one */
  async #read (slice: Slice, keys: readonly string[], generation?: string): Promise<Array<Map<string, any>>> {
    for (let tries = 0; tries < triesMax; tries++) {
      const id = generation ?? this.#generationOf(slice).id
      const rows: Array<Map<string, any>> = []
      let live = id
      for (let at = 0; live === id && at < keys.length; at += rowsPerCall) {
        const found = await this.#reads.rows(slice, id, keys.slice(at, at + rowsPerCall))
        live = found.live
        rows.push(...found.rows)
      }
      this.#learn(slice, live)
      if (live === id) return rows
      if (live === '' || generation !== undefined) return []
    }
    throw new Error(`${slice.table}, partition ${slice.partition}: its generations change too fast`)
  }

  async #list (slice: Slice): Promise<string[]> {
    for (let tries = 0; tries < triesMax; tries++) {
      const { id } = this.#generationOf(slice)
      const { live, keys } = await this.#reads.list(slice, id)
      this.#learn(slice, live)
      if (live === id) return keys
      if (live === '') return []
    }
    throw new Error(`${slice.table}, partition ${slice.partition}: its generations change too fast`)
  }

  #keysOf (slice: Slice, { id }: Generation, rows: readonly string[]): string[] {
    const meta = this.#keys.meta(slice)
    const list = listed.has(slice.table) ? this.#keys.list(slice, id) : meta
    return [meta, list, ...rows.map(row => this.#keys.row(slice, id, row))]
  }

  #generationOf (slice: Slice): Generation {
    const name = this.#keys.meta(slice)
    let generation = this.#generations.get(name)
    if (!generation) this.#generations.set(name, generation = { id: newGeneration(), begun: false })
    return generation
  }

  /** @param live the generation that Redis has; '' for none, so that one which had begun is over for good */
  #learn (slice: Slice, live: string): void {
    const name = this.#keys.meta(slice)
    const known = this.#generations.get(name)
    if (live === '') {
      if (known?.begun) this.#generations.delete(name)
    } else if (known?.id !== live || !known.begun) {
      this.#generations.set(name, { id: live, begun: true })
    }
  }

  #sweepLater (table: TableName): void {
    if (this.#sweepsDue.has(table)) return
    this.#sweepsDue.add(table)
    this.#swept.add(table)
    this.#sweep(table).catch(error => {
      if (!this.#closed.signal.aborted) this.#options.onSweepFailed?.(error)
    })
  }

  async #sweep (table: TableName): Promise<void> {
    const { sweepAfterMs = 60_000, sweepPauseMs = 50 } = this.#options
    const { signal } = this.#closed
    await delay(sweepAfterMs, undefined, { signal, ref: false })
    this.#sweepsDue.delete(table) // a generation that begins from now on needs another pass
    await sweep(this.#redis, this.#scripts, this.#keys, table, sweepPauseMs, signal)
  }
}

/** Redis refuses or does not answer: that is not the fault of whoever asks, and no defect. */
async function answered<T> (answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw unanswered(cause as Error)
  }
}

function unanswered (cause: Error): GatewayError {
  if (cause instanceof GatewayError) return cause
  const retryAfterMs = cause instanceof CircuitOpen ? cause.retryAfterMs : 0
  return new GatewayError('not-ready', `Redis: ${cause.message}`, { cause, retryAfterMs })
}
