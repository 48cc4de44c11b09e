import { setImmediate as turn } from 'node:timers/promises'
import { derivedBytesMax, pageBytesOf, type WriteBatch } from '../../ledger/embedded/batch.js'
import { kind } from '../../ledger/embedded/keys.js'
import type { Store } from '../../ledger/embedded/store.js'
import { GatewayError } from '../../schemas/errors.js'
import {
  after, generationsMax, namesIn, positionKey, positionsOf, prefixIn, prefixOf, tableKey, tableNames, tablePrefix,
} from './embedded-keys.js'
import {
  type Draft, GenerationReplaced, type RebuildableTables, type TableName, type TablePosition, type TableStep,
  type TableWrite,
} from './tables.js'

export interface EmbeddedTables extends RebuildableTables {
  /** Empties the table and its positions, so that it can be built anew. The old rows go over the next commits. */
  reset (table: TableName): Promise<void>
}

const start = { next: 0n, atMs: 0 }
const removalsPerCommit = 1000
const rowsPerTurn = 500
/** Rows kept in memory as `get` gave them; past it the one read first goes. A row takes about 1 KB. */
const rowsCachedMax = 10_000

/** What one commit takes on: fields by row prefix, undefined for a removed one; positions; rows of tables. */
interface Overlay {
  readonly fields: Map<string, Map<string, string | undefined>>
  readonly positions: Map<string, Buffer>
  /** Tables whose own row changed, as it is then. */
  readonly tables: Map<TableName, string>
  readonly applies: Array<{ resolve (): void, reject (err: unknown): void }>
  /** Of the fields, as a batch counts them. */
  pageBytes: number
}

/** The row of a table: its live generation, and others that may have rows: a draft, and what is being removed. */
interface Generations { readonly generation: number, readonly others?: readonly number[] }

/**
 * The read models in the local store, one row per field. Writes ride on commits of the ledger; until then they are in
 * memory, where `get` finds them. Those whose commit fails are tried again with the next one: they were seen before,
 * and a position must not move past writes that were never stored. What is more than a commit should have goes over
 * several, in order, a step and its position always together.
 */
