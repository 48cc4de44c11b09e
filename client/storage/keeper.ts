import type { ClientStorage } from './storage.js'

/** Writes to a storage, if there is one: one write at a time, and all that changed meanwhile is the next one. */
export class Keeper {
  readonly #storage: ClientStorage | undefined
  readonly #failed: (error: unknown) => void
  #changes = new Map<string, string | undefined>()
  #waiting: Array<() => void> = []
  #writing: Promise<void> | undefined

  /** @param failed told of each write that failed; what it held goes out again with the next one */
  constructor (storage: ClientStorage | undefined, failed: (error: unknown) => void) {
    this.#storage = storage
    this.#failed = failed
  }

  get isWriting (): boolean { return this.#writing !== undefined }

  /** @throws Error where the storage is in use or can't be read */
  async open (lost: () => void): Promise<Map<string, string>> {
    return await this.#storage?.open(lost) ?? new Map()
  }

  /** @param value made only where it is kept */
  put (key: string, value: () => string): void {
    if (this.#storage !== undefined) this.#change(key, value())
  }

  remove (key: string): void {
    if (this.#storage !== undefined) this.#change(key, undefined)
  }

  /** Runs once all that was put is kept; at once without a storage. A failed write holds nobody up: see `failed`. */
  whenKept (run: () => void): void {
    if (this.#writing === undefined) run()
    else this.#waiting.push(run)
  }

  async close (): Promise<void> {
    await this.#writing
    await this.#storage?.close()
  }

  #change (key: string, value: string | undefined): void {
    this.#changes.delete(key) // to the end of the order
    this.#changes.set(key, value)
    this.#writing ??= this.#write()
  }

  async #write (): Promise<void> {
    await null // what one turn puts is one write
    while (this.#changes.size > 0) {
      const [changes, waiting] = [this.#changes, this.#waiting]
      this.#changes = new Map()
      this.#waiting = []
      try {
        await this.#storage!.write(changes)
      } catch (err) {
        const later = this.#changes
        for (const key of later.keys()) changes.delete(key) // a key has the place of its last change
        this.#changes = new Map([...changes, ...later])
        this.#failed(err)
        if (later.size === 0) {
          this.#end(waiting)
          return
        }
      }
      this.#run(waiting)
    }
    this.#end([])
  }

  #end (waiting: Array<() => void>): void {
    this.#writing = undefined
    this.#run([...waiting, ...this.#waiting.splice(0)])
  }

  #run (waiting: Array<() => void>): void {
    for (const run of waiting) run()
  }
}
