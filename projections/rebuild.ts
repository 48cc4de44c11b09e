import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import type { LogReader } from '../ledger/log.js'
import { Comparison, type Compared } from './rebuild-comparison.js'
import { rebuildPlans, seed, type RebuildPlan } from './rebuild-projections.js'
import { TableWriter, unkeptBytesMax } from './table-writer.js'
import type { Draft, RebuildableTables, TableName } from './tables/tables.js'

export interface RebuildOptions {
  readonly table: TableName
  readonly log: LogReader
  readonly tables: RebuildableTables
  /** Gives the rebuild up, with the live table as it was. */
  readonly signal: AbortSignal
  /** Called after each block. */
  onRead (read: { readonly partition: number, readonly blocks: number, readonly entries: number }): void
  /** All is read, and the comparison begins. */
  onCaughtUp (): void
}

/** How long it may keep the event loop from those who serve clients. */
const sliceMs = 1
/** What is deleted from the stream while a rebuild reads it is kept from the live table as well. */
const olderMarginMs = 3_600_000
const settleMs = 5_000
const positionEveryMs = 2_000
/** Tries to switch where the draft has all that the live one has. */
const exactTries = 10

/**
 * Builds a table anew from its stream, beside the live one and while that is read and written; compares the two; and
 * makes the new one live.
 *
 * Where the beginning of the stream was deleted, what the live table has from before is taken over: only what the
 * stream contradicts can be found wrong there.
 *
 * @throws when it is given up, or the stores fail: the live table is as it was
 */
export async function rebuild (options: RebuildOptions): Promise<Compared> {
  const draft = await options.tables.draft(options.table)
  try {
    return await new Rebuild(options, draft).run()
  } finally {
    await draft.discard()
  }
}

class Rebuild {
  readonly #options: RebuildOptions
  readonly #plan: RebuildPlan
  readonly #draft: Draft
  readonly #partitions: readonly number[]
  readonly #writers: Array<TableWriter<any>> = []
  #failure: { readonly cause: unknown } | undefined
  #sliceFromMs = performance.now()

  constructor (options: RebuildOptions, draft: Draft) {
    this.#options = options
    this.#plan = rebuildPlans[options.table]()
    this.#draft = draft
    this.#partitions = Array.from({ length: options.log.partitions(this.#plan.stream) }, (_, partition) => partition)
  }

