import { foldRoom } from '../actors/rooms/fold.js'
import { roomStates } from '../actors/rooms/parts.js'
import { checkWhole, rebuildSnapshots, type SnapshotsRebuildOptions } from '../actors/snapshots-rebuild.js'
import { fold } from '../actors/user/fold.js'
import { userStates } from '../actors/user/states.js'
import { rebuild } from '../projections/rebuild.js'
import { rebuildPlans } from '../projections/rebuild-projections.js'
import { GatewayError, type ErrorCode } from '../schemas/errors.js'
import { ledger, rooms } from '../schemas/streams.js'
import { EventQueue } from './event-queue.js'
import type { Stores } from './stores.js'

export const rebuildable = ['presence', 'routing', 'nodes', 'connections', 'snapshots'] as const

export type Rebuildable = typeof rebuildable[number]

/** What is told of a rebuild, in this order; `progress` again and again, and `failed` at any time. */
export type RebuildEvent =
  | { readonly type: 'started', readonly table: Rebuildable, readonly partitions: number, readonly blocks: number }
  | ({ readonly type: 'progress', readonly partition: number } & Progress)
  | ({ readonly type: 'comparing' } & Progress)
  | {
    readonly type: 'done'
    readonly table: Rebuildable
    readonly seconds: number
    readonly entries: number
    /** By kind, and how much was compared. */
    readonly compared: Readonly<Record<string, number>>
    readonly differences: readonly object[]
  }
  | { readonly type: 'failed', readonly code: ErrorCode, readonly message: string }

interface Progress {
  readonly blocks: number
  readonly blocksTotal: number
  readonly entries: number
  readonly entriesPerSecond: number
}

const progressEveryMs = 250

/** The rebuilds that this node was asked for: one at a time of each table. */
export class Rebuilds {
  readonly #running = new Set<Rebuildable>()

  constructor (
    readonly stores: Pick<Stores, 'log' | 'tables' | 'snapshots' | 'roomSnapshots'>,
    readonly failed: (what: string, error: Error, fields: object) => void
  ) {}

  /**
   * What is told of it as it goes on. It goes on while the events are taken; `signal` gives it up.
   *
   * @throws GatewayError `not-ready` while the table is being rebuilt already
   */
  start (table: Rebuildable, signal: AbortSignal): AsyncIterable<RebuildEvent> {
    if (this.#running.has(table)) throw new GatewayError('not-ready', `${table} is being rebuilt already`)
    this.#running.add(table)
    const events = new EventQueue<RebuildEvent>()
    this.#run(table, signal, events)
      .catch((error: Error) => {
        if (!signal.aborted) this.failed('a table could not be rebuilt', error, { table })
        const code = error instanceof GatewayError ? error.code : 'internal'
        events.put({ type: 'failed', code, message: error.message })
      })
      .finally(() => {
        this.#running.delete(table)
        events.end()
      })
    return events
  }

  async #run (table: Rebuildable, signal: AbortSignal, events: EventQueue<RebuildEvent>): Promise<void> {
    const tally = new Tally(events)
    const onRead = tally.read.bind(tally)
    const { log, tables } = this.stores
    const { stream } = rebuildPlans[table === 'snapshots' ? 'presence' : table]()
    const partitions = log.partitions(stream)
    if (table !== 'snapshots') {
      for (let partition = 0; partition < partitions; partition++) {
        const { first, next } = await log.bounds(stream, partition)
        tally.blocksTotal += Number(next - first)
      }
    }
    events.put({ type: 'started', table, partitions, blocks: tally.blocksTotal })
    const onPlanned = (blocks: number) => { tally.blocksTotal += blocks }
    const onCaughtUp = () => { tally.comparing() }
    const { differences, ...compared } = table === 'snapshots'
      ? await this.#rebuildStates({ log, signal, onRead, onPlanned })
      : await rebuild({ table, log, tables, signal, onRead, onCaughtUp })
    events.put({ type: 'done', table, seconds: tally.seconds, entries: tally.entries, compared, differences })
  }

  /** Of users and of rooms; of neither where one of them can not be rebuilt. */
  async #rebuildStates (options: Omit<SnapshotsRebuildOptions<never>, 'kind' | 'snapshots'>) {
    const { log, snapshots, roomSnapshots } = this.stores
    for (const stream of [ledger, rooms]) await checkWhole(log, stream)
    const ofUsers = await rebuildSnapshots({
      ...options, snapshots, kind: { stream: ledger, fold, states: userStates },
    })
    const ofRooms = await rebuildSnapshots({
      ...options, snapshots: roomSnapshots, kind: { stream: rooms, fold: foldRoom, states: roomStates },
    })
    return {
      users: ofUsers.states,
      rooms: ofRooms.states,
      missing: ofUsers.missing + ofRooms.missing,
      extra: ofUsers.extra + ofRooms.extra,
      differing: ofUsers.differing + ofRooms.differing,
      differences: [...ofUsers.differences, ...ofRooms.differences],
    }
  }
}

/** Counts what was read, and tells of it now and then. */
class Tally {
  blocksTotal = 0
  entries = 0
  #blocks = 0
  #toldMs = 0
  #isReading = true
  readonly #startMs = performance.now()

  constructor (readonly events: EventQueue<RebuildEvent>) {}

  get seconds (): number { return (performance.now() - this.#startMs) / 1000 }

  read ({ partition, blocks, entries }: { partition: number, blocks: number, entries: number }): void {
    this.#blocks += blocks
    this.entries += entries
    if (!this.#isReading || performance.now() - this.#toldMs < progressEveryMs) return
    this.#toldMs = performance.now()
    this.events.put({ type: 'progress', partition, ...this.#progress() })
  }

  comparing (): void {
    this.#isReading = false
    this.events.put({ type: 'comparing', ...this.#progress() })
  }

  #progress (): Progress {
    return {
      blocks: this.#blocks,
      blocksTotal: Math.max(this.blocksTotal, this.#blocks),
      entries: this.entries,
      entriesPerSecond: Math.round(this.entries / this.seconds),
    }
  }
}
