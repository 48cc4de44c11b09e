import type { KeyRange } from '../../ledger/embedded/environment.js'

/** What is stored under a key: nobody changes a value once it is there. */
export interface Row { readonly key: string, readonly value: Buffer }

/** Keys, as latin1 text, and their values, in the order of the keys' bytes. */
export class Rows {
  #keys: string[] = []
  readonly #values = new Map<string, Buffer>()

  get (key: string): Buffer | undefined { return this.#values.get(key) }

  get size (): number { return this.#keys.length }

  put (key: string, value: Buffer): void {
    if (!this.#values.has(key)) {
      const last = this.#keys.at(-1)
      if (last === undefined || key > last) this.#keys.push(key)
      else this.#keys.splice(this.placeOf(key), 0, key)
    }
    this.#values.set(key, value)
  }

  remove (key: string): void {
    if (this.#values.delete(key)) this.#keys.splice(this.placeOf(key), 1)
  }

  /** How many keys come before it. */
  placeOf (key: string): number {
    let low = 0
    let high = this.#keys.length
    while (low < high) {
      const middle = low + high >>> 1
      if (this.#keys[middle]! < key) low = middle + 1
      else high = middle
    }
    return low
  }

  range ({ start, end, inclusiveEnd = false, reverse = false, limit = Infinity }: KeyRange): Row[] {
    const rows: Row[] = []
    const [first, last] = [start.toString('latin1'), end.toString('latin1')]
    const step = reverse ? -1 : 1
    let at = this.placeOf(first)
    if (reverse && this.#keys[at] !== first) at--
    for (; at >= 0 && at < this.#keys.length && rows.length < limit; at += step) {
      const key = this.#keys[at]!
      if (reverse ? key < last : key > last) break
      if (key === last && !inclusiveEnd) break
      rows.push({ key, value: this.#values.get(key)! })
    }
    return rows
  }

  copy (): Rows {
    const copy = new Rows()
    copy.#keys = [...this.#keys]
    for (const [key, value] of this.#values) copy.#values.set(key, value)
    return copy
  }
}