  async run (): Promise<Compared> {
    const { table, tables, onCaughtUp } = this.#options
    const cut = await this.#cutPartitions()
    await seed(this.#plan, tables, this.#draft, cut)
    for (const partition of this.#partitions) this.#writers.push(await this.#openWriter(partition))
    const positions = setInterval(() => { this.#sendPositions() }, positionEveryMs)
    try {
      await this.#catchUp(this.#partitions)
      onCaughtUp()
      const compared = await new Comparison({
        table,
        live: tables,
        draft: this.#draft,
        cut: new Set(cut.keys()),
        unindexed: new Set(await tables.index(table, this.#partitions)),
        settle: partitions => this.#settle(partitions),
        pause: () => this.#pause(),
      }).run()
      await this.#checkCut(cut)
      await this.#switch()
      return compared
    } finally {
      clearInterval(positions)
      await Promise.all(this.#writers.map(writer => writer.finish()))
    }
  }

  /** Those whose beginning is gone, and up to when it may be. */
  async #cutPartitions (): Promise<Map<number, number>> {
    const { log } = this.#options
    const { stream } = this.#plan
    const cut = new Map<number, number>()
    for (const partition of this.#partitions) {
      const { first } = await log.bounds(stream, partition)
      if (first === 0n) continue
      const blocks = log.read(stream, partition, { from: first })[Symbol.asyncIterator]()
      const { value: block } = await blocks.next()
      await blocks.return?.()
      cut.set(partition, block ? block.items[0].atMs + olderMarginMs : Date.now())
    }
    return cut
  }

  async #checkCut (cut: ReadonlyMap<number, number>): Promise<void> {
    for (const partition of this.#partitions) {
      const { first } = await this.#options.log.bounds(this.#plan.stream, partition)
      if (first === 0n || cut.has(partition)) continue
      throw new Error(`the beginning of partition ${partition} was deleted while it was read: start the rebuild again`)
    }
  }

  #openWriter (partition: number): Promise<TableWriter<any>> {
    return TableWriter.open({
      projection: this.#plan.projection,
      partition,
      tables: this.#plan.through(this.#draft),
      appliesMax: this.#plan.appliesMax,
      onPoison () {}, // the live runner has told of it
      onFailed: cause => { this.#failure ??= { cause } },
      now: Date.now,
    })
  }

  /** Takes all that is in the stream at the call; kept by the draft once it resolves. */
  async #catchUp (partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) await this.#readToEnd(partition)
    await Promise.all(partitions.map(partition => this.#writers[partition]!.finish()))
    this.#check()
  }

  async #readToEnd (partition: number): Promise<void> {
    const { log } = this.#options
    const writer = this.#writers[partition]!
    const to = await this.#end(partition)
    for await (const block of log.read(this.#plan.stream, partition, { from: writer.next, to })) {
      await this.#take(partition, writer, block.offset, block.items)
    }
    writer.skipTo(to)
  }

  /** Up to where the draft may have the stream just now. */
  async #end (partition: number): Promise<bigint> {
    const { log, tables, table } = this.#options
    const { next } = await log.bounds(this.#plan.stream, partition)
    if (!this.#plan.staysBehindLive) return next
    const live = (await tables.position(table, partition)).next
    return live < next ? live : next
  }

  async #take (partition: number, writer: TableWriter<any>, offset: bigint, items: readonly any[]): Promise<void> {
    const blocks = Number(offset + 1n - writer.next)
    writer.take(offset, items)
    this.#options.onRead({ partition, blocks, entries: items.length })
    if (writer.unkeptBytes > unkeptBytesMax) await writer.room(unkeptBytesMax)
    this.#check()
    await this.#pause()
  }

  /** Ends when both generations have all that was in the stream at the call, or the live one is late. */
  async #settle (partitions: readonly number[]): Promise<void> {
    const { log, tables, table } = this.#options
    const ends = new Map<number, bigint>()
    for (const partition of partitions) ends.set(partition, (await log.bounds(this.#plan.stream, partition)).next)
    if (!this.#plan.staysBehindLive) await this.#catchUp(partitions)
    const deadline = performance.now() + settleMs
    for (const [partition, next] of ends) {
      while ((await tables.position(table, partition)).next < next && performance.now() < deadline) {
        this.#check()
        await delay(20)
      }
    }
    if (this.#plan.staysBehindLive) await this.#catchUp(partitions)
  }

  /** The live one goes on meanwhile: after a few tries the draft may be behind, with each try by a block more. */
  async #switch (): Promise<void> {
    let partitions = this.#partitions
    for (let tries = 0; partitions.length > 0; tries++) {
      await this.#catchUp(partitions)
      // The little that came while the draft was written: it is on its way before the question whether it is there.
      for (const partition of partitions) {
        await this.#readToEnd(partition)
        this.#writers[partition]!.sendPosition().catch(() => {})
      }
      partitions = await this.#draft.adopt(partitions, BigInt(Math.max(0, tries - exactTries)))
    }
  }

  #sendPositions (): void {
    for (const writer of this.#writers) writer.sendPosition().catch(() => {}) // an apply that fails will tell
  }

  #check (): void {
    this.#options.signal.throwIfAborted()
    if (this.#failure) throw new Error(`the new ${this.#options.table} could not be written`, this.#failure)
  }

  async #pause (): Promise<void> {
    if (performance.now() - this.#sliceFromMs < sliceMs) return
    this.#check()
    const startMs = performance.now()
    await turn()
    if (performance.now() - startMs > sliceMs) await delay(sliceMs) // others are busy, and are to have half of it
    this.#sliceFromMs = performance.now()
  }
}