export function embeddedTables (store: Store): EmbeddedTables {
  const { env } = store
  const generations = new Map<TableName, Generations>()
  const positions = new Map<string, { next: bigint, atMs: number }>()
  const drafts = new Set<TableName>()
  /**
   * Rows as `get` gave them, until they are written: a signal to 200 users would otherwise be 200 walks through the
   * tree, 10 us each, which was most of its cost.
   */
  const cache = new Map<string, ReadonlyMap<string, any>>()
  /** Generations given up, whose rows are being removed. */
  const givenUp: Array<{ readonly table: TableName, readonly generation: number }> = []
  /** In order; the first one is in the commit under way where `isWritten`. */
  const overlays: Overlay[] = []
  let isWritten = false

  /** Where the next step goes. */
  function open (): Overlay {
    const last = overlays.at(-1)
    if (last && last.pageBytes < derivedBytesMax && !(isWritten && overlays.length === 1)) return last
    const overlay = emptyOverlay()
    overlays.push(overlay)
    return overlay
  }

  store.register({
    derived: true,
    write (batch) {
      removeGivenUp(batch)
      const inFlight = overlays[0]
      if (!inFlight) return
      isWritten = true
      for (const [prefix, fields] of inFlight.fields) {
        for (const [field, json] of fields) {
          const key = Buffer.concat([Buffer.from(prefix, 'latin1'), Buffer.from(field)])
          if (json === undefined) batch.remove(key)
          else batch.put(key, Buffer.from(json))
        }
      }
      for (const [key, position] of inFlight.positions) batch.put(Buffer.from(key, 'latin1'), position)
      for (const [table, json] of inFlight.tables) batch.put(tableKey(table), Buffer.from(json))
    },
    committed () {
      if (!isWritten) return
      isWritten = false
      for (const { resolve } of overlays.shift()!.applies) resolve()
      if (overlays.length > 0) store.request(true)
    },
    failed () {
      isWritten = false
      if (overlays.some(({ applies }) => applies.length > 0)) store.request(true)
    },
    givenUp (err) { for (const { applies } of overlays) for (const { reject } of applies.splice(0)) reject(err) },
  })
  // A draft that a crash left behind, or what was being removed.
  for (const table of tableNames) for (const other of generationsOf(table).others ?? []) giveUp(table, other)

  function giveUp (table: TableName, generation: number): void {
    givenUp.push({ table, generation })
    store.request(true)
  }

  function removeGivenUp (batch: WriteBatch): void {
    const [first] = givenUp
    if (!first) return
    const { table, generation } = first
    let count = 0
    for (const of of [kind.field, kind.position]) {
      const prefix = tablePrefix(of, table, generation)
      for (const key of env.getKeys({ start: prefix, end: after(prefix), limit: removalsPerCommit - count })) {
        batch.remove(key)
        count++
      }
      if (count === removalsPerCommit) break
    }
    if (count === 0) { // the removal of the last ones is durable
      givenUp.shift()
      for (const key of positions.keys()) if (key.startsWith(positionsOf(table, generation))) positions.delete(key)
      const { generation: live, others = [] } = generationsOf(table)
      setGenerations(table, live, others.filter(other => other !== generation))
    }
    store.request(true)
  }

  function generationsOf (table: TableName): Generations {
    let row = generations.get(table)
    if (!row) {
      const stored = env.getBinary(tableKey(table))
      row = stored ? JSON.parse(stored.toString()) as Generations : { generation: 0 }
      generations.set(table, row)
    }
    return row
  }

  function setGenerations (table: TableName, generation: number, others: readonly number[]): void {
    const row = others.length > 0 ? { generation, others } : { generation }
    generations.set(table, row)
    open().tables.set(table, JSON.stringify(row))
  }

  function generationOf (table: TableName): number { return generationsOf(table).generation }

  /** One without any rows, and without rows that are still to be removed. */
  function freshGeneration (table: TableName): number {
    const { generation, others = [] } = generationsOf(table)
    let fresh = generation
    do fresh = (fresh + 1) % generationsMax; while (others.includes(fresh))
    return fresh
  }

  function positionOf (table: TableName, generation: number, partition: number): TablePosition {
    const key = positionKey(table, generation, partition)
    let position = positions.get(key)
    if (!position) {
      const row = env.getBinary(Buffer.from(key, 'latin1'))
      const stored = row ? JSON.parse(row.toString()) : undefined
      position = stored ? { next: BigInt(stored.next), atMs: stored.atMs } : start
      positions.set(key, position)
    }
    return { ...position, generation: `${generation}` }
  }

  function fieldsOf (prefix: string): Map<string, any> {
    const fields = new Map<string, any>()
    const first = Buffer.from(prefix, 'latin1')
    for (const { key, value } of env.getRange({ start: first, end: after(first) })) {
      fields.set(key.toString('utf8', first.length), JSON.parse(value.toString()))
    }
    for (const overlay of overlays) {
      for (const [field, json] of overlay.fields.get(prefix) ?? []) {
        if (json === undefined) fields.delete(field)
        else fields.set(field, JSON.parse(json))
      }
    }
    return fields
  }

  async function * scan (table: TableName, generation: number) {
    const all = tablePrefix(kind.field, table, generation)
    const unseen = new Set<string>()
    for (const overlay of overlays) {
      for (const prefix of overlay.fields.keys()) if (prefix.startsWith(all.toString('latin1'))) unseen.add(prefix)
    }
    for (let from: Buffer | undefined = all; from !== undefined;) {
      const prefixes = new Set<string>()
      for (const key of env.getKeys({ start: from, end: after(all), limit: rowsPerTurn })) prefixes.add(prefixIn(key))
      from = undefined
      for (const prefix of prefixes) {
        unseen.delete(prefix)
        const fields = fieldsOf(prefix)
        if (fields.size > 0) yield { ...namesIn(prefix), fields }
        // Past all fields of the last key, for it was given whole, whatever of it lies beyond this turn's rows.
        from = after(Buffer.from(prefix, 'latin1'))
      }
      await turn()
    }
    for (const prefix of unseen) {
      const fields = fieldsOf(prefix)
      if (fields.size > 0) yield { ...namesIn(prefix), fields }
    }
  }

  /** All keys are made before the first write is taken: a bad one refuses the whole step. */
  function take (table: TableName, generation: number, partition: number, writes: readonly TableWrite[]): Overlay {
    const prefixes = writes.map(write => prefixOf(table, generation, partition, write))
    const overlay = open()
    for (let i = 0; i < writes.length; i++) setField(overlay, prefixes[i]!, writes[i]!)
    return overlay
  }

  /** @returns false where the step was taken before */
  function takeStep (
    table: TableName, generation: number, partition: number, writes: readonly TableWrite[], step: TableStep
  ): boolean {
    const { next, atMs, from } = step
    const taken = positionOf(table, generation, partition).next
    if (taken >= next) return false
    if (from !== undefined && taken < from) {
      throw new Error(`${table}, partition ${partition}: got a step from ${from} on, want one from ${taken} on`)
    }
    const overlay = take(table, generation, partition, writes)
    const key = positionKey(table, generation, partition)
    positions.set(key, { next, atMs })
    overlay.positions.set(key, Buffer.from(`{"next":"${next}","atMs":${atMs}}`))
    return true
  }

  function kept (): Promise<void> {
    return new Promise((resolve, reject) => {
      open().applies.push({ resolve, reject })
      store.request(true)
    })
  }

  /** Makes `generation` the live one, and the live one a thing of the past. */
  async function replace (table: TableName, generation: number): Promise<void> {
    const { generation: old, others = [] } = generationsOf(table)
    setGenerations(table, generation, [...others.filter(other => other !== generation), old])
    cache.clear()
    await kept() // with all that was taken for the old one, so that nothing comes after its removal
    giveUp(table, old)
  }

  async function draft (table: TableName): Promise<Draft> {
    if (drafts.has(table)) throw new GatewayError('not-ready', `${table} is being rebuilt already`)
    drafts.add(table)
    const generation = freshGeneration(table)
    const { generation: live, others = [] } = generationsOf(table)
    setGenerations(table, live, [...others, generation]) // with the first write at the latest
    let adopted = false
    return {
      get: async (_table, partition, key) => fieldsOf(prefixOf(table, generation, partition, { key, field: '' })),
      scan: () => scan(table, generation),
      position: async (_table, partition) => positionOf(table, generation, partition),
      async apply (_table, partition, writes, step) {
        if (takeStep(table, generation, partition, writes, step)) await kept()
      },
      async seed (partition, writes) {
        take(table, generation, partition, writes)
        await kept()
      },
      async adopt (partitions, behindMax) {
        const at = (of: number, partition: number) => positionOf(table, of, partition).next
        const behind = partitions.filter(partition =>
          at(generation, partition) + behindMax < at(generationOf(table), partition))
        if (behind.length > 0) return partitions // the table is one for all partitions
        adopted = true
        drafts.delete(table)
        await replace(table, generation)
        return []
      },
      async discard () {
        if (!drafts.has(table) || adopted) return
        await kept()
        giveUp(table, generation)
        drafts.delete(table)
      },
    }
  }

  return {
    draft,

    async get (table, partition, key) {
      const name = rowName(table, partition, key)
      const cached = cache.get(name)
      if (cached) return cached
      const fields = fieldsOf(prefixOf(table, generationOf(table), partition, { key, field: '' }))
      if (fields.size > 0) {
        if (cache.size >= rowsCachedMax) cache.delete(cache.keys().next().value!)
        cache.set(name, fields)
      }
      return fields
    },

    scan: table => scan(table, generationOf(table)),

    async apply (table, partition, writes, step) {
      const generation = generationOf(table)
      if (step.generation !== undefined && step.generation !== `${generation}`) {
        throw new GenerationReplaced(table, partition)
      }
      if (!takeStep(table, generation, partition, writes, step)) return
      for (const { key } of writes) cache.delete(rowName(table, partition, key))
      await kept()
    },

    async position (table, partition) { return positionOf(table, generationOf(table), partition) },

    reset: table => replace(table, freshGeneration(table)),
  }
}

function rowName (table: TableName, partition: number, key: string): string { return `${table}/${partition}/${key}` }

function emptyOverlay (): Overlay {
  return { fields: new Map(), positions: new Map(), tables: new Map(), applies: [], pageBytes: 0 }
}

function setField (overlay: Overlay, prefix: string, write: TableWrite): void {
  let fields = overlay.fields.get(prefix)
  if (!fields) overlay.fields.set(prefix, fields = new Map())
  const json = write.type === 'put' ? JSON.stringify(write.value) : undefined
  if (!fields.has(write.field)) overlay.pageBytes += pageBytesOf(json?.length ?? 0)
  fields.set(write.field, json)
}
