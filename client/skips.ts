import type { Keeper } from './storage/keeper.js'

/** Characters of a reason that are told: a server takes 256 bytes of UTF-8. */
const reasonMax = 80

/*
  Kept:
    skipped/<seq> => why the application can't digest that downlink; until the server knows it
*/
const prefix = 'skipped/'

/**
 * Downlinks that the application went on without, until the server knows: it would take any ack beyond one for a sign
 * that it was processed.
 */
export class Skips {
  readonly #keeper: Keeper
  /** `pings` is the ping of the open connection that went out behind the word of it; 0: nothing was said yet. */
  readonly #bySeq = new Map<number, { readonly reason: string, pings: number }>()

  constructor (keeper: Keeper) {
    this.#keeper = keeper
  }

  /** No ack may pass this seq, and no `connect` name it. */
  get untoldSeq (): number { return this.#first(({ pings }) => pings === 0) }

  get unknownSeq (): number { return this.#first(() => true) }

  has (seq: number): boolean {
    return this.#bySeq.has(seq)
  }

  restore (kept: ReadonlyMap<string, string>): void {
    const seqs = [...kept.keys()].filter(key => key.startsWith(prefix)).map(key => Number(key.slice(prefix.length)))
    for (const seq of seqs) this.#bySeq.set(seq, { reason: kept.get(`${prefix}${seq}`)!, pings: 0 })
  }

  add (seq: number, error: string): void {
    const reason = error.slice(0, reasonMax).replace(/\p{Surrogate}/gu, '?')
    this.#bySeq.set(seq, { reason, pings: 0 })
    this.#keeper.put(`${prefix}${seq}`, () => reason)
  }

  /** A new connection: the server has done with everything up to `downlinkSeq`. */
  resume (downlinkSeq: number): void {
    for (const [seq, skip] of this.#bySeq) {
      skip.pings = 0
      if (seq <= downlinkSeq) this.#remove(seq)
    }
  }

  /** Those up to `seq` of which nothing has been said on this connection; they count as told before ping `pings`. */
  take (seq: number, pings: number): Array<{ seq: number, reason: string }> {
    const untold = [...this.#bySeq].filter(([each, skip]) => each <= seq && skip.pings === 0).sort(([a], [b]) => a - b)
    return untold.map(([each, skip]) => {
      skip.pings = pings
      return { seq: each, reason: skip.reason }
    })
  }

  /** So many pings of this connection are answered, and what was said before them is known. */
  answered (pings: number): void {
    for (const [seq, skip] of this.#bySeq) if (skip.pings > 0 && skip.pings <= pings) this.#remove(seq)
  }

  /** The numbers begin anew. */
  clear (): void {
    for (const seq of this.#bySeq.keys()) this.#remove(seq)
  }

  #first (isMeant: (skip: { readonly pings: number }) => boolean): number {
    let first = Infinity
    for (const [seq, skip] of this.#bySeq) if (isMeant(skip)) first = Math.min(first, seq)
    return first
  }

  #remove (seq: number): void {
    this.#bySeq.delete(seq)
    this.#keeper.remove(`${prefix}${seq}`)
  }
}
