/** How soon the owner of a room is asked what there is, once nothing has been heard; twice as long after each time. */
export const lookMs = 5_000
const lookMsMax = 160_000

/**
 * When the owner of a room is to be asked whether something was lost. What is lost before a post that arrives shows by
 * the numbers: it is the last post before a silence that nobody would miss. So a room that is posted in is not asked
 * about, and one that is silent less and less: the question wakes its owner's actor, which has been saved by then.
 */
export class LookPace {
  #fromMs = 0
  #waitMs = lookMs

  /** There was something new. */
  heard (nowMs: number): void {
    this.#fromMs = nowMs
    this.#waitMs = lookMs
  }

  /** @returns true where it is time, from which the next wait counts */
  isDue (nowMs: number): boolean {
    if (nowMs - this.#fromMs < this.#waitMs) return false
    this.#fromMs = nowMs
    this.#waitMs = Math.min(2 * this.#waitMs, lookMsMax)
    return true
  }
}
