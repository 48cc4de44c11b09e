export interface NewcomersOptions<T> {
  /** How many there may be, and how many of them from one address. */
  readonly max: number
  readonly networkMax: number
  /** It has had no time to say who it is, and is not put out for another one. */
  isYoung (newcomer: T): boolean
  /** Ends one to make room. It is no longer counted. */
  putOut (newcomer: T): void
}

/** Newcomers that are counted together. */
class Group<T> {
  size = 0
  /** Those that do not wait for an answer of ours: the one that has not for longest is the first. */
  readonly idle = new Set<T>()

  get first (): T | undefined { return this.idle.values().next().value }
}

/**
 * Sockets whose client has not shown yet who it is: of one port. They are counted apart from those of known clients:
 * whoever opens sockets and says nothing must not take the room of those who do. Where there are too many, of one
 * address or in all, the one that has been idle for longest goes, for an honest client needs a moment only.
 */
export class Newcomers<T> {
  /** By the address that each counts for; undefined: by none. */
  readonly #networks = new Map<T, string | undefined>()
  readonly #all = new Group<T>()
  readonly #ofNetwork = new Map<string, Group<T>>()

  constructor (readonly options: NewcomersOptions<T>) {}

  get size (): number { return this.#all.size }

  has (newcomer: T): boolean { return this.#networks.has(newcomer) }

  /** False where all that could go for one more have come just now, too. */
  hasRoom (network: string | undefined): boolean {
    const { max, networkMax } = this.options
    const neighbours = network === undefined ? undefined : this.#ofNetwork.get(network)
    return this.#canTake(neighbours, networkMax) && this.#canTake(this.#all, max)
  }

  /**
   * Adds one. Others may have to go for it; where all of them wait for an answer, it goes itself.
   *
   * @param network undefined where it counts for no address
   */
  add (newcomer: T, network: string | undefined): void {
    this.#networks.set(newcomer, network)
    this.#enter(this.#all, newcomer, true)
    this.#enterNetwork(newcomer, network, true)
    this.#makeRoom(this.#all, this.options.max, newcomer)
  }

  /** It turned out to be of another address, for which it counts from now on. */
  move (newcomer: T, network: string | undefined): void {
    const before = this.#networks.get(newcomer)
    if (before === network || !this.has(newcomer)) return
    this.#leaveNetwork(newcomer, before)
    this.#networks.set(newcomer, network)
    this.#enterNetwork(newcomer, network, this.#all.idle.has(newcomer))
  }

  /** It waits for an answer now, or does not any more. */
  setIdle (newcomer: T, isIdle: boolean): void {
    if (!this.has(newcomer)) return
    for (const group of [this.#all, this.#groupOf(newcomer)]) {
      if (isIdle) group?.idle.add(newcomer)
      else group?.idle.delete(newcomer)
    }
  }

  /** @returns false where it was not, or no longer, one of them */
  delete (newcomer: T): boolean {
    if (!this.has(newcomer)) return false
    this.#leaveNetwork(newcomer, this.#networks.get(newcomer))
    this.#leave(this.#all, newcomer)
    return this.#networks.delete(newcomer)
  }

  #enterNetwork (newcomer: T, network: string | undefined, isIdle: boolean): void {
    if (network === undefined) return
    let group = this.#ofNetwork.get(network)
    if (!group) this.#ofNetwork.set(network, group = new Group())
    this.#enter(group, newcomer, isIdle)
    this.#makeRoom(group, this.options.networkMax, newcomer)
  }

  #leaveNetwork (newcomer: T, network: string | undefined): void {
    const group = network === undefined ? undefined : this.#ofNetwork.get(network)
    if (!group) return
    this.#leave(group, newcomer)
    if (group.size === 0) this.#ofNetwork.delete(network!)
  }

  #enter (group: Group<T>, newcomer: T, isIdle: boolean): void {
    group.size++
    if (isIdle) group.idle.add(newcomer)
  }

  #leave (group: Group<T>, newcomer: T): void {
    group.size--
    group.idle.delete(newcomer)
  }

  #groupOf (newcomer: T): Group<T> | undefined {
    const network = this.#networks.get(newcomer)
    return network === undefined ? undefined : this.#ofNetwork.get(network)
  }

  #canTake (group: Group<T> | undefined, max: number): boolean {
    if (!group || group.size < max) return true
    const { first } = group
    return first !== undefined && !this.options.isYoung(first)
  }

  #makeRoom (group: Group<T>, max: number, newcomer: T): void {
    if (group.size <= max) return
    const goes = group.first ?? newcomer
    this.delete(goes)
    this.options.putOut(goes)
  }
}
