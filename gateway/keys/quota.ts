/**
 * So many a second. What was left unused for a second may come at once. Where more is asked for than a second has, all
 * of a second must be there, and the rest is owed: nothing is too large for ever, and the rate is kept all the same.
 */
export class Quota {
  readonly perSecond: number
  #left: number
  #atMs: number

  /** @param nowMs of a clock that nobody sets */
  constructor (perSecond: number, nowMs: number) {
    this.perSecond = perSecond
    this.#left = perSecond
    this.#atMs = nowMs
  }

  /** @returns 0 where `count` is taken, else after how many ms it may be asked for again; then nothing is taken */
  take (count: number, nowMs: number): number {
    const { perSecond } = this
    this.#left = Math.min(perSecond, this.#left + (nowMs - this.#atMs) * perSecond / 1_000)
    this.#atMs = nowMs
    const wanted = Math.min(count, perSecond)
    // A remainder of a division is no reason to wait.
    if (this.#left + 1e-6 < wanted) return Math.max(1, Math.ceil((wanted - this.#left) * 1_000 / perSecond - 1e-6))
    this.#left -= count
    return 0
  }
}
