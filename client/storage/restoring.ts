/** Takes over, once, what an earlier run kept. Nothing is sent before that. */
export class Restoring {
  readonly #restore: () => Promise<void>
  #isDone = false
  #passing = 0
  /** Settles when it is done; undefined until it has begun. */
  begun: Promise<void> | undefined

  constructor (restore: () => Promise<void>) {
    this.#restore = restore
  }

  begin (): Promise<void> {
    this.begun ??= this.#restore().then(() => { this.#isDone = true })
    return this.begun
  }

  /** It is done, and whoever waited for it has gone on. */
  get isPassed (): boolean { return this.#isDone && this.#passing === 0 }

  /** Resolves when it is done, in the order of the calls. */
  async pass (): Promise<void> {
    this.#passing++
    try {
      await this.begin()
    } finally {
      this.#passing--
    }
  }
}
