/** What ends a node: whatever was opened or started is closed in the opposite order, once. */
export class Closers {
  readonly #ending = new AbortController()
  readonly #closers: Array<() => unknown> = []

  /** Aborts as the node begins to end, before anything is closed. */
  get signal (): AbortSignal { return this.#ending.signal }

  add (close: () => unknown): void { this.#closers.push(close) }

  async close (): Promise<void> {
    this.#ending.abort()
    for (const close of this.#closers.splice(0).reverse()) await close()
  }
}
