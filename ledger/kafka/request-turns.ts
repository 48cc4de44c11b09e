/**
 * When a request may be written to a connection: not before the broker wants one again (KIP-219: it would lie unread,
 * and its deadline would pass), and while not too many are under way. Those that wait go in order.
 */
export class RequestTurns {
  private underWay = 0
  private readonly waiting: Array<() => void> = []
  /** By `performance.now`. */
  private quietUntilMs = 0
  private timer: NodeJS.Timeout | undefined
  private ended = false

  /** @param underWayMax a broker answers them one after the other, and each has a deadline from when it is written */
  constructor (private readonly underWayMax: number) {}

  /** @returns undefined where it may go at once; each one that went is followed by `done` */
  take (): Promise<void> | undefined {
    if (this.waiting.length === 0 && this.isFree) {
      this.underWay++
      return undefined
    }
    return new Promise(resolve => {
      this.waiting.push(resolve)
      this.pump()
    })
  }

  done (): void {
    this.underWay--
    if (this.waiting.length > 0) this.pump()
  }

  /** The broker wants no request for so long. */
  quiet (ms: number): void { this.quietUntilMs = Math.max(this.quietUntilMs, performance.now() + ms) }

  /** Nobody waits any longer. */
  end (): void {
    this.ended = true
    this.pump()
  }

  private get isFree (): boolean {
    return this.ended || (this.underWay < this.underWayMax && performance.now() >= this.quietUntilMs)
  }

  private pump (): void {
    while (this.waiting.length > 0 && this.isFree) {
      this.underWay++
      this.waiting.shift()!()
    }
    clearTimeout(this.timer)
    const quietMs = this.quietUntilMs - performance.now()
    if (this.waiting.length > 0 && quietMs > 0) this.timer = setTimeout(() => this.pump(), quietMs + 1)
  }
}
