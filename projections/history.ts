import type { EventLog } from '../ledger/log.js'
import { appendAcceptable } from '../ledger/pieces.js'
import type { Entry } from '../schemas/facts.js'
import type { ConnectionEnded } from '../schemas/records.js'
import { connections, ledger } from '../schemas/streams.js'
import { ClosedConnections, loadSlots } from './closed.js'
import { Derivation, openingsOf, project, uncountedEnds } from './derivation.js'
import { LastConnections } from './last-connections.js'
import { type Ending, type LedgerCounts, ledgerCounts } from './ledger-counts.js'
import { Runner, type RunnerOptions, type TableLag } from './runner.js'
import type { PlacedProjection } from './table-writer.js'
import type { TableName, Tables, TableStep, TableWrite } from './tables/tables.js'

type OfRunner = 'log' | 'tables' | 'onPoison' | 'onFailed' | 'onHealed' | 'positionEveryMs' | 'retryMs'

export interface HistoryOptions extends Pick<RunnerOptions<Entry>, OfRunner> {
  /** The stream `connections` will never take this record: those behind it go on. Must not throw. */
  setAside (record: ConnectionEnded, partition: number, error: Error): void
}

/** Partitions of the ledger that are read back at the same time. */
const countedAtOnce = 4

/**
 * Writes the stream `connections`: one record for each connection that ended, with its whole story.
 *
 * The opening of a connection waits for its end in table `connections`, user id -> connection id. The records of a
 * step are appended before its writes and its position are applied: what a crash or a takeover leaves in between is
 * derived again. So each record is there at least once; a repeat has the same content, and readers drop it by its
 * `connectionId`. On the embedded side there are no repeats, for `derivedFrom` tells what is there; in Kafka there are
 * few, for it may tell too little.
 *
 * A late repeat of either fact changes nothing, as far back as `ClosedConnections` remembers.
 *
 * `resumedFrom` is the connection that the same device had opened before this one, unless the session ended with it;
 * once it is closed it is known as far back as `LastConnections` remembers. `resumedTo` is the one that the device
 * opened after this one, while this one was open.
 *
 * Where a node is lost nobody knows what it had counted. Its connections' records have what the ledger itself tells, as
 * far back as it is read (`ledgerCounts`), and say of the rest that it is unknown.
 */
export class History {
  /** Connections that ended without a record, because the ledger did not tell of their opening: it was deleted. */
  unopened = 0

  readonly #log: EventLog
  readonly #tables: Tables
  readonly #setAside: HistoryOptions['setAside']
  /** By partition: the block up to which the records were there when the partition was opened. */
  readonly #derivedFrom = new Map<number, bigint>()
  readonly #lastConnections = new Map<number, LastConnections>()
  /** The last read of the ledger in each of `countedAtOnce` queues. */
  readonly #counting: Promise<unknown>[] = []
  #runner: Runner<Entry> | undefined

  /** Resolves once the first assignment is complete. */
  static async start (options: HistoryOptions): Promise<History> {
    const { setAside: _, ...ofRunner } = options
    const history = new History(options)
    history.#runner = await Runner.start<Entry>({
      ...ofRunner,
      stream: ledger,
      group: 'history',
      tables: history.#recordingTables(),
      projections: [history.#projection()],
      // Were the append of one step to fail and that of the next one not, `derivedFrom` would hide what is missing.
      // What comes while a step is on its way goes into the next one together.
      appliesMax: 1,
    })
    return history
  }

  private constructor ({ log, tables, setAside }: HistoryOptions) {
    this.#log = log
    this.#tables = tables
    this.#setAside = setAside
  }

  /** Appends and stores what is on its way, and leaves the group. */
  async stop (): Promise<void> {
    await this.#runner?.stop()
  }

  lag (): TableLag[] {
    return this.#runner?.lag() ?? []
  }

  #projection (): PlacedProjection<Entry> {
    return {
      table: 'connections',
      concerns: ({ fact }) => fact.type === 'ConnectionOpened' || fact.type === 'ConnectionClosed',
      project,
      memory: async (tables, partition) => {
        this.#derivedFrom.set(partition, await this.#log.derivedFrom(connections, partition))
        const slots = await loadSlots('connections', tables, partition)
        this.#lastConnections.set(partition, new LastConnections(slots))
        return ClosedConnections.of(slots)
      },
    }
  }

  /** The tables, with one difference: the records of a step are appended before the step is applied. */
  #recordingTables (): Tables {
    const tables = this.#tables
    return {
      get: (table, partition, key) => tables.get(table, partition, key),
      scan: (table, partition) => tables.scan(table, partition),
      position: (table, partition) => tables.position(table, partition),
      apply: (table, partition, writes, step) => this.#apply(table, partition, writes, step),
    }
  }

  async #apply (table: TableName, partition: number, writes: readonly TableWrite[], step: TableStep): Promise<void> {
    const { from = 0n } = step
    const openings = await openingsOf(this.#tables, partition, writes)
    await this.#checkPosition(partition, from)
    const lastConnections = this.#lastConnections.get(partition)!
    const derivedFrom = this.#derivedFrom.get(partition)!
    const uncounted = uncountedEnds(writes, derivedFrom)
    const counts = uncounted.size === 0 ? new Map() : await this.#counts(partition, uncounted)
    const derivation = new Derivation(openings, lastConnections, derivedFrom, counts)
    for (const write of writes) derivation.take(write)
    const { records, stored, unopened } = derivation
    if (records.length > 0) {
      const options = { derivedFrom: step.next - 1n, lazy: true, reserved: true }
      const setAside = (record: ConnectionEnded, error: Error) => { this.#setAside(record, partition, error) }
      await appendAcceptable(this.#log, connections, partition, records, options, setAside)
    }
    await this.#tables.apply(table, partition, stored, step)
    this.unopened += unopened
  }

  /** Reads back a few partitions at a time: a lost node has connections in all of them, and others need the process. */
  #counts (partition: number, endings: ReadonlyMap<string, Ending>): Promise<Map<string, LedgerCounts>> {
    const turn = partition % countedAtOnce
    const counts = (this.#counting[turn] ?? Promise.resolve()).then(() => ledgerCounts(this.#log, partition, endings))
    this.#counting[turn] = counts.catch(() => {})
    return counts
  }

  /**
   * Throws where the table is not at `from`: the store may have been emptied, or the next owner of the partition may be
   * ahead. `apply` finds it too, but only after the append, whose records and `derivedFrom` would be wrong by then.
   */
  async #checkPosition (partition: number, from: bigint): Promise<void> {
    const { next } = await this.#tables.position('connections', partition)
    if (next !== from) throw new Error(`the table was moved: it is at ${next}, and was at ${from}`)
  }
}
