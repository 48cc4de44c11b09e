import { setImmediate as turn } from 'node:timers/promises'
import type { WriteBatch } from '../ledger/embedded/batch.js'
import { kind, nameBytesMax } from '../ledger/embedded/keys.js'
import type { Store } from '../ledger/embedded/store.js'
import { GatewayError } from '../schemas/errors.js'
import { ofPartition, type RebuildableSnapshots, SnapshotsLost } from './snapshots.js'

interface Save {
  readonly partition: number
  readonly next: number
  readonly states: ReadonlyMap<string, Buffer | undefined>
  /** Users of it whose states are stored, and with those in the commit under way. */
  stored: number
  written: number
  resolve (): void
  reject (err: unknown): void
}

const usersPerTurn = 1000

/**
 * Snapshots in the local store. They ride on the commits of the ledger. A save whose commit fails is tried again with
 * the next one, before any later save: a checkpoint must not move past states that were never stored. A large save goes
 * over several commits, its checkpoint with the last one: a state that is ahead of its checkpoint is no harm, for it
 * says up to where it goes.
 */
export function embeddedSnapshots (store: Store): RebuildableSnapshots {
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
      next = (store.env.getBinary(checkpointKey(partition)) as Buffer | undefined)?.readUIntBE(0, 6) ?? 0
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
        writeStates(batch, save, end)
        if (batch.pageBytes >= end) break
        writeCheckpoint(batch, save)
        inFlight++
      }
    },
    committed () {
      const done = saves.slice(0, inFlight)
      saves = saves.slice(inFlight)
      inFlight = 0
      if (saves[0]) saves[0].stored = saves[0].written
      for (const { partition, next, resolve } of done) {
        checkpoints.set(partition, Math.max(next, checkpoints.get(partition) ?? 0))
        resolve()
      }
      if (saves.length > 0) store.request(false) // at once: the rest has waited for a commit already
    },
    failed () {
      for (const save of saves) save.written = save.stored
      inFlight = 0
      if (saves.length > 0) store.request(true)
    },
    givenUp (err) { for (const save of saves.splice(0)) save.reject(err) },
  })

  function latest (partition: number): number {
    const waiting = saves.filter(save => save.partition === partition)
    return Math.max(checkpointOf(partition), ...waiting.map(({ next }) => next))
  }

  function find (partition: number, userId: string): Buffer | undefined {
    const save = saves.findLast(save => save.partition === partition && save.states.has(userId))
    if (save) return save.states.get(userId)
    return store.env.getBinary(snapshotKey(partition, userId)) as Buffer | undefined
  }

  function checkOwner (partition: number): void {
    if (replaced.has(partition)) throw new SnapshotsLost(`snapshots of partition ${partition}: they were rebuilt`)
  }

  async function put (partition: number, next: number, states: Save['states']): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      saves.push({ partition, next, states, stored: 0, written: 0, resolve, reject })
      store.request(true)
    })
  }

  return {
    async checkpoint (partition) {
      replaced.delete(partition)
      return BigInt(checkpointOf(partition))
    },

    async load (partition, userId) {
      checkOwner(partition)
      return find(partition, userId)
    },

    async save (partition, next, states) {
      for (const userId of states.keys()) snapshotKey(partition, userId)
      checkOwner(partition)
      if (Number(next) >= latest(partition)) await put(partition, Number(next), states)
    },

    async savedTo (partition) { return BigInt(checkpointOf(partition)) },

    saved: async (partition, userId) => find(partition, userId),

    async * users (partition) {
      const prefix = snapshotKey(partition, ofPartition)
      const end = snapshotKey(partition + 1, ofPartition)
      for (let start = prefix, last: Buffer | undefined; ; start = last) {
        const keys = [...store.env.getKeys({ start, end, limit: usersPerTurn })]
        for (const key of keys) {
          if (key.length > prefix.length && (last === undefined || !key.equals(last))) yield key.toString('utf8', prefix.length)
        }
        last = keys.at(-1)
        if (last === undefined || keys.length < usersPerTurn) return
        await turn()
      }
    },

    async replace (partition, checkpoint, states) {
      if (latest(partition) !== Number(checkpoint)) return false
      replaced.add(partition)
      await put(partition, Number(checkpoint), states)
      return true
    },
  }
}

/** Those that are not stored yet, until the commit has `end` page bytes. */
function writeStates (batch: WriteBatch, save: Save, end: number): void {
  let index = 0
  for (const [userId, state] of save.states) {
    if (index++ < save.stored) continue
    if (batch.pageBytes >= end) return
    const key = snapshotKey(save.partition, userId)
    if (state) batch.put(key, state)
    else batch.remove(key)
    save.written = index
  }
}

function writeCheckpoint (batch: WriteBatch, { partition, next }: Save): void {
  const checkpoint = batch.room(6)
  checkpoint.writeUIntBE(next, 0, 6)
  batch.put(checkpointKey(partition), checkpoint)
}

function snapshotKey (partition: number, userId: string): Buffer {
  const bytes = Buffer.byteLength(userId)
  if (bytes > nameBytesMax) throw new GatewayError('bad-record', `user id: got ${bytes} bytes, want at most ${nameBytesMax}`)
  const key = Buffer.allocUnsafe(3 + bytes)
  key[0] = kind.snapshot
  key.writeUInt16BE(partition, 1)
  key.write(userId, 3)
  return key
}

function checkpointKey (partition: number): Buffer {
  const key = Buffer.allocUnsafe(3)
  key[0] = kind.checkpoint
  key.writeUInt16BE(partition, 1)
  return key
}
