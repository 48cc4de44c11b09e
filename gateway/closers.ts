/** What was opened and started one after the other: it is closed in the opposite order, once. */
export class Closers {
  readonly #ending = new AbortController()
  readonly #closers: Array<() => unknown> = []

  /** Aborts as the end begins, before anything is closed. */
  get signal (): AbortSignal { return this.#ending.signal }

  add (close: () => unknown): void { this.#closers.push(close) }

  async close (): Promise<void> {
    this.#ending.abort()
    for (const close of this.#closers.splice(0).reverse()) await close()
  }
}
