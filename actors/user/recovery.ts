import { GatewayError } from '../../schemas/errors.js'
import type { Entry } from '../../schemas/facts.js'
import type { LoadedState, PartId } from '../snapshots.js'
import { fold } from './fold.js'
import { loadedState } from './parts.js'
import { savedNumbersOf } from './rebuilt.js'
import { newUser, type UserState } from './state.js'

export interface RecoveryDeps {
  /** The saved state without the payloads that are parts of their own, or undefined. */
  load (userId: string): Promise<LoadedState | undefined>
  /** Parts of the saved state that were left out. */
  parts (userId: string, ids: readonly PartId[]): Promise<ReadonlyMap<PartId, Buffer>>
  /** The user's own entries in blocks above `after` and below `before`, in order. */
  replay (userId: string, after: bigint, before: bigint): AsyncIterable<{ offset: bigint, entry: Entry }>
  /** Something can't be had just now. It is tried again, each failure is told, and the user's messages wait. */
  waits (error: Error): void
  /** The wait is over: with what was wanted, or because there is no use in waiting. */
  waited (): void
  /** True once the partition is somebody else's: what could not be loaded until now is his to load. */
  ended (): boolean
}

const retryMsMin = 50
const retryMsMax = 2_000

/** A user's saved state that no later try will read. */
export class Unusable extends Error {
  constructor (cause: Error) { super(cause.message, { cause }) }
}

/** Where one user's state comes from: what is saved, and the entries since then. */
export class Recovery {
  constructor (readonly userId: string, readonly deps: RecoveryDeps) {}

  /**
   * Snapshots or the log may be away for a while. The user's messages wait then, and in the end so does the log: were
   * the entries passed over, what they publish would be lost.
   *
   * @throws Unusable where waiting is of no use
   */
  async patiently<T> (attempt: () => Promise<T>): Promise<T> {
    const { deps } = this
    let hasWaited = false
    try {
      for (let waitMs = retryMsMin; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
        try {
          return await attempt()
        } catch (err) {
          if (deps.ended() || err instanceof Unusable) throw err
          hasWaited = true
          deps.waits(err as Error)
          await new Promise(resolve => setTimeout(resolve, waitMs))
        }
      }
    } finally {
      if (hasWaited) deps.waited()
    }
  }

  /** @throws Unusable where there is a state that can not be read, or there can be none */
  async load (): Promise<UserState> {
    const loaded = await this.deps.load(this.userId).catch((err: Error) => {
      throw err instanceof GatewayError && err.code === 'bad-record' ? new Unusable(err) : err
    })
    if (!loaded) return newUser()
    try {
      return loadedState(loaded)
    } catch (err) {
      throw new Unusable(err as Error)
    }
  }

  /**
   * Payloads that were left out when `state` was loaded.
   *
   * @returns undefined where another owner of the partition is ahead and has removed some: what they belong to was
   * acked, or is gone, by an entry that is still to come here
   * @throws Unusable where one is not there, though its message is
   */
  async payloads (state: UserState, ids: readonly PartId[]): Promise<ReadonlyMap<PartId, Buffer> | undefined> {
    const payloads = await this.deps.parts(this.userId, ids)
    const missing = ids.find(id => !payloads.has(id))
    if (missing === undefined) return payloads
    const saved = await this.load()
    if (saved.offset > state.offset) return undefined
    throw new Unusable(new Error(`part ${missing} of the saved state is missing`))
  }

  /** The state after all blocks below `before` and then `entries`: what is saved plus replay, without effects. */
  async rebuild (before: bigint, entries: readonly Entry[]): Promise<UserState> {
    // An entry that was set aside earlier fails again here, and half-changes the state again: start anew without it.
    const poison = new Set<string>()
    for (;;) {
      const state = await this.load()
      state.rebuiltFrom = savedNumbersOf(state)
      const failed = await this.#refold(state, before, entries, poison)
      if (failed === undefined) return state
      poison.add(failed)
    }
  }

  async #refold (
    state: UserState, before: bigint, entries: readonly Entry[], poison: ReadonlySet<string>
  ): Promise<string | undefined> {
    let offset = state.offset
    let index = 0
    const step = (entry: Entry, block: bigint): string | undefined => {
      if (block !== offset) index = 0
      offset = block
      const place = `${block}.${index++}`
      if (poison.has(place)) return undefined
      try { fold(state, entry) } catch { return place }
      return undefined
    }
    for await (const replayed of this.deps.replay(this.userId, state.offset, before)) {
      const failed = step(replayed.entry, replayed.offset)
      if (failed !== undefined) return failed
      state.offset = replayed.offset
    }
    for (const entry of entries) {
      const failed = step(entry, before)
      if (failed !== undefined) return failed
    }
    return undefined
  }
}
