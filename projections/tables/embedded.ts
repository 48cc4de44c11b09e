import { setImmediate as turn } from 'node:timers/promises'
import type { WriteBatch } from '../../ledger/embedded/batch.js'
import { kind } from '../../ledger/embedded/keys.js'
import type { Store } from '../../ledger/embedded/store.js'
import { keyBytesMax, type TableName, type TablePosition, type Tables, type TableWrite } from './tables.js'

export interface EmbeddedTables extends Tables {
  /** Empties the table and its positions, so that it can be built anew. The old rows go over the next commits. */
  reset (table: TableName): Promise<void>
}

const tableIds = { presence: 1, routing: 2, nodes: 3, connections: 4 } as const satisfies Record<TableName, number>
const start: TablePosition = { next: 0n, atMs: 0 }
const removalsPerCommit = 1000
const rowsPerTurn = 500
/** Rows kept in memory as `get` gave them; past it the one read first goes. A row takes about 1 KB. */
const rowsCachedMax = 10_000

/** What was taken and is not durable yet: fields by row prefix, undefined for a removed one; and the positions. */
interface Overlay {
  readonly fields: Map<string, Map<string, string | undefined>>
  readonly positions: Map<string, Buffer>
  readonly applies: Array<{ resolve (): void, reject (err: unknown): void }>
}

/**
 * The read models in the local store, one row per field. Writes ride on commits of the ledger; until then they are in
 * memory, where `get` finds them. Those whose commit fails are tried again with the next one: they were seen before,
 * and a position must not move past writes that were never stored.
 */
