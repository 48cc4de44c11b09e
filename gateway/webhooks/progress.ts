/** A block that was handed over, and how many of its records are not done. */
export interface Place {
  readonly progress: Progress
  readonly offset: bigint
  left: number
}

/** Of all partitions of a source, since it is followed. */
export interface Counts {
  /** Records that were wanted. */
  taken: number
  givenUp: number
}

/** So many blocks may be kept beside those that are not done. */
const compactAfter = 1_024

/**
 * How far one partition of a stream is: the place behind which all is done. What is done behind a record that is not
 * takes next to no memory, however much of it there is.
 */
export class Progress {
  #blocks: Place[] = []
  /** Those before it are done, and committed. */
  #first = 0
  #compactAt = compactAfter
  #room: (() => void) | undefined
  /** The partition is being given back: what becomes of its records is nobody's business here. */
  ended = false
  /** Records that are not done, and their bytes. */
  undone = 0
  bytes = 0

  /** @param commit the first offset that is not done */
  constructor (
    private readonly commit: (next: bigint) => void, private readonly bounds: { recordsMax: number, bytesMax: number },
    readonly counts: Counts = { taken: 0, givenUp: 0 }
  ) {}

  get isFull (): boolean { return this.undone >= this.bounds.recordsMax || this.bytes >= this.bounds.bytesMax }

  /** A block with so many records for this webhook. */
  begin (offset: bigint, records: number, bytes: number): Place {
    const place = { progress: this, offset, left: records }
    if (records === 0 && this.#first === this.#blocks.length) {
      this.commit(offset + 1n)
      return place
    }
    this.#blocks.push(place)
    this.undone += records
    this.counts.taken += records
    this.bytes += bytes
    if (this.#blocks.length >= this.#compactAt) this.#compact()
    return place
  }

  /** Resolves once there is room for more; undefined where there is. */
  whenRoom (): Promise<void> | undefined {
    if (!this.isFull || this.ended) return undefined
    return new Promise(resolve => { this.#room = resolve })
  }

  /** One record of it. */
  done (place: Place, bytes: number): void {
    place.left--
    this.undone--
    this.bytes -= bytes
    if (place.left === 0 && this.#blocks[this.#first] === place) this.#moveOn()
    if (this.isFull) return
    this.#room?.()
    this.#room = undefined
  }

  end (): void {
    this.ended = true
    this.#room?.()
  }

  #moveOn (): void {
    while (this.#blocks[this.#first]?.left === 0) this.#first++
    const next = this.#blocks[this.#first - 1]!.offset + 1n
    if (this.#first >= compactAfter || this.#first === this.#blocks.length) this.#compact()
    if (!this.ended) this.commit(next)
  }

  /** Of done blocks in a row the last one tells where it ends. */
  #compact (): void {
    const { length } = this.#blocks
    this.#blocks = this.#blocks.filter(({ left }, i, all) =>
      i >= this.#first && (left > 0 || i === length - 1 || all[i + 1]!.left > 0))
    this.#first = 0
    this.#compactAt = 2 * this.#blocks.length + compactAfter
  }
}
