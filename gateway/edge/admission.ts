/** Seconds for which an address is refused after it opened connections too fast. */
export const banS = 10

/** Addresses that are remembered; past it the one seen longest ago is forgotten. */
const addressesMax = 100_000

interface Address {
  /** Accepts that it has left, may be a fraction. */
  credit: number
  atMs: number
  bannedUntilMs: number
}

/**
 * How fast one IP address may open connections: `acceptRate` a second, and as many at once. One that asks for more is
 * banned for `banS`.
 */
export class Admission {
  readonly #addresses = new Map<string, Address>()

  /** @param acceptRate accepts a second of one address; 0 for no limit */
  constructor (readonly acceptRate: number, readonly nowMs: () => number = () => performance.now()) {}

  /** @returns 0 to let it in, else how many whole seconds the address is banned for yet */
  refusedForS (ip: string): number {
    if (this.acceptRate === 0) return 0
    const nowMs = this.nowMs()
    const address = this.#address(ip, nowMs)
    if (address.bannedUntilMs > nowMs) return Math.ceil((address.bannedUntilMs - nowMs) / 1000)
    address.credit = Math.min(this.acceptRate, address.credit + (nowMs - address.atMs) * this.acceptRate / 1000)
    address.atMs = nowMs
    if (address.credit >= 1) {
      address.credit--
      return 0
    }
    address.bannedUntilMs = nowMs + banS * 1000
    return banS
  }

  /** Forgets addresses that are back at full credit. */
  sweep (): void {
    const fullSinceMs = this.nowMs() - Math.max(1, banS) * 1000
    for (const [ip, { atMs, bannedUntilMs }] of this.#addresses) {
      if (atMs < fullSinceMs && bannedUntilMs < fullSinceMs) this.#addresses.delete(ip)
    }
  }

  #address (ip: string, nowMs: number): Address {
    let address = this.#addresses.get(ip)
    if (!address) {
      if (this.#addresses.size >= addressesMax) this.#addresses.delete(this.#addresses.keys().next().value!)
      address = { credit: this.acceptRate, atMs: nowMs, bannedUntilMs: 0 }
      this.#addresses.set(ip, address)
    }
    return address
  }
}
