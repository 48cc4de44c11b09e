import type { Cluster, Redis } from 'ioredis'
import { GatewayError } from '../../schemas/errors.js'
import { newGeneration, type TableKeys } from './redis-keys.js'
import { changesOf, fieldsOf, filled, keptBeside, listed, type Row } from './redis-rows.js'
import { scanKeys } from './redis-scan.js'
import type { TableScripts } from './redis-scripts.js'
import type { Draft, TableName, TablePosition, TableStep, TableWrite } from './tables.js'

export interface DraftDeps {
  readonly redis: Redis | Cluster
  readonly scripts: TableScripts
  readonly keys: TableKeys
  readonly identity: string
  readonly table: TableName
  readonly partitions: number
  adopted (partition: number, generation: string): void
  /** Removes the rows of generations that are not known any more. */
  sweep (): Promise<void>
}

/** Longer than any pause of a rebuild that lives; what a crash left behind is given up after it. */
const keptMs = 60_000

/** @throws GatewayError `not-ready` where another one is not over yet */
export async function beginDraft (deps: DraftDeps): Promise<Draft> {
  const draft = new RedisDraft(deps)
  await draft.begin()
  return draft
}

class RedisDraft implements Draft {
  readonly #deps: DraftDeps
  readonly #generation = newGeneration()

  constructor (deps: DraftDeps) { this.#deps = deps }

  async begin (): Promise<void> {
    const { scripts, identity, table, partitions } = this.#deps
    for (let partition = 0; partition < partitions; partition++) {
      const argv = [identity, this.#generation, keptMs, keptBeside(table)]
      if (await scripts.draftBegin(1, [this.#meta(partition)], argv)) continue
      await this.#forget()
      throw new GatewayError('not-ready', `${table} is being rebuilt already, or was by a node that died a minute ago`)
    }
  }

  async get (_table: TableName, partition: number, key: string): Promise<ReadonlyMap<string, any>> {
    const [fields] = await this.#read(partition, [key])
    return fields!
  }

  async * scan (_table: TableName, only?: number): AsyncIterable<Row> {
    const { redis, keys, table, partitions } = this.#deps
    if (listed.has(table)) {
      for (let partition = 0; partition < partitions; partition++) {
        if (partition !== (only ?? partition)) continue
        const slice = { table, partition }
        const found = await redis.smembers(keys.list(slice, this.#generation))
        yield * filled(slice, found, await this.#read(partition, found))
      }
      return
    }
    for await (const step of scanKeys(redis, keys, table)) {
      for (const { slice, generation, keys: found } of step) {
        if (generation !== this.#generation || slice.partition !== (only ?? slice.partition)) continue
        yield * filled(slice, found, await this.#read(slice.partition, found))
      }
    }
  }

  async position (_table: TableName, partition: number): Promise<TablePosition> {
    const fields = [`next:${this.#generation}`, `atMs:${this.#generation}`]
    const [next, atMs] = await this.#deps.redis.hmget(this.#meta(partition), ...fields)
    return { next: BigInt(next ?? 0), atMs: Number(atMs ?? 0) }
  }

  async apply (
    _table: TableName, partition: number, writes: readonly TableWrite[], { from = 0n, next, atMs }: TableStep
  ): Promise<void> {
    await this.#write(partition, writes, [String(from), String(next), atMs])
  }

  async seed (partition: number, writes: readonly TableWrite[]): Promise<void> {
    await this.#write(partition, writes, ['0', '', 0])
  }

  async adopt (partitions: readonly number[], behindMax: bigint): Promise<readonly number[]> {
    const { scripts, identity, table, adopted } = this.#deps
    const behind: number[] = []
    for (const partition of partitions) {
      const argv = [identity, this.#generation, String(behindMax)]
      const outcome = await scripts.draftAdopt(1, [this.#meta(partition)], argv)
      if (outcome === 'generation') throw new Error(`${table}, partition ${partition}: its draft is gone`)
      if (outcome === 'adopted') adopted(partition, this.#generation)
      else behind.push(partition)
    }
    return behind
  }

  async discard (): Promise<void> {
    await this.#forget()
    await this.#deps.sweep()
  }

  async #forget (): Promise<void> {
    const { scripts, partitions } = this.#deps
    for (let partition = 0; partition < partitions; partition++) {
      await scripts.draftDiscard(1, [this.#meta(partition)], [this.#generation])
    }
  }

  async #write (
    partition: number, writes: readonly TableWrite[], step: readonly [from: string, next: string, atMs: number]
  ): Promise<void> {
    const { scripts, keys, identity, table } = this.#deps
    const slice = { table, partition }
    const { rows, changes } = changesOf(table, writes)
    const list = listed.has(table) ? keys.list(slice, this.#generation) : keys.meta(slice)
    const names = [keys.meta(slice), list, ...rows.map(row => keys.row(slice, this.#generation, row))]
    const argv = [identity, this.#generation, keptMs, ...step, keptBeside(table), ...changes]
    const [status, stored] = await scripts.draftApply(names.length, names, argv)
    if (status === 'generation') throw new Error(`${table}, partition ${partition}: its draft is gone`)
    if (status === 'behind') {
      throw new Error(`${table}, partition ${partition}: got a step from ${step[0]} on, want one from ${stored} on`)
    }
  }

  async #read (partition: number, keys: readonly string[]): Promise<Array<Map<string, any>>> {
    const slice = { table: this.#deps.table, partition }
    return await Promise.all(keys.map(async key => {
      const fields = await this.#deps.redis.hgetall(this.#deps.keys.row(slice, this.#generation, key))
      return fieldsOf(Object.entries(fields).flat())
    }))
  }

  #meta (partition: number): string { return this.#deps.keys.meta({ table: this.#deps.table, partition }) }
}
