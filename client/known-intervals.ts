import type { Keeper } from './storage/keeper.js'

/*
  Kept:
    heartbeat/<network> => the interval in ms that was found for it
*/
const prefix = 'heartbeat/'

/** Heartbeat intervals that networks turned out to bear, by the names that the application gives them. */
export class KnownIntervals {
  readonly #keeper: Keeper
  readonly #msByNetwork = new Map<string, number>()

  constructor (keeper: Keeper) {
    this.#keeper = keeper
  }

  restore (kept: ReadonlyMap<string, string>): void {
    for (const [key, value] of kept) {
      if (key.startsWith(prefix)) this.#msByNetwork.set(key.slice(prefix.length), Number(value))
    }
  }

  /** 0 where nothing is known. */
  of (network: string): number {
    return this.#msByNetwork.get(network) ?? 0
  }

  learn (network: string, ms: number): void {
    this.#msByNetwork.set(network, ms)
    this.#keeper.put(`${prefix}${network}`, () => String(ms))
  }
}
