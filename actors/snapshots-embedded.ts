import type { WriteBatch } from '../ledger/embedded/batch.js'
import { kind, nameBytesMax } from '../ledger/embedded/keys.js'
import type { Store } from '../ledger/embedded/store.js'
import type { Snapshots } from './snapshots.js'

interface Save {
  readonly partition: number
  readonly next: number
  readonly states: ReadonlyMap<string, Buffer>
  resolve (): void
  reject (err: unknown): void
}

/**
 * Snapshots in the local store. They ride on the commits of the ledger. A save whose commit fails is tried again with
 * the next one, before any later save: a checkpoint must not move past states that were never stored.
 */
export function embeddedSnapshots (store: Store): Snapshots {
  const checkpoints = new Map<number, number>()
  let waiting: Save[] = []
  let inFlight: Save[] = []

  function checkpointOf (partition: number): number {
    let next = checkpoints.get(partition)
    if (next === undefined) {
      next = (store.env.getBinary(checkpointKey(partition)) as Buffer | undefined)?.readUIntBE(0, 6) ?? 0
      checkpoints.set(partition, next)
    }
    return next
  }

  store.register({
    write (batch) {
      inFlight = waiting
      waiting = []
      for (const save of inFlight) writeSave(batch, save)
    },
    committed () {
      const saved = inFlight
      inFlight = []
      for (const { partition, next, resolve } of saved) {
        checkpoints.set(partition, Math.max(next, checkpoints.get(partition) ?? 0))
        resolve()
      }
    },
    failed () {
      waiting = [...inFlight, ...waiting]
      inFlight = []
      if (waiting.length > 0) store.request(true)
    },
    closed (err) { for (const save of waiting.splice(0)) save.reject(err) },
  })

  return {
    async checkpoint (partition) { return BigInt(checkpointOf(partition)) },

    async load (partition, userId) {
      for (const saves of [waiting, inFlight]) {
        for (let i = saves.length - 1; i >= 0; i--) {
          const state = saves[i]!.partition === partition ? saves[i]!.states.get(userId) : undefined
          if (state) return state
        }
      }
      return store.env.getBinary(snapshotKey(partition, userId)) as Buffer | undefined
    },

    async save (partition, next, states) {
      for (const userId of states.keys()) snapshotKey(partition, userId)
      const latest = [...inFlight, ...waiting].filter(save => save.partition === partition)
      if (Number(next) < Math.max(checkpointOf(partition), ...latest.map(save => save.next))) return
      await new Promise<void>((resolve, reject) => {
        waiting.push({ partition, next: Number(next), states, resolve, reject })
        store.request(true)
      })
    },
  }
}

function writeSave (batch: WriteBatch, { partition, next, states }: Save): void {
  for (const [userId, state] of states) batch.put(snapshotKey(partition, userId), state)
  const checkpoint = batch.room(6)
  checkpoint.writeUIntBE(next, 0, 6)
  batch.put(checkpointKey(partition), checkpoint)
}

function snapshotKey (partition: number, userId: string): Buffer {
  const bytes = Buffer.byteLength(userId)
  if (bytes > nameBytesMax) throw new RangeError(`user id: got ${bytes} bytes, want at most ${nameBytesMax}`)
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
