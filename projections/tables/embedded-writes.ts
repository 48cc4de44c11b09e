import { pageBytesOf, type WriteBatch } from '../../ledger/embedded/batch.js'
import type { Store } from '../../ledger/embedded/store.js'
import { tableKey } from './embedded-keys.js'
import type { TableName, TableWrite } from './tables.js'

/** What a portion takes on, in page bytes, before there is a next one: as many fields as a busy commit has room for. */
const portionBytesMax = 1 << 16

/** What goes into one commit together. */
interface Portion {
  /** JSON by row prefix and field; undefined for a field that is removed. */
  readonly fields: Map<string, Map<string, string | undefined>>
  readonly positions: Map<string, Buffer>
  /** Tables whose own row changed, as it is then. */
  readonly tables: Map<TableName, string>
  readonly waiting: Array<{ resolve (): void, reject (err: unknown): void }>
  /** Of the fields, as a batch counts them. */
  pageBytes: number
}

/**
 * Writes of tables that wait for a commit of the store, in order. Readers see them meanwhile. Those whose commit fails
 * are written again with the next one: they were seen before, and a position must not move past writes that were never
 * stored. What is more than a commit should have goes over several, a step and its position always together.
 */
export class WaitingWrites {
  readonly #store: Store
  readonly #portions: Portion[] = []
  /** So many of them are in the commit under way. */
  #written = 0

  constructor (store: Store) {
    this.#store = store
    store.register({
      derived: true,
      write: batch => { this.#write(batch) },
      committed: () => { this.#committed() },
      failed: () => {
        this.#written = 0
        if (this.#portions.some(({ waiting }) => waiting.length > 0)) store.request(true)
      },
      givenUp: err => {
        for (const { waiting } of this.#portions) for (const { reject } of waiting.splice(0)) reject(err)
      },
    })
    store.onClose(async () => { if (this.#portions.length > 0) store.request(true) })
  }

  /**
   * All of it goes into one commit.
   *
   * @param prefixes the row of each write
   * @param position where they lead to: its key, and what is stored there
   */
  put (prefixes: readonly string[], writes: readonly TableWrite[], position?: readonly [string, Buffer]): void {
    const portion = this.#open()
    for (let i = 0; i < writes.length; i++) setField(portion, prefixes[i]!, writes[i]!)
    if (position) portion.positions.set(...position)
  }

  putTable (table: TableName, json: string): void { this.#open().tables.set(table, json) }

  /** Asks for a commit. Resolves once all that was put is stored; rejects when the store is given up before. */
  kept (): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#open().waiting.push({ resolve, reject })
      this.#store.request(true)
    })
  }

  /** @param fields of a row as they are stored; they become what they will be */
  layOver (prefix: string, fields: Map<string, any>): void {
    for (const portion of this.#portions) {
      for (const [field, json] of portion.fields.get(prefix) ?? []) {
        if (json === undefined) fields.delete(field)
        else fields.set(field, JSON.parse(json))
      }
    }
  }

  /** @returns what the field will be, undefined inside where it is removed; undefined where nothing waits for it */
  waiting (prefix: string, field: string): { readonly json: string | undefined } | undefined {
    for (let i = this.#portions.length - 1; i >= 0; i--) {
      const fields = this.#portions[i]!.fields.get(prefix)
      if (fields?.has(field)) return { json: fields.get(field) }
    }
    return undefined
  }

  /** Fields of the row that will have a value, and something waits for. */
  * waitingFields (prefix: string): Iterable<string> {
    for (const { fields } of this.#portions) {
      for (const field of fields.get(prefix)?.keys() ?? []) {
        if (this.waiting(prefix, field)!.json !== undefined) yield field
      }
    }
  }

  /** Of rows that something waits for. */
  prefixes (startsWith: string): Set<string> {
    const prefixes = new Set<string>()
    for (const { fields } of this.#portions) {
      for (const prefix of fields.keys()) if (prefix.startsWith(startsWith)) prefixes.add(prefix)
    }
    return prefixes
  }

  /** Where the next write goes. */
  #open (): Portion {
    const last = this.#portions.at(-1)
    const isTaken = this.#written === this.#portions.length
    if (last && last.pageBytes < portionBytesMax && !isTaken) return last
    const portion = { fields: new Map(), positions: new Map(), tables: new Map(), waiting: [], pageBytes: 0 }
    this.#portions.push(portion)
    return portion
  }

  #write (batch: WriteBatch): void {
    while (this.#written < this.#portions.length && (this.#written === 0 || batch.pageBytes < batch.derivedEnd)) {
      writePortion(batch, this.#portions[this.#written++]!)
    }
  }

  #committed (): void {
    for (const { waiting } of this.#portions.splice(0, this.#written)) for (const { resolve } of waiting) resolve()
    this.#written = 0
    // At once: it has waited for a commit already.
    if (this.#portions.some(({ waiting }) => waiting.length > 0)) this.#store.request(false)
  }
}

function writePortion (batch: WriteBatch, { fields: rows, positions, tables }: Portion): void {
  for (const [prefix, fields] of rows) {
    for (const [field, json] of fields) {
      const key = Buffer.concat([Buffer.from(prefix, 'latin1'), Buffer.from(field)])
      if (json === undefined) batch.remove(key)
      else batch.put(key, Buffer.from(json))
    }
  }
  for (const [key, position] of positions) batch.put(Buffer.from(key, 'latin1'), position)
  for (const [table, json] of tables) batch.put(tableKey(table), Buffer.from(json))
}

function setField (portion: Portion, prefix: string, write: TableWrite): void {
  let fields = portion.fields.get(prefix)
  if (!fields) portion.fields.set(prefix, fields = new Map())
  const json = write.type === 'put' ? JSON.stringify(write.value) : undefined
  if (!fields.has(write.field)) portion.pageBytes += pageBytesOf(json?.length ?? 0)
  fields.set(write.field, json)
}