export function embeddedTables (store: Store): EmbeddedTables {
  const { env } = store
  const generations = new Map<TableName, number>()
  const positions = new Map<string, TablePosition>()
  /**
   * Rows as `get` gave them, until they are written: a signal to 200 users would otherwise be 200 walks through the
   * tree, 10 us each, which was most of its cost.
   */
  const cache = new Map<string, ReadonlyMap<string, any>>()
  /** Generations given up, whose rows are being removed. */
  const givenUp: Buffer[] = []
  let waiting = emptyOverlay()
  let inFlight = emptyOverlay()

  store.register({
    write (batch) {
      inFlight = waiting
      waiting = emptyOverlay()
      for (const [prefix, fields] of inFlight.fields) {
        for (const [field, json] of fields) {
          const key = Buffer.concat([Buffer.from(prefix, 'latin1'), Buffer.from(field)])
          if (json === undefined) batch.remove(key)
          else batch.put(key, Buffer.from(json))
        }
      }
      for (const [key, position] of inFlight.positions) batch.put(Buffer.from(key, 'latin1'), position)
      removeGivenUp(batch)
    },
    committed () {
      const { applies } = inFlight
      inFlight = emptyOverlay()
      for (const { resolve } of applies) resolve()
    },
    failed () {
      waiting = merged(inFlight, waiting)
      inFlight = emptyOverlay()
      if (waiting.applies.length > 0) store.request(true)
    },
    closed (err) { for (const { reject } of waiting.applies.splice(0)) reject(err) },
  })

  function removeGivenUp (batch: WriteBatch): void {
    const prefix = givenUp[0]
    if (!prefix) return
    let count = 0
    for (const key of env.getKeys({ start: prefix, end: after(prefix), limit: removalsPerCommit })) {
      batch.remove(key)
      count++
    }
    if (count < removalsPerCommit) givenUp.shift()
    if (givenUp.length > 0) store.request(true)
  }

  function generationOf (table: TableName): number {
    let generation = generations.get(table)
    if (generation === undefined) {
      const row = env.getBinary(tableKey(table))
      generation = row ? Number(JSON.parse(row.toString()).generation) : 0
      generations.set(table, generation)
    }
    return generation
  }

  function positionOf (key: string): TablePosition {
    let position = positions.get(key)
    if (!position) {
      const row = env.getBinary(Buffer.from(key, 'latin1'))
      const stored = row ? JSON.parse(row.toString()) : undefined
      position = stored ? { next: BigInt(stored.next), atMs: stored.atMs } : start
      positions.set(key, position)
    }
    return position
  }

  function fieldsOf (prefix: string): Map<string, any> {
    const fields = new Map<string, any>()
    const first = Buffer.from(prefix, 'latin1')
    for (const { key, value } of env.getRange({ start: first, end: after(first) })) {
      fields.set(key.toString('utf8', first.length), JSON.parse(value.toString()))
    }
    for (const overlay of [inFlight, waiting]) {
      for (const [field, json] of overlay.fields.get(prefix) ?? []) {
        if (json === undefined) fields.delete(field)
        else fields.set(field, JSON.parse(json))
      }
    }
    return fields
  }

  return {
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

    async * scan (table) {
      const all = tablePrefix(kind.field, table, generationOf(table))
      const unseen = new Set<string>()
      for (const overlay of [inFlight, waiting]) {
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
    },

    async apply (table, partition, writes, position) {
      const generation = generationOf(table)
      const key = positionKey(table, generation, partition)
      const { next, atMs, from } = position
      const taken = positionOf(key).next
      if (taken >= next) return
      if (from !== undefined && taken < from) {
        throw new Error(`${table}, partition ${partition}: got a step from ${from} on, want one from ${taken} on`)
      }
      // All keys are made before the first write is taken: a bad one refuses the whole step.
      const prefixes = writes.map(write => prefixOf(table, generation, partition, write))
      for (let i = 0; i < writes.length; i++) {
        setField(waiting, prefixes[i]!, writes[i]!)
        cache.delete(rowName(table, partition, writes[i]!.key))
      }
      positions.set(key, { next, atMs })
      waiting.positions.set(key, Buffer.from(`{"next":"${next}","atMs":${atMs}}`))
      await kept()
    },

    async position (table, partition) { return positionOf(positionKey(table, generationOf(table), partition)) },

    async reset (table) {
      const old = generationOf(table)
      const generation = (old + 1) % 0x10000
      generations.set(table, generation)
      cache.clear()
      waiting.positions.set(tableKey(table).toString('latin1'), Buffer.from(JSON.stringify({ generation })))
      givenUp.push(tablePrefix(kind.field, table, old), tablePrefix(kind.position, table, old))
      await kept()
    },
  }

  function kept (): Promise<void> {
    return new Promise((resolve, reject) => {
      waiting.applies.push({ resolve, reject })
      store.request(true)
    })
  }
}

function rowName (table: TableName, partition: number, key: string): string { return `${table}/${partition}/${key}` }

function emptyOverlay (): Overlay { return { fields: new Map(), positions: new Map(), applies: [] } }

function merged (older: Overlay, newer: Overlay): Overlay {
  for (const [prefix, fields] of newer.fields) {
    const under = older.fields.get(prefix)
    if (under) for (const [field, json] of fields) under.set(field, json)
    else older.fields.set(prefix, fields)
  }
  for (const [key, position] of newer.positions) older.positions.set(key, position)
  older.applies.push(...newer.applies)
  return older
}

function setField (overlay: Overlay, prefix: string, write: TableWrite): void {
  let fields = overlay.fields.get(prefix)
  if (!fields) overlay.fields.set(prefix, fields = new Map())
  fields.set(write.field, write.type === 'put' ? JSON.stringify(write.value) : undefined)
}

/** A row's key without the field: as text with one character per byte, so that a Map finds it. */
function prefixOf (
  table: TableName, generation: number, partition: number, { key, field }: { key: string, field: string }
): string {
  const bytes = Buffer.byteLength(key)
  if (bytes > keyBytesMax || Buffer.byteLength(field) > keyBytesMax) {
    throw new RangeError(`${table}: got a key of ${bytes} and a field of ${Buffer.byteLength(field)} bytes, ` +
      `want at most ${keyBytesMax} each`)
  }
  const prefix = Buffer.alloc(namesAt + bytes)
  tablePrefix(kind.field, table, generation).copy(prefix)
  prefix.writeUInt16BE(partition, 4)
  prefix.writeUInt16BE(bytes, 6)
  prefix.write(key, namesAt)
  return prefix.toString('latin1')
}

const namesAt = 8

function prefixIn (row: Buffer): string { return row.toString('latin1', 0, namesAt + row.readUInt16BE(6)) }

function namesIn (prefix: string): { partition: number, key: string } {
  const bytes = Buffer.from(prefix, 'latin1')
  return { partition: bytes.readUInt16BE(4), key: bytes.toString('utf8', namesAt) }
}

function positionKey (table: TableName, generation: number, partition: number): string {
  const key = Buffer.alloc(6)
  tablePrefix(kind.position, table, generation).copy(key)
  key.writeUInt16BE(partition, 4)
  return key.toString('latin1')
}

function tablePrefix (of: number, table: TableName, generation: number): Buffer {
  return Buffer.from([of, tableIds[table], generation >> 8, generation & 0xff])
}

function tableKey (table: TableName): Buffer { return Buffer.from([kind.table, tableIds[table]]) }

/** The first key behind all that begin with `prefix`. Kinds are small, so there always is one. */
function after (prefix: Buffer): Buffer {
  const next = Buffer.from(prefix)
  let at = next.length - 1
  while (next[at] === 0xff) at--
  next[at]!++
  return next.subarray(0, at + 1)
}
