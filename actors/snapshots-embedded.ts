import { setImmediate as turn } from 'node:timers/promises'
import type { StatesOf } from '../ledger/embedded/keys.js'
import { behindParts, olderPartKey, parseSnapshotKey, snapshotKey, snapshotPartKey } from '../ledger/embedded/snapshot-keys.js'
import type { Store } from '../ledger/embedded/store.js'
import { SaveQueue } from './snapshots-embedded-queue.js'
import { pickParts, type Waiting } from './snapshots-waiting.js'
import {
  type LoadedState, ofPartition, type PartId, type PartsOf, type RebuildableSnapshots, type SavedHead, type SavedState,
  SnapshotsLost,
  type StateChanges,
} from './snapshots.js'

const keysPerTurn = 1000
const headsPerPage = 100

/** Snapshots in the local store. What is read of them includes the saves that wait to be stored (`SaveQueue`). */
export function embeddedSnapshots (store: Store, of: StatesOf = 'users'): RebuildableSnapshots {
  const saves = new SaveQueue(store, of)
  /** Partitions whose states were replaced since their owner asked for the checkpoint. */
  const replaced = new Set<number>()

  function find (partition: number, userId: string, partsOf: PartsOf): LoadedState | undefined {
    const waiting = saves.waiting(partition, userId)
    const head = waiting ? waiting.head : store.env.getBinary(snapshotKey(partition, userId, of))
    if (!head) return undefined
    const wanted = partsOf(head)
    const parts = pick(partition, userId, waiting, wanted)
    const others = idsOf(partition, userId, waiting)
    for (const id of wanted) others.delete(id)
    return { head, parts, others: [...others] }
  }

  function pick (
    partition: number, userId: string, waiting: Waiting | undefined, ids: readonly PartId[]
  ): Map<PartId, Buffer> {
    const stored = (id: PartId) => {
      const part = store.env.getBinary(snapshotPartKey(partition, userId, id, of))
      if (part) return part
      const olderKey = olderPartKey(partition, userId, id, of)
      return olderKey && store.env.getBinary(olderKey)
    }
    return pickParts(ids, waiting, stored)
  }

  /** Of all parts, stored or waiting to be. */
  function idsOf (partition: number, userId: string, waiting: Waiting | undefined): Set<PartId> {
    const ids = new Set<PartId>()
    const start = Buffer.from(snapshotPartKey(partition, userId, '', of))
    const end = Buffer.concat([start, Buffer.from([0xff])])
    for (const key of store.env.getKeys({ start, end })) ids.add(parseSnapshotKey(key).part!)
    for (const [id, part] of waiting?.parts ?? []) {
      if (part) ids.add(id)
      else ids.delete(id)
    }
    return ids
  }

  /**
   * Adds the heads from `start` on to a page, and passes over the parts of each name in one step: they stand behind the
   * heads of all names that begin with it.
   *
   * @returns where the next page begins; undefined where there is none
   */
  function headsFrom (start: Buffer, end: Buffer, page: SavedHead[]): Buffer | undefined {
    for (let from: Buffer | undefined = start; from;) {
      let next: Buffer | undefined
      for (const key of store.env.getKeys({ start: from, end })) {
        const { userId, part } = parseSnapshotKey(key)
        if (part !== undefined) {
          next = behindParts(key)
          break
        }
        if (page.length >= headsPerPage) return Buffer.from(key)
        const head = userId === ofPartition ? undefined : store.env.getBinary(key)
        if (head) page.push({ userId, head })
      }
      from = next
    }
    return undefined
  }

  /** What makes of that which is stored the state that is right. */
  function differences (partition: number, userId: string, right: SavedState | undefined): StateChanges {
    const waiting = saves.waiting(partition, userId)
    const gone = idsOf(partition, userId, waiting)
    const changed = new Map<PartId, Uint8Array>()
    for (const [id, part] of right?.parts ?? []) {
      gone.delete(id)
      if (pick(partition, userId, waiting, [id]).get(id)?.equals(part) !== true) changed.set(id, part)
    }
    return { head: right?.head, added: new Map(), changed, gone: [...gone] }
  }

  function checkOwner (partition: number): void {
    if (replaced.has(partition)) throw new SnapshotsLost(`snapshots of partition ${partition}: they were rebuilt`)
  }

  return {
    async checkpoint (partition) {
      replaced.delete(partition)
      return BigInt(saves.checkpoint(partition))
    },

    async load (partition, userId, partsOf) {
      checkOwner(partition)
      return find(partition, userId, partsOf)
    },

    async parts (partition, userId, ids) {
      checkOwner(partition)
      return pick(partition, userId, saves.waiting(partition, userId), ids)
    },

    async save (partition, next, changes) {
      for (const userId of changes.keys()) snapshotKey(partition, userId, of)
      checkOwner(partition)
      if (Number(next) >= saves.latest(partition)) await saves.add(partition, Number(next), changes)
    },

    async savedTo (partition) { return BigInt(saves.checkpoint(partition)) },

    saved: async (partition, userId, partsOf) => find(partition, userId, partsOf),

    savedParts: async (partition, userId, ids) => pick(partition, userId, saves.waiting(partition, userId), ids),

    async * keys (partition) {
      const end = Buffer.from(snapshotKey(partition + 1, ofPartition, of))
      let start: Buffer = Buffer.from(snapshotKey(partition, ofPartition, of))
      for (let last: Buffer | undefined; ; start = last) {
        const keys = [...store.env.getKeys({ start, end, limit: keysPerTurn })]
        for (const key of keys) {
          const found = parseSnapshotKey(key)
          if (found.userId !== ofPartition && !(last && key.equals(last))) yield found
        }
        last = keys.at(-1)
        if (last === undefined || keys.length < keysPerTurn) return
        await turn()
      }
    },

    async * heads (partition) {
      const end = Buffer.from(snapshotKey(partition + 1, ofPartition, of))
      for (let start: Buffer | undefined = Buffer.from(snapshotKey(partition, ofPartition, of)); start;) {
        const page: SavedHead[] = []
        start = headsFrom(start, end, page)
        yield page
        await turn()
      }
    },

    async partIds (partition, userIds) {
      return new Map(Array.from(userIds, userId => {
        return [userId, [...idsOf(partition, userId, saves.waiting(partition, userId))]]
      }))
    },

    async replace (partition, checkpoint, states) {
      if (saves.latest(partition) !== Number(checkpoint)) return new Set()
      replaced.add(partition)
      const users = Array.from(states, ([userId, right]) => [userId, differences(partition, userId, right)] as const)
      await saves.add(partition, Number(checkpoint), new Map(users))
      return new Set(states.keys())
    },
  }
}
