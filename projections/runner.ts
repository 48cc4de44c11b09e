import { setTimeout as delay } from 'node:timers/promises'
import type { Block, EventLog, Following } from '../ledger/log.js'
import type { Stream } from '../schemas/streams.js'
import { TableWriter, unkeptBytesMax } from './table-writer.js'
import type { PlacedProjection, Poison } from './table-writer.js'
import { GenerationReplaced } from './tables/tables.js'
import type { TableName, Tables } from './tables/tables.js'

export interface RunnerOptions<T> {
  readonly log: EventLog
  readonly stream: Stream<T>
  readonly group: string
  readonly tables: Tables
  readonly projections: readonly PlacedProjection<T>[]
  /** Sets the item aside; the partition goes on without it. Must not throw. */
  readonly onPoison: (poison: Poison<T>) => void
  /**
   * A table could not be written. The runner goes back to the stored position and tries again; no item is lost. Must
   * not throw.
   */
  readonly onFailed: (failure: TableFailure) => void
  /** The tables of a partition are kept again, or are no longer this runner's to keep. */
  readonly onHealed?: (healed: Omit<TableFailure, 'error'>) => void
  /** How often progress that brings no writes is stored, or that of an idle table is looked up again. */
  readonly positionEveryMs?: number
  /** Applies of one partition of a table on their way at once; more writes than that wait and go together. */
  readonly appliesMax?: number
  /** What writes of one partition of a table that are not kept may take; past it its next block waits. */
  readonly unkeptBytesMax?: number
  /** First wait after a failed apply; it doubles up to 32 times that. */
  readonly retryMs?: number
  readonly now?: () => number
}

export interface TableFailure { readonly table: TableName, readonly partition: number, readonly error: unknown }

/** How far a table is behind the blocks that the log handed to the runner; `EventLog.bounds` says what it did not. */
export interface TableLag {
  readonly table: TableName
  readonly partition: number
  /** The first offset that the runner has not been handed yet. */
  readonly next: bigint
  readonly blocks: number
  /** In the blocks with unkept writes, as far as these were received; unknown while going back after a failure. */
  readonly items: number
  /** How long the oldest write has waited; 0 when the table is up to date. */
  readonly ms: number
}

/** One partition of the stream, and the writers that keep its part of each table. */
interface TablesPartition<T extends { atMs: number }> {
  readonly number: number
  writers: TableWriter<T>[]
  /** The first offset not received yet. */
  next: bigint
  /** The tables are being brought back to `next` from the log after a failure; blocks received meanwhile are let go. */
  behind: boolean
  behindSinceMs: number
  recovery: Promise<void>
  readonly revoked: AbortController
}

/**
 * Follows a stream and keeps the tables of one or more projections of it (design.md 5).
 *
 * Writes are given to `Tables.apply` in the turn in which their block is received. So a follower that was registered
 * after the runner may tell a client about an entry, and the client finds what the entry did to the tables.
 */
export class Runner<T extends { atMs: number }> {
  /** Items that some projection could not take. */
  poisoned = 0

  readonly #options: Required<RunnerOptions<T>>
  readonly #partitions = new Map<number, TablesPartition<T>>()
  readonly #positionTimer: NodeJS.Timeout
  #following: Following | undefined

