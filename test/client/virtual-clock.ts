import type { Clock } from '../../client/clock.js'

/** Time that passes when the test says so. */
export class VirtualClock implements Clock {
  #nowMs = 1_000
  #wallMs = 1_700_000_000_000
  #timers: Array<{ readonly atMs: number, readonly run: () => void }> = []

  nowMs (): number { return this.#nowMs }

  wallMs (): number { return this.#wallMs }

  after (ms: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, run }
    this.#timers.push(timer)
    return () => { this.#timers = this.#timers.filter(each => each !== timer) }
  }

  /** Lets time pass, timer by timer. */
  pass (ms: number): void {
    const endMs = this.#nowMs + ms
    for (;;) {
      const next = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#jump(Math.max(0, next.atMs - this.#nowMs))
      this.#timers = this.#timers.filter(each => each !== next)
      next.run()
    }
    this.#jump(endMs - this.#nowMs)
  }

  /** So much later all timers that are due run at once, as after a sleep through which the monotonic clock went on. */
  oversleep (ms: number): void {
    this.#jump(ms)
    this.pass(0)
  }

  /** The time of day alone is another one: it was set, or the monotonic clock stood still in a sleep. */
  setWall (ms: number): void {
    this.#wallMs += ms
  }

  #jump (ms: number): void {
    this.#nowMs += ms
    this.#wallMs += ms
  }
}
