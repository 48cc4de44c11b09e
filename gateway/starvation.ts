import { closeSync, openSync, readSync } from 'node:fs'

/** Three numbers. */
const statBytesMax = 128

/** Never all of it: what waits has to be seen in the end. */
const shareMax = 0.9

/**
 * For which share of its time this thread was ready to run and had no core, because other programs had them, or its
 * container's quota was used up. That is no work of ours that waits, so it is taken from waits that were measured.
 */
export class Starvation {
  readonly #stat: number | undefined
  readonly #text = Buffer.alloc(statBytesMax)
  #waitedMs: number
  #atMs: number

  constructor () {
    try {
      this.#stat = openSync('/proc/thread-self/schedstat', 'r')
    } catch {
      // Not Linux, or a kernel without these numbers.
    }
    this.#waitedMs = this.#read()
    this.#atMs = performance.now()
  }

  /** Since the last call, 0 to 0.9. */
  take (): number {
    const waitedMs = this.#read()
    const nowMs = performance.now()
    const share = (waitedMs - this.#waitedMs) / (nowMs - this.#atMs)
    this.#waitedMs = waitedMs
    this.#atMs = nowMs
    return Math.min(shareMax, Math.max(0, share))
  }

  stop (): void { if (this.#stat !== undefined) closeSync(this.#stat) }

  /** Running, waiting for a core (both in nanoseconds), and how often. */
  #read (): number {
    if (this.#stat === undefined) return 0
    const length = readSync(this.#stat, this.#text, 0, statBytesMax, 0)
    return Number(this.#text.toString('latin1', 0, length).split(' ')[1] ?? 0) / 1e6
  }
}