  /** Resolves once the first assignment is complete. */
  static async start<T extends { atMs: number }> (options: RunnerOptions<T>): Promise<Runner<T>> {
    const runner = new Runner<T>(options)
    const { log, stream, group } = options
    try {
      runner.#following = await log.follow(stream, group, {
        assigned: partition => runner.#assigned(partition),
        received: block => runner.#received(block),
        revoked: partition => runner.#revoked(partition),
      })
    } catch (err) {
      clearInterval(runner.#positionTimer)
      throw err
    }
    return runner
  }

  private constructor (options: RunnerOptions<T>) {
    this.#options = {
      positionEveryMs: 1000,
      appliesMax: 8,
      unkeptBytesMax,
      retryMs: 250,
      now: Date.now,
      onHealed: () => {},
      ...options,
    }
    this.#positionTimer = setInterval(() => this.#sendPositions(), this.#options.positionEveryMs)
    this.#positionTimer.unref()
  }

  /** Stores what is on its way and the positions, and leaves the group. */
  async stop (): Promise<void> {
    clearInterval(this.#positionTimer)
    await this.#following?.stop()
  }

  lag (): TableLag[] {
    return [...this.#partitions.values()].flatMap(partition =>
      partition.writers.map((writer, i) => this.#lagOf(partition, writer, this.#options.projections[i]!.table)))
  }

  #lagOf (partition: TablesPartition<T>, writer: TableWriter<T>, table: TableName): TableLag {
    const unkept = writer.unkept()
    const sinceMs = partition.behind ? partition.behindSinceMs : unkept[0]?.sinceMs
    return {
      table,
      partition: partition.number,
      next: partition.next,
      blocks: Number(partition.next - writer.keptTo),
      items: unkept.reduce((sum, { items }) => sum + items, 0),
      ms: sinceMs === undefined ? 0 : Math.max(0, this.#options.now() - sinceMs),
    }
  }

  async #assigned (number: number): Promise<bigint> {
    const partition: TablesPartition<T> = {
      number,
      writers: [],
      next: 0n,
      behind: false,
      behindSinceMs: 0,
      recovery: Promise.resolve(),
      revoked: new AbortController(),
    }
    partition.writers = await this.#openWriters(partition)
    partition.next = firstWanted(partition)
    this.#partitions.set(number, partition)
    return partition.next
  }

  #received ({ partition: number, offset, items }: Block<T>): void | Promise<void> {
    const partition = this.#partitions.get(number)
    if (!partition || offset < partition.next) return
    partition.next = offset + 1n
    if (partition.behind) return
    let full = false
    for (const writer of partition.writers) {
      writer.take(offset, items)
      full ||= writer.unkeptBytes > this.#options.unkeptBytesMax
    }
    if (full) return this.#room(partition)
  }

  async #revoked (number: number): Promise<void> {
    const partition = this.#partitions.get(number)
    if (!partition) return
    partition.revoked.abort()
    await partition.recovery
    await Promise.all(partition.writers.map(writer => writer.finish()))
    this.#partitions.delete(number)
    // What failed in the end is the next owner's to write: here nobody would ever say that it is well again.
    for (const { table } of this.#options.projections) this.#options.onHealed({ table, partition: number })
  }

  #openWriters (partition: TablesPartition<T>): Promise<TableWriter<T>[]> {
    const { projections, tables, appliesMax, now, onFailed } = this.#options
    return Promise.all(projections.map(projection => TableWriter.open<T>({
      projection,
      tables,
      appliesMax,
      now,
      partition: partition.number,
      onPoison: poison => {
        this.poisoned++
        this.#options.onPoison(poison)
      },
      onFailed: error => {
        const rebuilt = error instanceof GenerationReplaced
        if (!rebuilt) onFailed({ table: projection.table, partition: partition.number, error })
        this.#recover(partition, rebuilt ? 0 : this.#options.retryMs)
      },
    })))
  }

  /**
   * After a failed apply nobody knows what is stored, and what a projection remembers may be ahead of it. So everything
   * in memory is dropped, and the partition is read again from the stored position up to what was received meanwhile.
   */
  #recover (partition: TablesPartition<T>, firstWaitMs: number) {
    if (partition.behind || partition.revoked.signal.aborted) return
    partition.behind = true
    partition.behindSinceMs = this.#options.now()
    partition.recovery = this.#catchUp(partition, firstWaitMs)
  }

  async #catchUp (partition: TablesPartition<T>, firstWaitMs: number) {
    const { signal } = partition.revoked
    const { retryMs, projections, onFailed, onHealed } = this.#options
    const longer = (waitMs: number) => Math.min(Math.max(2 * waitMs, retryMs), 32 * retryMs)
    for (let waitMs = firstWaitMs; partition.behind && !signal.aborted; waitMs = longer(waitMs)) {
      await Promise.all(partition.writers.map(writer => writer.finish()))
      await delay(waitMs, undefined, { signal }).catch(() => {}) // revoked: the loop ends
      if (signal.aborted) break
      try {
        partition.writers = await this.#openWriters(partition)
        await this.#readAgain(partition)
      } catch (error) {
        for (const { table } of projections) onFailed({ table, partition: partition.number, error })
      }
    }
    for (const { table } of projections) onHealed({ table, partition: partition.number })
  }

  /** Ends with `behind` false, or with a writer failed, or because the partition was revoked. */
  async #readAgain (partition: TablesPartition<T>) {
    const { log, stream } = this.#options
    const { writers, revoked: { signal } } = partition
    const ended = () => signal.aborted || writers.some(({ failed }) => failed)
    for (let from = firstWanted(partition); from < partition.next; from = firstWanted(partition)) {
      const to = partition.next
      for await (const { offset, items } of log.read(stream, partition.number, { from, to })) {
        for (const writer of writers) writer.take(offset, items)
        await this.#room(partition)
        if (ended()) return
      }
      for (const writer of writers) writer.skipTo(to)
      if (ended()) return
    }
    partition.behind = false // in the turn that saw nothing missing, so no block is let go after it
  }

  async #room ({ writers }: TablesPartition<T>) {
    await Promise.all(writers.map(writer => writer.room(this.#options.unkeptBytesMax)))
  }

  #sendPositions () {
    for (const { writers, behind } of this.#partitions.values()) {
      if (behind) continue
      for (const writer of writers) writer.sendPosition().catch(() => {}) // the store is away, which loses nothing
    }
  }
}

function firstWanted<T extends { atMs: number }> ({ writers }: TablesPartition<T>): bigint {
  return writers.reduce((first, { next }) => next < first ? next : first, writers[0]!.next)
}
