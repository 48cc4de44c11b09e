/** One that is younger has had no time to say who it is, and is not put out for another. */
const graceMs = 1_000

/** What is kept of a socket in its handshake. */
export interface Newcomer {
  /** Ticks. */
  readonly acceptedAt: number
}

export interface HandshakesOptions<T> {
  /** How many there may be, and how many of them from one address. */
  readonly max: number
  readonly networkMax: number
  /** Length of a tick of `acceptedAt` and `ticks`. */
  readonly tickMs: number
  ticks (): number
  /** Ends one to make room. It is no longer counted. */
  putOut (newcomer: T): void
}

/**
 * The sockets whose client has not shown yet who it is. They are counted apart from connections: whoever opens sockets
 * and says nothing must not take the room of those who do. Where there are too many the one that has been silent for
 * longest goes, for an honest client needs a moment only.
 */
export class Handshakes<T extends Newcomer> {
  /** With the address that each counts for, oldest first. */
  readonly #all = new Map<T, string | undefined>()
  readonly #ofNetwork = new Map<string, Set<T>>()

  constructor (readonly options: HandshakesOptions<T>) {}

  get size (): number { return this.#all.size }

  /** False where all that could go for it have come just now, too. */
  hasRoom (network: string | undefined): boolean {
    const { max, networkMax } = this.options
    const neighbours = network === undefined ? undefined : this.#ofNetwork.get(network)
    if (neighbours && neighbours.size >= networkMax && this.#isYoung(oldest(neighbours))) return false
    return this.#all.size < max || !this.#isYoung(oldest(this.#all.keys()))
  }

  /** @param network undefined where it counts for no address */
  add (newcomer: T, network: string | undefined): void {
    const { max, networkMax } = this.options
    const neighbours = network === undefined ? undefined : this.#ofNetwork.get(network)
    if (neighbours && neighbours.size >= networkMax) this.#putOut(oldest(neighbours))
    if (this.#all.size >= max) this.#putOut(oldest(this.#all.keys()))
    this.#all.set(newcomer, network)
    if (network === undefined) return
    const now = this.#ofNetwork.get(network)
    if (now) now.add(newcomer)
    else this.#ofNetwork.set(network, new Set([newcomer]))
  }

  /** @returns false where it was not, or no longer, in its handshake */
  delete (newcomer: T): boolean {
    const network = this.#all.get(newcomer)
    if (!this.#all.delete(newcomer)) return false
    if (network === undefined) return true
    const neighbours = this.#ofNetwork.get(network)!
    neighbours.delete(newcomer)
    if (neighbours.size === 0) this.#ofNetwork.delete(network)
    return true
  }

  #putOut (newcomer: T): void {
    this.delete(newcomer)
    this.options.putOut(newcomer)
  }

  #isYoung ({ acceptedAt }: T): boolean {
    const { ticks, tickMs } = this.options
    return (ticks() - acceptedAt) * tickMs <= graceMs // it may have come at the end of its tick
  }
}

function oldest<T> (some: Iterable<T>): T {
  return some[Symbol.iterator]().next().value as T
}
