import { GatewayError } from '../schemas/errors.js'
import type { Kind, KindTypes } from './kind.js'
import type { LoadedState, PartId } from './snapshots.js'

export interface RecoveryDeps<K extends KindTypes> {
  /** The saved state, without the parts that are read when they are wanted; undefined where there is none. */
  load (key: string): Promise<LoadedState | undefined>
  /** Parts of the saved state that were left out. */
  parts (key: string, ids: readonly PartId[]): Promise<ReadonlyMap<PartId, Buffer>>
  /** The entries of this key in blocks above `after` and below `before`, in order. */
  replay (key: string, after: bigint, before: bigint): AsyncIterable<{ offset: bigint, entry: K['entry'] }>
  /** A try failed. It is tried again, and the actor's messages wait meanwhile. */
  waits (error: Error): void
  /** The wait is over: a try succeeded, or waiting is of no use. */
  waited (): void
  /** True once the partition has another owner, who will load what could not be loaded here. */
  ended (): boolean
}

const retryMsMin = 50
const retryMsMax = 2_000

/** A saved state that no later try will read. */
export class Unusable extends Error {
  constructor (cause: Error) { super(cause.message, { cause }) }
}

/** Makes one actor's state, from the saved one and the entries since then. */
export class Recovery<K extends KindTypes> {
  constructor (
    readonly kind: Pick<Kind<K>, 'fold' | 'states'>, readonly key: string, readonly deps: RecoveryDeps<K>
  ) {}

  /**
   * Tries until it succeeds. Snapshots or the log may be away for a while; the actor's messages wait then, and in the
   * end so does the log. Entries may not be passed over instead: what they publish would be lost.
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
  async load (): Promise<K['state']> {
    const loaded = await this.deps.load(this.key).catch((err: Error) => {
      throw err instanceof GatewayError && err.code === 'bad-record' ? new Unusable(err) : err
    })
    const { states } = this.kind
    if (!loaded) return states.fresh()
    try {
      return states.loaded(loaded)
    } catch (err) {
      throw new Unusable(err as Error)
    }
  }

  /**
   * Parts that were left out when `state` was loaded.
   *
   * @returns undefined where another owner of the partition is ahead and has removed some of them: entries that are
   * still to come here acked what they belong to, or removed it
   * @throws Unusable where one is not there, though the state says so
   */
  async leftOut (state: K['state'], ids: readonly PartId[]): Promise<ReadonlyMap<PartId, Buffer> | undefined> {
    const parts = await this.deps.parts(this.key, ids)
    const missing = ids.find(id => !parts.has(id))
    if (missing === undefined) return parts
    const saved = await this.load()
    if (saved.offset > state.offset) return undefined
    throw new Unusable(new Error(`part ${missing} of the saved state is missing`))
  }

  /** The state after all blocks below `before` and then `entries`: what is saved plus replay, without effects. */
  async rebuild (before: bigint, entries: ReadonlyArray<K['entry']>): Promise<K['state']> {
    // An entry that was set aside fails again here and leaves the state half changed: start over without that entry.
    const poison = new Set<string>()
    for (;;) {
      const state = await this.load()
      this.kind.states.rebuilding(state)
      const failed = await this.#refold(state, before, entries, poison)
      if (failed === undefined) return state
      poison.add(failed)
    }
  }

  async #refold (
    state: K['state'], before: bigint, entries: ReadonlyArray<K['entry']>, poison: ReadonlySet<string>
  ): Promise<string | undefined> {
    const { kind } = this
    let offset = state.offset
    let index = 0
    const step = (entry: K['entry'], block: bigint): string | undefined => {
      if (block !== offset) index = 0
      offset = block
      const place = `${block}.${index++}`
      if (poison.has(place)) return undefined
      try { kind.fold(state, entry) } catch { return place }
      return undefined
    }
    for await (const replayed of this.deps.replay(this.key, state.offset, before)) {
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
