/** Addresses that are remembered; past it the one that came first is forgotten. */
const addressesMax = 100_000

/** The longest wait that is told. An address whose queue is longer opens connections to no end. */
export const waitMaxMs = 30_000

interface Address {
  /** Accepts that it has left, may be a fraction. */
  credit: number
  atMs: number
  /** The turn of the last one that was told to wait. */
  queuedUntilMs: number
}

/**
 * How fast one address may open connections: `acceptRate` a second, and as many at once. Whoever comes too early is
 * told when to come back: each gets a place of its own in a queue that moves at the rate. An address is often a whole
 * office, so they must all get in, and must not all come back in the same moment.
 */
export class Admission {
  readonly #addresses = new Map<string, Address>()

  /** @param acceptRate accepts a second of one address; 0 for no limit */
  constructor (readonly acceptRate: number, readonly nowMs: () => number = () => performance.now()) {}

  /**
   * @param network of the address, see `networkOf`
   * @returns 0 to let it in, else how long it is to wait, ms; Infinity where the queue is longer than `waitMaxMs`
   */
  waitMs (network: string): number {
    if (this.acceptRate === 0) return 0
    const nowMs = this.nowMs()
    const everyMs = 1_000 / this.acceptRate
    const address = this.#address(network, nowMs)
    address.credit = Math.min(this.acceptRate, address.credit + (nowMs - address.atMs) / everyMs)
    address.atMs = nowMs
    if (address.credit >= 1) {
      address.credit--
      return 0
    }
    const turnMs = Math.max(address.queuedUntilMs + everyMs, nowMs + (1 - address.credit) * everyMs)
    if (turnMs - nowMs > waitMaxMs) return Infinity
    address.queuedUntilMs = turnMs
    return Math.ceil(turnMs - nowMs)
  }

  /** Forgets addresses that are back at full credit and that nobody is to come back from. */
  sweep (): void {
    const nowMs = this.nowMs()
    for (const [network, { atMs, queuedUntilMs }] of this.#addresses) {
      if (nowMs - atMs > 1_000 && queuedUntilMs < nowMs) this.#addresses.delete(network)
    }
  }

  #address (network: string, nowMs: number): Address {
    let address = this.#addresses.get(network)
    if (!address) {
      if (this.#addresses.size >= addressesMax) this.#addresses.delete(this.#addresses.keys().next().value!)
      address = { credit: this.acceptRate, atMs: nowMs, queuedUntilMs: 0 }
      this.#addresses.set(network, address)
    }
    return address
  }
}
