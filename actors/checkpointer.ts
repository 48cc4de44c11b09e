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
  /** What the partition itself is to save, once there was something. */
  own (): ReadonlyMap<string, StateChanges>
  /** @returns false where the partition ended before the derived stream, and others, had all up to `offset` */
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
  /** Collected, and not saved yet: the store still has the states before. */
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

  /** True where the store does not have all that the actor has given. */
  holds (key: string): boolean { return this.#unsaved.has(key) }

  /** Never rejects. Resolves once the checkpoint is done that is under way, or that begins now. */
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
    // A state that is ahead of the derived stream would lose what lies between, were we to end now.
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

/** What two saves would do, one after the other. */
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
