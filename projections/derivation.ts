import { isUncounted, unknownCounts } from '../schemas/counts.js'
import type { Entry } from '../schemas/facts.js'
import type { ConnectionEnded } from '../schemas/records.js'
import { isSlot } from './closed.js'
import type { LastConnection, LastConnections } from './last-connections.js'
import type { Ending, LedgerCounts } from './ledger-counts.js'
import { type Opening, pack, unpack } from './opening.js'
import type { TableReader } from './projection.js'
import { put, remove, type TableWrite } from './tables/tables.js'

/* What the writes about one connection become in table `connections` and in the stream `connections`. */

/*
  A projection may not read the table, so it writes what an entry says as one of these. `Derivation` knows what the
  table has, and turns them into what is stored.
*/
class Opened { constructor (readonly opening: Opening) {} }

class Ended {
  constructor (readonly offset: bigint, readonly endsSession: boolean, readonly story: Story) {}
}

type Story = Omit<ConnectionEnded, keyof Opening | 'userId' | 'connectionId'>

/** A user's connections that are open, by their ids. */
export type Openings = Map<string, Opening>

export function * project ({ userId, atMs, fact }: Entry, offset: bigint): Iterable<TableWrite> {
  switch (fact.type) {
    case 'ConnectionOpened': {
      const { connectionId, deviceId, platform, client, sessionId, transport, address, nodeId, nodeEpoch } = fact
      const known = { deviceId, platform, client, sessionId, transport, address, nodeId, nodeEpoch, openedAtMs: atMs }
      yield put(userId, connectionId, new Opened({ ...known, resumedFrom: '', resumedTo: '' }))
      break
    }
    case 'ConnectionClosed': {
      const { type, connectionId, endSession, told, presenceGraceMs, ...ended } = fact
      yield put(userId, connectionId, new Ended(offset, endSession, { closedAtMs: atMs, ...ended }))
      break
    }
  }
}

/** True where the write is one of `project`, under the user's id and the connection's. */
export function isProjected (write: TableWrite): boolean {
  return write.type === 'put' && (write.value instanceof Opened || write.value instanceof Ended)
}

/** By user, of those that the step speaks of: their connections that are open before it. */
export async function openingsOf (
  tables: TableReader, partition: number, writes: readonly TableWrite[]
): Promise<Map<string, Openings>> {
  const openings = new Map<string, Openings>()
  for (const write of writes) if (isProjected(write)) openings.set(write.key, new Map())
  await Promise.all(Array.from(openings, async ([userId, open]) => {
    for (const [connectionId, value] of await tables.get('connections', partition, userId)) {
      const opening = unpack(value)
      if (opening) open.set(connectionId, opening)
    }
  }))
  return openings
}

/** Where those connections end whose edge has not counted for them, and whose records are not there yet. */
export function uncountedEnds (writes: readonly TableWrite[], derivedFrom: bigint): Map<string, Ending> {
  const ends = new Map<string, Ending>()
  for (const write of writes) {
    if (write.type !== 'put' || !(write.value instanceof Ended)) continue
    const { offset, story } = write.value
    if (offset > derivedFrom && isUncounted(story)) ends.set(write.field, { userId: write.key, offset })
  }
  return ends
}

/**
 * Turns the writes of one step, in order, into records and into writes for the store. What comes out depends on what
 * the table held before the step and not on where the step begins: derived again, it is the same.
 */
export class Derivation {
  readonly records: ConnectionEnded[] = []
  readonly stored: TableWrite[] = []
  /** Ends whose opening nobody knows. */
  unopened = 0
  #closed: LastConnection | undefined

  /**
   * @param openings by user id, as they are before the step; changed
   * @param lastConnections as they are before the step; changed
   * @param derivedFrom the block up to which the records are there already
   * @param counts by connection id, of those in `uncountedEnds`: what the ledger tells
   */
  constructor (
    readonly openings: ReadonlyMap<string, Openings>,
    readonly lastConnections: LastConnections,
    readonly derivedFrom: bigint,
    readonly counts: ReadonlyMap<string, LedgerCounts>
  ) {}

  take (write: TableWrite): void {
    if (write.type === 'remove') {
      this.stored.push(write)
    } else if (write.value instanceof Opened) {
      this.#open(write.key, write.field, write.value)
    } else if (write.value instanceof Ended) {
      this.#end(write.key, write.field, write.value)
    } else if (isSlot(write.value)) {
      // It comes right behind the end that it remembers.
      const [n, connectionId] = write.value
      this.stored.push(put(write.key, write.field, this.lastConnections.note(n, connectionId, this.#closed)))
    }
  }

  #open (userId: string, connectionId: string, { opening }: Opened): void {
    const open = this.openings.get(userId)!
    if (open.has(connectionId)) return // a repeat
    const [olderId, older] = newestOf(open, opening.deviceId)
    if (older) {
      older.resumedTo = connectionId
      this.stored.push(put(userId, olderId, pack(older)))
    }
    opening.resumedFrom = older ? olderId : this.lastConnections.of(userId, opening.deviceId)
    open.set(connectionId, opening)
    this.stored.push(put(userId, connectionId, pack(opening)))
  }

  #end (userId: string, connectionId: string, { offset, endsSession, story }: Ended): void {
    const open = this.openings.get(userId)!
    const opening = open.get(connectionId)
    this.#closed = undefined
    if (opening) {
      const { deviceId, resumedTo } = opening
      open.delete(connectionId)
      this.stored.push(remove(userId, connectionId))
      // Where the device has opened another one already, that one is its last.
      if (resumedTo === '') this.#closed = { userId, deviceId, resumable: !endsSession }
    }
    if (offset <= this.derivedFrom) return
    const counts = this.counts.get(connectionId)
    if (!opening) this.unopened++
    else this.records.push({ userId, connectionId, ...opening, ...counts ? countedBy(counts, story) : story })
  }
}

/** Also where the fact has the zeros of an earlier version. */
function countedBy ({ uplinks, writtenSeq, ackedSeq }: LedgerCounts, story: Story): Story {
  return { ...story, ...unknownCounts, uplinks, writtenSeq, ackedSeq }
}

/** The one of the device that no other one has followed. */
function newestOf (open: Openings, deviceId: string): [string, Opening | undefined] {
  for (const [connectionId, opening] of open) {
    if (opening.deviceId === deviceId && opening.resumedTo === '') return [connectionId, opening]
  }
  return ['', undefined]
}
