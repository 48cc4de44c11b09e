import type { Cancel, Turns } from '../../simulation/world.js'

/** Turns of the real event loop, in the order of their times. */
export class RealTurns implements Turns {
  readonly #due: Array<{ readonly atMs: number, readonly run: () => void }> = []
  #timer: NodeJS.Timeout | undefined

  later (ms: number, _what: string, run: () => void): Cancel {
    const turn = { atMs: performance.now() + ms, run }
    const at = this.#due.findIndex(({ atMs }) => atMs > turn.atMs)
    this.#due.splice(at === -1 ? this.#due.length : at, 0, turn)
    this.#arm()
    return () => {
      const index = this.#due.indexOf(turn)
      if (index !== -1) this.#due.splice(index, 1)
    }
  }

  #arm (): void {
    clearTimeout(this.#timer)
    const [first] = this.#due
    if (!first) return
    this.#timer = setTimeout(() => {
      while (this.#due.length > 0 && this.#due[0]!.atMs <= performance.now()) this.#due.shift()!.run()
      this.#arm()
    }, first.atMs - performance.now())
    this.#timer.unref()
  }
}
