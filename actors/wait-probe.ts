/** Of so many turns one is timed: to look at the clock at each costs more than what it tells. */
const oneOf = 16

/**
 * How long work waits in this process from when it has come until the actors that it was given to have had their turn.
 * Actors take their turns as immediates, in order, so an immediate that is set behind theirs waits as long as they do:
 * for what was to be done before, and for nothing else, neither the disk nor the network.
 */
export class WaitProbe {
  #turns = 0
  #count = 0
  #timed = 0
  #waitedMs = 0

  /** Frames or entries have come, and were given to their actors. */
  given (count: number): void {
    this.#count += count
    if (++this.#turns % oneOf !== 0) return
    const atMs = performance.now()
    setImmediate(() => {
      this.#timed += count
      this.#waitedMs += count * (performance.now() - atMs)
    })
  }

  /** How many have come since the last call, and what one has waited in the mean, ms; 0 where none was timed. */
  take (): { count: number, ms: number } {
    const taken = { count: this.#count, ms: this.#timed === 0 ? 0 : this.#waitedMs / this.#timed }
    this.#count = this.#timed = this.#waitedMs = 0
    return taken
  }
}
