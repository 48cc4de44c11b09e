import { type Clock, processClock } from './clock.js'

/** `open`: calls are refused at once. `half-open`: they still are, and one probe is under way. */
export type CircuitState = 'closed' | 'half-open' | 'open'

/** What is told of one. */
export interface Circuit {
  /** What the calls go to, such as `redis-tables`; several circuits may lead to parts of the same. */
  readonly dependency: string
  readonly state: CircuitState
  /** How often it has opened, and how many calls it has refused, since the start. */
  readonly opened: number
  readonly refused: number
}

export interface CircuitOptions {
  readonly dependency: string
  /** Calls without an answer, one behind the other, that open it. */
  readonly failuresMax: number
  /** Until the first probe, ms. It doubles up to `waitMsMax`, and up to half of it is left out, by chance. */
  readonly waitMs: number
  readonly waitMsMax: number
  /** Asks for anything that shows that there are answers. Rejects after a time of its own where there is none. */
  probe (): Promise<unknown>
  /** It has opened, or a probe has failed: with each of them. */
  away? (reason: string): void
  /** It has closed. */
  back? (): void
  readonly clock?: Clock
  /** 0 to 1. */
  readonly random?: () => number
}

/** Not tried: what it goes to has not answered of late. */
export class CircuitOpen extends Error {
  override readonly name = 'CircuitOpen'

  /** @param retryAfterMs until it is known whether there are answers again, as far as one can tell */
  constructor (message: string, readonly retryAfterMs: number) { super(message) }
}

/**
 * Keeps calls from a dependency that does not answer: each of them would wait for its deadline in vain, and what waits
 * piles up. It finds out by itself when there are answers again, one probe at a time, whether anybody calls or not.
 */
export class CircuitBreaker implements Circuit {
  readonly dependency: string
  state: CircuitState = 'closed'
  opened = 0
  refused = 0
  readonly #options: CircuitOptions
  readonly #clock: Clock
  #failures = 0
  /** Since it has opened. */
  #probes = 0
  #reason = ''
  #probeAtMs = 0
  #openedAtMs = 0
  #cancel = () => {}
  #stopped = false
  readonly #waiting = new Set<() => void>()

  constructor (options: CircuitOptions) {
    this.#options = options
    this.#clock = options.clock ?? processClock
    this.dependency = options.dependency
  }

  /** Until the next probe is sent; while one is under way, about as long as until one behind it. */
  get retryAfterMs (): number {
    if (this.state === 'closed') return 0
    return this.state === 'open' ? Math.max(0, this.#probeAtMs - this.#clock.nowMs()) : this.#options.waitMs
  }

  /** How long there have been no answers; 0 while it is closed. */
  get openMs (): number { return this.state === 'closed' ? 0 : this.#clock.nowMs() - this.#openedAtMs }

  /**
   * @param isAnswer whether an error says that there was one
   * @throws CircuitOpen at once while it is not closed; what `work` does
   */
  async call<T> (work: () => Promise<T>, isAnswer: (err: unknown) => boolean = () => false): Promise<T> {
    this.check()
    try {
      const result = await work()
      this.answered()
      return result
    } catch (err) {
      if (isAnswer(err)) this.answered()
      else this.unanswered(err as Error)
      throw err
    }
  }

  /** @throws CircuitOpen while it is not closed */
  check (): void {
    if (this.state === 'closed') return
    this.refused++
    throw new CircuitOpen(`${this.dependency} does not answer: ${this.#reason}`, this.retryAfterMs)
  }

  /** There was an answer. One to a call from before it opened shows as much as that to a probe. */
  answered (): void {
    this.#failures = 0
    if (this.state === 'closed') return
    this.state = 'closed'
    this.#cancel()
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
    if (!this.#stopped) this.#options.back?.()
  }

  /** There was none. Of calls from before it opened it is no news. */
  unanswered (err: Error): void {
    if (this.state === 'closed' && ++this.#failures >= this.#options.failuresMax) this.open(err.message)
  }

  /** It is known by other ways that there are no answers. */
  open (reason: string): void {
    if (this.state !== 'closed' || this.#stopped) return
    this.opened++
    this.#openedAtMs = this.#clock.nowMs()
    this.#probes = 0
    this.#wait(reason)
  }

  /** Resolves once it is closed, or `signal` aborts. */
  async whenClosed (signal: AbortSignal): Promise<void> {
    if (this.state === 'closed' || signal.aborted) return
    await new Promise<void>(resolve => {
      const done = () => {
        signal.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      signal.addEventListener('abort', done)
      this.#waiting.add(done)
    })
  }

  /** Nothing is asked or told any more. */
  stop (): void {
    this.#stopped = true
    this.#cancel()
  }

  #wait (reason: string): void {
    const { waitMs, waitMsMax, random = Math.random, away } = this.#options
    this.state = 'open'
    this.#reason = reason
    const longestMs = Math.min(waitMsMax, waitMs * 2 ** Math.min(this.#probes++, 30))
    const ms = longestMs * (1 - random() / 2)
    this.#probeAtMs = this.#clock.nowMs() + ms
    this.#cancel = this.#clock.after(ms, () => { this.#probe() })
    away?.(reason)
  }

  #probe (): void {
    this.state = 'half-open'
    const { opened } = this
    // It may have closed and opened anew before this one has an outcome.
    const isStill = () => this.opened === opened && this.state === 'half-open' && !this.#stopped
    this.#options.probe().then(
      () => { if (isStill()) this.answered() },
      err => { if (isStill()) this.#wait((err as Error).message) })
  }
}
