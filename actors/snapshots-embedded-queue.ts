import type { WriteBatch } from '../ledger/embedded/batch.js'
import { checkpointKey, type StatesOf } from '../ledger/embedded/keys.js'
import type { Store, Writer } from '../ledger/embedded/store.js'
import { removalOf, type Save, stepsOf, writeCheckpoint, writeSteps } from './snapshots-embedded-save.js'
import { type Waiting, waitingOf } from './snapshots-waiting.js'
import type { StateChanges } from './snapshots.js'

/**
 * Saves of states on their way into the local store. They ride on the commits of the ledger, in order:
 *
 * - A save whose commit fails is tried again with the next one, before any later save: a checkpoint must not move past
 *   states that were never stored.
 * - A large save goes over several commits, and its checkpoint with the last one. A state may be ahead of its
 *   checkpoint, for it says up to where it goes. A head is in one commit with all that has to be new with it.
 */
export class SaveQueue implements Writer {
  readonly derived = true
  readonly #store: Store
  readonly #of: StatesOf
  readonly #checkpoints = new Map<number, number>()
  /** In order. Those at the front may be in the commit under way, in part or wholly. */
  #saves: Save[] = []
  /** How many of them are wholly in it. */
  #inFlight = 0

  constructor (store: Store, of: StatesOf) {
    this.#store = store
    this.#of = of
    store.register(this)
  }

  /** Resolves once the states and the checkpoint are stored. */
  async add (partition: number, next: number, users: ReadonlyMap<string, StateChanges>): Promise<void> {
    const steps = stepsOf(users)
    await new Promise<void>((resolve, reject) => {
      this.#saves.push({ partition, next, users, steps, stored: 0, written: 0, resolve, reject })
      this.#store.request(true)
    })
  }

  /** The one that is stored. */
  checkpoint (partition: number): number {
    let next = this.#checkpoints.get(partition)
    if (next === undefined) {
      next = this.#store.env.getBinary(checkpointKey(partition, this.#of))?.readUIntBE(0, 6) ?? 0
      this.#checkpoints.set(partition, next)
    }
    return next
  }

  /** The checkpoint once all saves are stored. */
  latest (partition: number): number {
    const waiting = this.#saves.filter(save => save.partition === partition)
    return Math.max(this.checkpoint(partition), ...waiting.map(({ next }) => next ?? 0))
  }

  /** What saves that are not stored have of one state. */
  waiting (partition: number, userId: string): Waiting | undefined {
    const ofPartition = this.#saves.filter(save => save.partition === partition)
    return waitingOf(ofPartition.flatMap(({ users }) => users.get(userId) ?? []))
  }

  write (batch: WriteBatch): void {
    const end = batch.derivedEnd
    this.#inFlight = 0
    for (const save of this.#saves) {
      writeSteps(this.#store.env, batch, this.#of, save, end)
      if (batch.pageBytes >= end) break
      writeCheckpoint(batch, this.#of, save)
      this.#inFlight++
    }
  }

  committed (): void {
    const done = this.#saves.slice(0, this.#inFlight)
    this.#saves = this.#saves.slice(this.#inFlight)
    this.#inFlight = 0
    if (this.#saves[0]) this.#saves[0].stored = this.#saves[0].written
    for (const { partition, next, resolve } of done) {
      if (next !== undefined) this.#checkpoints.set(partition, Math.max(next, this.#checkpoints.get(partition) ?? 0))
      resolve()
    }
    if (this.#saves.length > 0) this.#store.request(false) // at once: the rest has waited for a commit already
  }

  failed (): void {
    for (const save of this.#saves) save.written = save.stored
    this.#inFlight = 0
    if (this.#saves.length > 0) this.#store.request(true)
  }

  /**
   * Rejects the save that has no room: its owner saves what has become of the states meanwhile, which may be less. The
   * saves behind it have their turn before that.
   */
  leftOut (err: unknown): void {
    const refused = this.#saves.splice(0, this.#inFlight + 1)
    for (const { reject } of refused) reject(err)
    for (const save of this.#saves) save.written = save.stored
    this.#saves.unshift(...refused.flatMap(removalOf))
    this.#inFlight = 0
  }

  givenUp (err: unknown): void { for (const save of this.#saves.splice(0)) save.reject(err) }
}
