import { setImmediate as turn } from 'node:timers/promises'
import { checkpointKey, type StatesOf } from '../ledger/embedded/keys.js'
import { behindParts, olderPartKey, parseSnapshotKey, snapshotKey, snapshotPartKey } from '../ledger/embedded/snapshot-keys.js'
import type { Store } from '../ledger/embedded/store.js'
import { removalOf, type Save, stepsOf, writeCheckpoint, writeSteps } from './snapshots-embedded-save.js'
import { pickParts, type Waiting, waitingOf } from './snapshots-waiting.js'
import {
  type LoadedState, ofPartition, type PartId, type PartsOf, type RebuildableSnapshots, type SavedHead, type SavedState,
  SnapshotsLost,
  type StateChanges,
} from './snapshots.js'

const keysPerTurn = 1000
const headsPerPage = 100

/**
 * Snapshots in the local store. They ride on the commits of the ledger. A save whose commit fails is tried again with
 * the next one, before any later save: a checkpoint must not move past states that were never stored. A large save goes
 * over several commits, its checkpoint with the last one: a state that is ahead of its checkpoint is no harm, for it
 * says up to where it goes. A head is in one commit with all that it needs to be new at the same time.
 */
export function embeddedSnapshots (store: Store, of: StatesOf = 'users'): RebuildableSnapshots {
  const checkpoints = new Map<number, number>()
  /** Partitions whose states were replaced since their owner asked for the checkpoint. */
  const replaced = new Set<number>()
  /** In order; those at the front may be in the commit under way, in part or wholly. */
  let saves: Save[] = []
  /** How many of them are wholly in it. */
  let inFlight = 0

  function checkpointOf (partition: number): number {
    let next = checkpoints.get(partition)
    if (next === undefined) {
      next = store.env.getBinary(checkpointKey(partition, of))?.readUIntBE(0, 6) ?? 0
      checkpoints.set(partition, next)
    }
    return next
  }

  store.register({
    derived: true,
    write (batch) {
      const end = batch.derivedEnd
      inFlight = 0
      for (const save of saves) {
        writeSteps(store.env, batch, of, save, end)
        if (batch.pageBytes >= end) break
        writeCheckpoint(batch, of, save)
        inFlight++
      }
    },
    committed () {
      const done = saves.slice(0, inFlight)
      saves = saves.slice(inFlight)
      inFlight = 0
      if (saves[0]) saves[0].stored = saves[0].written
      for (const { partition, next, resolve } of done) {
        if (next !== undefined) checkpoints.set(partition, Math.max(next, checkpoints.get(partition) ?? 0))
        resolve()
      }
      if (saves.length > 0) store.request(false) // at once: the rest has waited for a commit already
    },
    failed () {
      for (const save of saves) save.written = save.stored
      inFlight = 0
      if (saves.length > 0) store.request(true)
    },
    // Its owner saves what has become of it meanwhile, which may be less; those behind it have their turn before that.
    leftOut (err) {
      const refused = saves.splice(0, inFlight + 1)
      for (const { reject } of refused) reject(err)
      for (const save of saves) save.written = save.stored
      saves.unshift(...refused.flatMap(removalOf))
      inFlight = 0
    },
    givenUp (err) { for (const save of saves.splice(0)) save.reject(err) },
  })

  function latest (partition: number): number {
    const waiting = saves.filter(save => save.partition === partition)
    return Math.max(checkpointOf(partition), ...waiting.map(({ next }) => next ?? 0))
  }

  function waits (partition: number, userId: string): Waiting | undefined {
    const mine = saves.filter(save => save.partition === partition).flatMap(({ users }) => users.get(userId) ?? [])
    return waitingOf(mine)
  }

  function find (partition: number, userId: string, partsOf: PartsOf): LoadedState | undefined {
    const waiting = waits(partition, userId)
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
    const waiting = waits(partition, userId)
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

  async function put (partition: number, next: number, users: ReadonlyMap<string, StateChanges>): Promise<void> {
    const steps = stepsOf(users)
    await new Promise<void>((resolve, reject) => {
      saves.push({ partition, next, users, steps, stored: 0, written: 0, resolve, reject })
      store.request(true)
    })
  }

  return {
    async checkpoint (partition) {
      replaced.delete(partition)
      return BigInt(checkpointOf(partition))
    },

    async load (partition, userId, partsOf) {
      checkOwner(partition)
      return find(partition, userId, partsOf)
    },

    async parts (partition, userId, ids) {
      checkOwner(partition)
      return pick(partition, userId, waits(partition, userId), ids)
    },

    async save (partition, next, changes) {
      for (const userId of changes.keys()) snapshotKey(partition, userId, of)
      checkOwner(partition)
      if (Number(next) >= latest(partition)) await put(partition, Number(next), changes)
    },

    async savedTo (partition) { return BigInt(checkpointOf(partition)) },

    saved: async (partition, userId, partsOf) => find(partition, userId, partsOf),

    savedParts: async (partition, userId, ids) => pick(partition, userId, waits(partition, userId), ids),

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
        return [userId, [...idsOf(partition, userId, waits(partition, userId))]]
      }))
    },

    async replace (partition, checkpoint, states) {
      if (latest(partition) !== Number(checkpoint)) return new Set()
      replaced.add(partition)
      const users = Array.from(states, ([userId, right]) => [userId, differences(partition, userId, right)] as const)
      await put(partition, Number(checkpoint), new Map(users))
      return new Set(states.keys())
    },
  }
}
