import Denque from 'denque'

export interface TurnLimits {
  /** Works under way at the same time. */
  readonly atOnce: number
  /** Those that wait, and the bytes that these keep in memory. */
  readonly waitingMax: number
  readonly bytesMax: number
  /** How long one waits at most. */
  readonly waitMs: number
}

interface Waiter {
  readonly bytes: number
  readonly dueAtMs: number
  readonly take: () => void
  readonly turnAway: (err: Error) => void
}

/** So many at a time; others wait for their turn, in the order of their coming, and neither too many nor too long. */
export class Turns {
  readonly #limits: TurnLimits
  readonly #waiting = new Denque<Waiter>()
  #bytes = 0
  #running = 0
  #timer: NodeJS.Timeout | undefined

  constructor (limits: TurnLimits) { this.#limits = limits }

  get waiting (): number { return this.#waiting.length }

  /**
   * @param bytes that it keeps in memory while it waits
   * @throws Error where there is no room to wait, or its turn does not come in time; what `work` does
   */
  async run<T> (bytes: number, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#limits.atOnce) this.#running++
    else await this.#turn(bytes)
    try {
      return await work()
    } finally {
      const next = this.#next()
      if (next) next.take() // its turn is this one
      else this.#running--
    }
  }

  /** Turns away all who wait. */
  turnAwayAll (err: Error): void {
    for (let next = this.#next(); next; next = this.#next()) next.turnAway(err)
  }

  #turn (bytes: number): Promise<void> {
    const { waitingMax, bytesMax, waitMs } = this.#limits
    if (this.#waiting.length >= waitingMax || this.#bytes + bytes > bytesMax) {
      throw new Error('too many wait for their turn')
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, dueAtMs: performance.now() + waitMs, take: resolve, turnAway: reject })
      this.#bytes += bytes
      this.#watch()
    })
  }

  #next (): Waiter | undefined {
    const next = this.#waiting.shift()
    if (next) this.#bytes -= next.bytes
    return next
  }

  /** All wait equally long, so the first one is the first to be turned away. */
  #watch (): void {
    const first = this.#waiting.peekFront()
    if (this.#timer !== undefined || first === undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      while ((this.#waiting.peekFront()?.dueAtMs ?? Infinity) <= performance.now()) {
        this.#next()!.turnAway(new Error('its turn did not come in time'))
      }
      this.#watch()
    }, Math.max(1, Math.ceil(first.dueAtMs - performance.now()))).unref()
  }
}
