import type { ClientStorage } from '../client/storage/storage.js'
import type { Random } from './random.js'
import type { Turns } from './world.js'

/** A device's disk. It outlives the application on it; a crash takes what was not yet written. */
export class Disk {
  readonly kept = new Map<string, string>()
  #writing: Array<readonly [string, string | undefined]> = []

  constructor (readonly random: Random) {}

  /** For one run of the application. */
  storage (turns: Turns): ClientStorage {
    const wait = async (what: string): Promise<void> =>
      await new Promise(resolve => { turns.later(this.random.between(0.5, 20), what, resolve) })
    return {
      open: async () => {
        await wait('opens its storage')
        return new Map(this.kept)
      },
      write: async changes => {
        this.#writing = [...changes]
        await wait('has written')
        this.#keep(this.#writing.splice(0))
      },
      close: async () => {},
    }
  }

  /** A first part of what was being written is there, or nothing of it. */
  crash (): void {
    const writing = this.#writing.splice(0)
    this.#keep(writing.slice(0, this.random.below(writing.length + 1)))
  }

  #keep (changes: ReadonlyArray<readonly [string, string | undefined]>): void {
    for (const [key, value] of changes) {
      if (value === undefined) this.kept.delete(key)
      else this.kept.set(key, value)
    }
  }
}
