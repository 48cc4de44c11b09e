import type { Keeper } from './storage/keeper.js'

/** An operator may have a message delivered once more, under a new number: so many ids back it is known as a repeat. */
const seenMax = 1000

/*
  Kept:
    seen/<seq modulo 1000> => messageId
*/
const prefix = 'seen/'

/** The ids of the downlinks done with last. */
export class SeenMessages {
  readonly #keeper: Keeper
  readonly #bySlot = new Map<number, string>()
  readonly #ids = new Set<string>()

  constructor (keeper: Keeper) {
    this.#keeper = keeper
  }

  restore (kept: ReadonlyMap<string, string>): void {
    for (const [key, messageId] of kept) {
      if (key.startsWith(prefix)) this.#put(Number(key.slice(prefix.length)), messageId)
    }
  }

  has (messageId: string): boolean {
    return this.#ids.has(messageId)
  }

  add (seq: number, messageId: string): void {
    this.#put(seq % seenMax, messageId)
    this.#keeper.put(`${prefix}${seq % seenMax}`, () => messageId)
  }

  #put (slot: number, messageId: string): void {
    const oldest = this.#bySlot.get(slot)
    if (oldest !== undefined) this.#ids.delete(oldest)
    this.#bySlot.set(slot, messageId)
    this.#ids.add(messageId)
  }
}
