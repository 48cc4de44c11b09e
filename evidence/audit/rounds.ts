/** A report may be stored so long after it was due, and the next one just behind it. */
const lateMs = 30_000

/**
 * How much time has passed in one partition of `nodes`, by the reports that stand in it and by no clock. A round is
 * over when a node reports a second time in it: it took at least what that node waits between two reports.
 */
export class Rounds {
  /** Of all rounds that are over. */
  #passedMs = 0
  #longestMs = 0
  /** Nodes that have reported in this round. */
  readonly #reported = new Set<string>()

  /** To be given to `agoMs` later. */
  get mark (): number { return this.#passedMs }

  /** @param everyMs what the node waits between two reports */
  reported (nodeId: string, everyMs: number): void {
    if (this.#reported.has(nodeId)) {
      this.#passedMs += everyMs
      this.#longestMs = Math.max(this.#longestMs, everyMs)
      this.#reported.clear()
    }
    this.#reported.add(nodeId)
  }

  /** A node has begun anew: its next report says nothing of the one before. */
  began (nodeId: string): void { this.#reported.delete(nodeId) }

  /** At least so many ms have passed since then; the round that it fell into does not count. */
  agoMs (mark: number): number { return Math.max(0, this.#passedMs - mark - this.#longestMs - lateMs) }
}
