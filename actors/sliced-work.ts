/** Pieces that one turn of the event loop does at least. */
const turnPiecesMin = 64
/** Work that has more pieces than that is done in so many turns. */
const turnsMax = 256

interface Work { readonly pieces: Iterator<void>, readonly perTurn: number }

/**
 * Work of many pieces that may take a moment, such as a checkpoint of all users that were active in the last second: a
 * few pieces in each turn of the event loop, so that nobody waits for all of them. What was added first is done first.
 */
export class SlicedWork {
  readonly #works: Work[] = []
  #isTurning = false

  /**
   * Begins at once; with the next turn where this one has done something, and after what was added before.
   *
   * @param count of pieces
   * @param pieces each is done by one `next`
   */
  add (count: number, pieces: Iterator<void>): void {
    if (count === 0) return
    this.#works.push({ pieces, perTurn: Math.max(turnPiecesMin, Math.ceil(count / turnsMax)) })
    if (!this.#isTurning) this.#turn()
  }

  #turn (): void {
    this.#isTurning = this.#works.length > 0
    if (!this.#isTurning) return
    let left = 1 // of what one turn does
    while (left > 0 && this.#works.length > 0) {
      const { pieces, perTurn } = this.#works[0]!
      if (pieces.next().done) this.#works.shift()
      else left -= 1 / perTurn
    }
    setImmediate(() => { this.#turn() })
  }
}
