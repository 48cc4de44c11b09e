import type { Snapshots, StateChanges } from './snapshots.js'
import type { SavedAs } from './folding-actor.js'

export interface CheckpointerDeps {
  readonly snapshots: Pick<Snapshots, 'save'>
  readonly partition: number
  /** The first offset that no actor has got yet. */
  next (): bigint
  /**
   * Asks each actor that has changed since the last call for its changes, up to `next`.
   *
   * @param reply to be called once for each of them
   * @returns how many there are
   */
  collect (reply: (key: string, changes: SavedAs) => void): number
  /** What the partition itself has to save; empty where that has not changed. */
  own (): ReadonlyMap<string, StateChanges>
  /**
   * Waits until the derived streams, and those that entries are handed on to, have all up to `offset`.
   *
   * @returns false where the partition ended before
   */
  published (offset: bigint): Promise<boolean>
  /** What was collected is kept, and saved with the next checkpoint. */
  failed (error: Error): void
}

/**
 * Saves what has changed of the actors of one partition, and the place that its next owner starts from. One checkpoint
 * at a time; what could not be saved goes with the next one.
 */
export class Checkpointer {
  readonly #deps: CheckpointerDeps
  /** Collected, but not saved yet: the store still has the older states. */
  #unsaved = new Map<string, StateChanges>()
  #running: Promise<void> | undefined
  #saved: bigint
  #sinceMs = 0

  /** @param saved the checkpoint that is stored */
  constructor (deps: CheckpointerDeps, saved: bigint) {
    this.#deps = deps
    this.#saved = saved
  }

  /** The first offset that is not in the saved states. */
  get saved (): bigint { return this.#saved }
  /** Since when there has been something to save, ms since 1970; 0 for nothing. */
  get sinceMs (): number { return this.#sinceMs }

  /** Whether something that the actor gave is not stored yet. */
  holds (key: string): boolean { return this.#unsaved.has(key) }

  /** Waits for the checkpoint that is under way, or makes one. Never rejects. */
  run (): Promise<void> {
    this.#running ??= this.#run()
      .catch(err => { this.#deps.failed(err as Error) })
      .finally(() => { this.#running = undefined })
    return this.#running
  }

  async #run (): Promise<void> {
    const { snapshots, partition, next, published, own } = this.#deps
    const to = next()
    const missing = await this.#collect()
    if (this.#unsaved.size === 0) return
    this.#sinceMs ||= Date.now()
    if (missing > 0) throw new Error(`${missing} actors have no state to save`)
    // A saved state must not be ahead of the derived streams: a crash would lose what lies between.
    if (!await published(to - 1n)) return
    for (const [key, changes] of own()) this.#add(key, changes)
    await snapshots.save(partition, to, this.#unsaved)
    this.#unsaved = new Map()
    this.#saved = to
    this.#sinceMs = 0
  }

  /** @returns how many had nothing to give, and have to be asked again */
  #collect (): Promise<number> {
    return new Promise(resolve => {
      let missing = 0
      let replies = 0
      let asked = Infinity
      const reply = (key: string, changes: SavedAs) => {
        if (changes === undefined) missing++
        else if (changes !== 'asItIs') this.#add(key, changes)
        if (++replies === asked) resolve(missing)
      }
      asked = this.#deps.collect(reply)
      if (replies === asked) resolve(missing)
    })
  }

  #add (key: string, changes: StateChanges): void {
    const before = this.#unsaved.get(key)
    this.#unsaved.set(key, before ? merged(before, changes) : changes)
  }
}

/** The changes of two saves as one. */
export function merged (first: StateChanges, second: StateChanges): StateChanges {
  const added = new Map([...first.added, ...second.added])
  const changed = new Map([...first.changed, ...second.changed])
  const gone = new Set([...first.gone, ...second.gone])
  for (const id of second.gone) {
    if (!second.added.has(id)) added.delete(id)
    if (!second.changed.has(id)) changed.delete(id)
  }
  for (const id of [...second.added.keys(), ...second.changed.keys()]) gone.delete(id)
  return { head: second.head, added, changed, gone: [...gone] }
}
