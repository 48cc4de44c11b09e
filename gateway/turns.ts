/**
 * Work that names keys: of those that share a key, each begins when the one before has ended, in the order of the
 * calls; others do not wait. What waits is the caller's to bound.
 */
export class Turns {
  /** By key: the end of the last work that named it, until that has come. */
  readonly #last = new Map<string, Promise<void>>()

  /** @param work never rejects */
  async take (keys: readonly string[], work: () => Promise<void>): Promise<void> {
    const before = new Set<Promise<void>>()
    for (const key of keys) {
      const last = this.#last.get(key)
      if (last) before.add(last)
    }
    const done = Promise.all(before).then(work)
    for (const key of keys) this.#last.set(key, done)
    await done
    for (const key of keys) if (this.#last.get(key) === done) this.#last.delete(key)
  }
}
