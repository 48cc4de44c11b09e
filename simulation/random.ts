/** Pseudo-random numbers from a seed: sfc32, the same on every machine. */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** @param name sets streams of one seed apart: what one draws changes nothing for another */
  constructor (readonly seed: number, name = '') {
    this.#a = seed | 0
    this.#b = Math.trunc(seed / 2 ** 32) | 0
    this.#c = 0x9e3779b9
    for (let i = 0; i < name.length; i++) this.#c = Math.imul(this.#c ^ name.charCodeAt(i), 0x01000193)
    for (let i = 0; i < 15; i++) this.#draw()
  }

  /** How many numbers were drawn. */
  get drawn (): number { return this.#counter }

  /** 0 up to but without 1. */
  next (): number { return this.#draw() / 2 ** 32 }

  /** An integer from 0 up to but without `limit`. */
  below (limit: number): number { return Math.floor(this.next() * limit) }

  /** From `min` up to but without `max`. */
  between (min: number, max: number): number { return min + this.next() * (max - min) }

  chance (probability: number): boolean { return this.next() < probability }

  pick<T> (items: readonly T[]): T { return items[this.below(items.length)]! }

  fill (bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#draw() & 255
  }

  #draw (): number {
    const drawn = (this.#a + this.#b + this.#counter++) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21 | this.#c >>> 11) + drawn) | 0
    return drawn >>> 0
  }
}
