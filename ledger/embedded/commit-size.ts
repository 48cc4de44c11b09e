/** What one commit takes on of appends, at most and at least. */
export const commitBytesMax = 1 << 20
export const commitBytesMin = 1 << 18

/** What an append waits for is the commit before its own, and its own. */
const targetMs = 4
const shrinkBy = 3 / 4
const growBy = 5 / 4

/**
 * How much one commit takes on where more waits: as much as the disk takes in some milliseconds. Whoever appends little
 * goes with the next commit, so a disk that needs 40 ms for a megabyte would let him wait for 80.
 */
export class CommitSize {
  bytesMax = commitBytesMax
  /** How long the last two that were full took, ms. */
  #last = 0
  #secondLast = 0

  /**
   * A commit took `ms`. One that was not full says nothing of what its bytes take. Nor does one alone that is slow: the
   * disk had others to serve, or the thread waited for a core. So the median of three decides.
   */
  committed (ms: number, isFull: boolean): void {
    if (!isFull) return
    const usualMs = medianOf(ms, this.#last, this.#secondLast)
    this.#secondLast = this.#last
    this.#last = ms
    if (usualMs > targetMs) this.bytesMax = Math.max(commitBytesMin, Math.trunc(this.bytesMax * shrinkBy))
    else if (usualMs < targetMs / 2) this.bytesMax = Math.min(commitBytesMax, Math.trunc(this.bytesMax * growBy))
  }
}

function medianOf (a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c))
}
