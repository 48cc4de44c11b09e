import type { Memory, Projection } from './projection.js'
import { bytesOf, GenerationReplaced, keyBytesMax } from './tables/tables.js'
import type { TableName, TablePosition, TableStep, Tables, TableWrite } from './tables/tables.js'

/** An item that a projection could not take. It is left out of the table. */
export interface Poison<T> {
  readonly item: T
  readonly error: unknown
  readonly table: TableName
  readonly partition: number
  readonly offset: bigint
  readonly index: number
}

/** A projection whose writes may say in which block of the partition the item stood. */
export interface PlacedProjection<T> extends Omit<Projection<T>, 'project'> {
  project (item: T, offset: bigint): Iterable<TableWrite>
}

export interface TableWriterOptions<T> {
  readonly projection: PlacedProjection<T>
  readonly partition: number
  readonly tables: Tables
  /** Applies on their way at once; more writes than that wait and go together. */
  readonly appliesMax: number
  readonly onPoison: (poison: Poison<T>) => void
  /** An apply failed: this writer is of no more use, the stored position says where another one goes on. */
  readonly onFailed: (error: unknown) => void
  readonly now: () => number
}

interface Item { readonly atMs: number }

/** Writes that are not kept yet: since which block, since when by our clock, of how many items, and their size. */
export interface Unkept { readonly from: bigint, readonly sinceMs: number, items: number, bytes: number }

/** Writes that go to the table together, by what their blocks ask for. */
interface Collected extends Unkept {
  readonly writes: TableWrite[]
  /** Where the table stands once it has them. */
  next: bigint
  atMs: number
}

/**
 * What one step has, unless the writes of a single block are more: while a script runs, Redis answers nobody. A write
 * of table `routing` takes it some 20 us.
 */
export const stepBytesMax = 512 << 10
export const stepWritesMax = 1_000

/**
 * What the writes of one partition of a table that are not kept yet may take in memory; past it, or past the writes of
 * one block where those are more, the stream is not read further.
 */
export const unkeptBytesMax = 1 << 20

/**
 * Takes one partition of one table forward. Blocks go in, in order; out go applies that each join the one before
 * without a hole. Writes go out in the turn in which they came in, so that whoever is told of an entry after the runner
 * finds its row in the table; progress without writes waits until `sendPosition`.
 */
export class TableWriter<T extends Item> {
  /** The first offset not taken yet. */
  next: bigint
  /** An apply failed: nothing more is taken. */
  failed = false

  readonly #options: TableWriterOptions<T>
  /** Of the rows that `#memory` was loaded from. */
  readonly #generation: string | undefined
  readonly #memory: Memory<T> | undefined
  /** The first offset not given to `apply` yet. */
  #sent: bigint
  /** The first offset that the table may lack if an apply fails. */
  #kept: bigint
  #atMs: number
  /** What waits for a place among the applies, in order. */
  #waiting: Collected[] = []
  #applies = 0
  readonly #onTheirWay = new Set<Unkept>()
  #wakes: (() => void)[] = []

  static async open<T extends Item> (options: TableWriterOptions<T>): Promise<TableWriter<T>> {
    const { projection, partition, tables } = options
    const position = await tables.position(projection.table, partition)
    return new TableWriter<T>(options, position, await projection.memory?.(tables, partition))
  }

  private constructor (options: TableWriterOptions<T>, position: TablePosition, memory: Memory<T> | undefined) {
    this.#options = options
    this.#memory = memory
    this.next = this.#sent = this.#kept = position.next
    this.#atMs = position.atMs
    this.#generation = position.generation
  }

  /** What the writes that are not kept yet take in memory, whether they are on their way or wait. */
  unkeptBytes = 0

