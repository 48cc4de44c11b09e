/** To tell a histogram of a sample takes a quarter of a microsecond: this many a second are a thousandth of a core. */
const perWindow = 400
const windowMs = 100

/** Lets so many samples through that they cost nothing to speak of, and all where there are few. */
export class SampleBudget {
  #left = perWindow
  #endsAtMs = 0

  /** @param nowMs of a clock that is not set */
  take (nowMs = performance.now()): boolean {
    if (nowMs >= this.#endsAtMs) {
      this.#endsAtMs = nowMs + windowMs
      this.#left = perWindow
    }
    return this.#left-- > 0
  }
}
