/** What waits for its turn, and the work that does it. */
interface Batch<T> { readonly items: T[], readonly done: Promise<void> }

/**
 * Items that name keys, and the work on them: of those that share a key, each is worked on when the ones before are
 * done, in the order of the calls; others do not wait. Items that name one and the same key alone, and that wait for
 * their turn behind each other, are worked on together. What waits is the caller's to bound.
 */
export class Turns<T> {
  /** By key: the end of the last work that named it, until that has come. */
  readonly #last = new Map<string, Promise<void>>()
  /** By key: what has not begun and names that key alone, with nothing behind it that names it too. */
  readonly #open = new Map<string, Batch<T>>()
  readonly #work: (items: readonly T[]) => Promise<void>

  /** @param work of one or more items with the same keys, in order; never rejects */
  constructor (work: (items: readonly T[]) => Promise<void>) {
    this.#work = work
  }

  /** Resolves once the item is done. */
  async take (keys: readonly string[], item: T): Promise<void> {
    const alone = keys.length === 1 ? keys[0]! : undefined
    const open = alone === undefined ? undefined : this.#open.get(alone)
    if (open) {
      open.items.push(item)
      return await open.done
    }
    const before = new Set<Promise<void>>()
    for (const key of keys) {
      const last = this.#last.get(key)
      if (last) before.add(last)
      this.#open.delete(key)
    }
    const items = [item]
    const done = Promise.all(before).then(() => {
      if (alone !== undefined && this.#open.get(alone)?.items === items) this.#open.delete(alone)
      return this.#work(items)
    })
    for (const key of keys) this.#last.set(key, done)
    if (alone !== undefined) this.#open.set(alone, { items, done })
    await done
    for (const key of keys) if (this.#last.get(key) === done) this.#last.delete(key)
  }
}
