/** Attempts and connections over time, in buckets. */
export class Tally {
  failed = 0
  redirected = 0
  #attempts = []
  #connected = []

  /** @param {number} bucketMs @param {number} fromMs where the first bucket begins */
  constructor (bucketMs, fromMs = 0) {
    this.bucketMs = bucketMs
    this.fromMs = fromMs
  }

  attempt (atMs) { this.#count(this.#attempts, atMs) }

  connected (atMs) { this.#count(this.#connected, atMs) }

  /** Attempts a second, bucket by bucket. */
  attemptRates () { return this.#rates(this.#attempts) }

  connectedRates () { return this.#rates(this.#connected) }

  /** When so many had connected, ms after the first bucket's begin; undefined where it never was. */
  reached (count) {
    let sum = 0
    for (const [i, some] of this.#connected.entries()) {
      sum += some ?? 0
      if (sum >= count) return (i + 1) * this.bucketMs
    }
    return undefined
  }

  #count (buckets, atMs) {
    const i = Math.floor((atMs - this.fromMs) / this.bucketMs)
    if (i < 0) return
    while (buckets.length <= i) buckets.push(0)
    buckets[i]++
  }

  #rates (buckets) { return buckets.map(count => count * 1000 / this.bucketMs) }
}