  /** What is not kept yet, the oldest first. */
  unkept (): Unkept[] { return [...this.#onTheirWay, ...this.#waiting] }

  /** The first offset whose writes may not be kept; `next` when all are. */
  get keptTo (): bigint {
    return this.failed ? this.#kept : this.unkept()[0]?.from ?? this.next
  }

  /** Takes one block, unless the table has it already. */
  take (offset: bigint, items: readonly T[]) {
    if (offset < this.next || this.failed) return
    const { projection } = this.#options
    const writes: TableWrite[] = []
    for (let index = 0; index < items.length; index++) {
      const item = items[index]!
      // Most items concern no table: no iterator and no allocation for those.
      if (projection.concerns(item)) this.#project(item, offset, index, writes)
    }
    this.next = offset + 1n
    this.#atMs = items.at(-1)?.atMs ?? this.#atMs
    if (writes.length > 0) this.#collect(offset, items.length, writes)
    if (this.#waiting.length === 0) return
    const last = this.#waiting.at(-1)!
    last.next = this.next
    last.atMs = this.#atMs
    this.#send()
  }

  /** The stream holds nothing before `next` that was not taken. */
  skipTo (next: bigint) {
    if (next > this.next && !this.failed) this.next = next
  }

  /**
   * While nothing is on its way: lets the table know of progress that brought no writes; where there is none, sees to
   * it that the table still is where it was, for a store that was emptied shows in nothing else while no entries come.
   */
  async sendPosition () {
    if (this.#applies > 0 || this.failed) return
    if (this.#sent !== this.next) return this.#send()
    const { tables, projection, partition } = this.#options
    const sent = this.#sent
    const { next, generation } = await tables.position(projection.table, partition)
    if (next > 0n && generation !== this.#generation) this.#fail(new GenerationReplaced(projection.table, partition))
    else if (next < sent) this.#fail(new Error(`the table went back: it is at ${next}, and was at ${sent}`))
  }

  /** Resolves once the writes that are not kept yet take at most `bytesMax`, or the writer has failed. */
  async room (bytesMax: number) {
    while (this.unkeptBytes > bytesMax && !this.failed) await this.#change()
  }

  /** Sends what is left, the position included, and resolves when nothing is on its way; it may have failed then. */
  async finish () {
    while (this.#applies > 0 || (!this.failed && this.#sent !== this.next)) {
      this.#send()
      await this.#change()
    }
  }

  #project (item: T, offset: bigint, index: number, writes: TableWrite[]) {
    const { projection, partition, onPoison } = this.#options
    const before = writes.length
    try {
      for (const write of projection.project(item, offset)) writes.push(checked(write))
      const memoryWrites = this.#memory ? this.#memory.admit(item) : []
      if (memoryWrites) writes.push(...memoryWrites)
      else writes.length = before
    } catch (error) {
      writes.length = before
      onPoison({ item, error, table: projection.table, partition, offset, index })
    }
  }

  /** The writes of a block go together, for there is no position within it. */
  #collect (offset: bigint, items: number, writes: readonly TableWrite[]) {
    const bytes = writes.reduce((sum, write) => sum + bytesOf(write), 0)
    let last = this.#waiting.at(-1)
    if (!last || last.bytes + bytes > stepBytesMax || last.writes.length + writes.length > stepWritesMax) {
      last = { from: offset, sinceMs: this.#options.now(), items: 0, bytes: 0, writes: [], next: 0n, atMs: 0 }
      this.#waiting.push(last)
    }
    for (const write of writes) last.writes.push(write)
    last.items += items
    last.bytes += bytes
    this.unkeptBytes += bytes
  }

  #send () {
    while (!this.failed && this.#sent !== this.next && this.#applies < this.#options.appliesMax) this.#sendStep()
  }

  #sendStep () {
    const collected = this.#waiting.shift()
    const { writes, next, atMs } = collected ?? { writes: [], next: this.next, atMs: this.#atMs }
    const generation = this.#generation === undefined ? {} : { generation: this.#generation }
    const step = { from: this.#sent, next, atMs, ...generation }
    this.#sent = next
    this.#applies++
    if (collected) this.#onTheirWay.add(collected)
    this.#apply(writes, step)
      .catch(async err => { this.#fail(await this.#reasonOf(err)) })
      .then(() => {
        this.#applies--
        if (collected) {
          this.#onTheirWay.delete(collected)
          this.unkeptBytes -= collected.bytes
        }
        if (this.#waiting.length > 0) this.#send()
        this.#wake()
      })
  }

  /** Calls `tables.apply` in the turn of the caller, and throws nothing into it. */
  async #apply (writes: readonly TableWrite[], step: TableStep) {
    const { tables, projection, partition } = this.#options
    await tables.apply(projection.table, partition, writes, step)
    if (step.next > this.#kept) this.#kept = step.next
  }

  /** What fails because the table was rebuilt may fail in other words, for the new one stands elsewhere. */
  async #reasonOf (error: unknown): Promise<unknown> {
    const { tables, projection, partition } = this.#options
    if (this.#generation === undefined || error instanceof GenerationReplaced) return error
    const stored = await tables.position(projection.table, partition).catch(() => undefined)
    const isRebuilt = stored !== undefined && stored.next > 0n && stored.generation !== this.#generation
    return isRebuilt ? new GenerationReplaced(projection.table, partition) : error
  }

  #fail (error: unknown) {
    if (this.failed) return // the applies behind the one that failed fail too
    this.failed = true
    for (const { bytes } of this.#waiting) this.unkeptBytes -= bytes
    this.#waiting = []
    this.#options.onFailed(error)
  }

  #change () {
    return new Promise<void>(resolve => { this.#wakes.push(resolve) })
  }

  #wake () {
    const wakes = this.#wakes
    this.#wakes = []
    for (const wake of wakes) wake()
  }
}

/** A write that no store takes is the fault of the item; as an error of `apply` it would be tried again for ever. */
function checked (write: TableWrite): TableWrite {
  const bytes = Math.max(Buffer.byteLength(write.key), Buffer.byteLength(write.field))
  if (bytes > keyBytesMax) throw new RangeError(`key or field: got ${bytes} bytes, want at most ${keyBytesMax}`)
  return write
}
