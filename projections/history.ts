import type { EventLog } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import type { ConnectionEnded } from '../schemas/records.js'
import { connections, ledger } from '../schemas/streams.js'
import { ClosedConnections } from './closed.js'
import { Runner, type RunnerOptions, type TableLag } from './runner.js'
import type { PlacedProjection } from './table-writer.js'
import { put, remove } from './tables/tables.js'
import type { TableName, Tables, TableStep, TableWrite } from './tables/tables.js'

export type HistoryOptions =
  Pick<RunnerOptions<Entry>, 'log' | 'tables' | 'onPoison' | 'onFailed' | 'positionEveryMs' | 'retryMs'>

/** What is known of a connection while it is open: field `opened` of its row. */
type Opening = Pick<ConnectionEnded, 'userId' | 'deviceId' | 'platform' | 'client' | 'sessionId' | 'transport' |
  'address' | 'nodeId' | 'nodeEpoch' | 'openedAtMs'>

/** The rest of its record, and the block that told of it. */
interface Ending {
  readonly offset: bigint
  readonly story: Omit<ConnectionEnded, keyof Opening | 'connectionId'>
}

type WriteOf<F, V> = TableWrite & { readonly type: 'put', readonly field: F, readonly value: V }

/**
 * Writes the stream `connections`: one record for each connection that ended, with its whole story.
 *
 * The opening of a connection waits for its end in table `connections`, connection id -> `opened`. The records of a
 * step are appended before its writes and its position are applied: what a crash or a takeover leaves in between is
 * derived again. So each record is there at least once; a repeat has the same content, and readers drop it by its
 * `connectionId`. On the embedded side there are no repeats, for `derivedFrom` tells what is there; in Kafka there are
 * few, for it may tell too little.
 *
 * A late repeat of either fact changes nothing, as far back as `ClosedConnections` remembers.
 */
export class History {
  /** Connections that ended without a record, because the ledger did not tell of their opening: it was deleted. */
  unopened = 0

  readonly #log: EventLog
  readonly #tables: Tables
  /** By partition: the block up to which the records were there when the partition was opened. */
  readonly #derivedFrom = new Map<number, bigint>()
  #runner: Runner<Entry> | undefined

  /** Resolves once the first assignment is complete. */
  static async start (options: HistoryOptions): Promise<History> {
    const history = new History(options)
    history.#runner = await Runner.start<Entry>({
      ...options,
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

  private constructor ({ log, tables }: HistoryOptions) {
    this.#log = log
    this.#tables = tables
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
        return await ClosedConnections.load('connections', tables, partition)
      },
    }
  }

  /** The tables, but that a step's records are appended before it is applied. */
  #recordingTables (): Tables {
    const tables = this.#tables
    return {
      get: (table, partition, key) => tables.get(table, partition, key),
      scan: table => tables.scan(table),
      position: (table, partition) => tables.position(table, partition),
      apply: (table, partition, writes, step) => this.#apply(table, partition, writes, step),
    }
  }

  async #apply (table: TableName, partition: number, writes: readonly TableWrite[], step: TableStep): Promise<void> {
    const openings = await this.#openingsBefore(partition, writes)
    const derivedFrom = this.#derivedFrom.get(partition)!
    const records: ConnectionEnded[] = []
    const stored: TableWrite[] = []
    let unopened = 0
    for (const write of writes) {
      if (isOpening(write)) openings.set(write.key, write.value)
      if (!isEnding(write)) {
        stored.push(write)
        continue
      }
      const { offset, story } = write.value
      const opening = openings.get(write.key)
      if (opening) stored.push(remove(write.key, 'opened'))
      if (offset <= derivedFrom) continue
      if (opening) records.push({ connectionId: write.key, ...opening, ...story })
      else unopened++
    }
    if (unopened > 0) await this.#checkPosition(partition, step)
    if (records.length > 0) {
      await this.#log.append(connections, partition, records, { derivedFrom: step.next - 1n, lazy: true })
    }
    await this.#tables.apply(table, partition, stored, step)
    this.unopened += unopened
  }

  /** By connection id: of those that end in this step and were opened before it. */
  async #openingsBefore (partition: number, writes: readonly TableWrite[]): Promise<Map<string, Opening>> {
    const ended = new Set<string>()
    for (const write of writes) if (isEnding(write)) ended.add(write.key)
    for (const write of writes) if (isOpening(write)) ended.delete(write.key)
    const openings = new Map<string, Opening>()
    await Promise.all(Array.from(ended, async connectionId => {
      const opening = (await this.#tables.get('connections', partition, connectionId)).get('opened')
      if (opening) openings.set(connectionId, opening)
    }))
    return openings
  }

  /**
   * An opening may be missing because the store was emptied, and not because nobody knows it. `apply` would refuse the
   * step, but after the append, whose `derivedFrom` would then hide the record that is missing.
   */
  async #checkPosition (partition: number, { from = 0n }: TableStep): Promise<void> {
    const { next } = await this.#tables.position('connections', partition)
    if (next < from) throw new Error(`the table went back: it is at ${next}, and was at ${from}`)
  }
}

/** An ending is a write that `History` turns into a record and the removal of the opening. */
function * project ({ userId, atMs, fact }: Entry, offset: bigint): Iterable<TableWrite> {
  switch (fact.type) {
    case 'ConnectionOpened': {
      const { connectionId, deviceId, platform, client, sessionId, transport, address, nodeId, nodeEpoch } = fact
      const opening: Opening =
        { userId, deviceId, platform, client, sessionId, transport, address, nodeId, nodeEpoch, openedAtMs: atMs }
      yield put(connectionId, 'opened', opening)
      break
    }
    case 'ConnectionClosed': {
      const { type, connectionId, endSession, told, ...ended } = fact
      const story = { closedAtMs: atMs, ...ended, resumedFrom: '', resumedTo: '' }
      const ending: Ending = { offset, story }
      yield put(connectionId, 'ended', ending)
      break
    }
  }
}

function isOpening (write: TableWrite): write is WriteOf<'opened', Opening> {
  return write.type === 'put' && write.field === 'opened'
}

function isEnding (write: TableWrite): write is WriteOf<'ended', Ending> {
  return write.type === 'put' && write.field === 'ended'
}
