import { Cluster, type Redis } from 'ioredis'

export interface ClockWatch {
  readonly everyMs?: number
  /** The time of day here, ms since 1970. */
  readonly nowMs?: () => number
}

/** Clocks that are looked after are a few ms apart; `ledgerline doctor` wants them within a second. */
const offMsMax = 5_000

/** What took longer tells too little. */
const answerMsMax = 1_000

/**
 * Compares the time of day of this machine with that of Redis, which all nodes can compare theirs with. Nobody is
 * judged by it: what goes by the times of several nodes is wrong by as much, and an operator should know.
 */
export class RedisClock {
  readonly #redis: Redis | Cluster
  readonly #nowMs: () => number
  readonly #timer: NodeJS.Timeout
  #isAsked = false
  #aheadMs = 0

  constructor (redis: Redis | Cluster, { everyMs = 5_000, nowMs = Date.now }: ClockWatch = {}) {
    this.#redis = redis
    this.#nowMs = nowMs
    this.#timer = setInterval(() => { this.#ask() }, everyMs).unref()
    this.#ask()
  }

  /** What is wrong, in words; empty for nothing. */
  reason (): string {
    if (Math.abs(this.#aheadMs) <= offMsMax) return ''
    const seconds = Math.round(Math.abs(this.#aheadMs) / 1_000)
    return `this machine's time of day is ${seconds} s ${this.#aheadMs > 0 ? 'ahead of' : 'behind'} that of Redis`
  }

  stop (): void { clearInterval(this.#timer) }

  #ask (): void {
    if (this.#isAsked || this.#redis.status !== 'ready') return
    this.#isAsked = true
    this.#compare().catch(() => {}).finally(() => { this.#isAsked = false }) // that Redis is away is another trouble
  }

  async #compare (): Promise<void> {
    const server = this.#redis instanceof Cluster ? this.#redis.nodes('master')[0] : this.#redis
    const [nowMs, startMs] = [this.#nowMs(), performance.now()]
    const answer = await server?.time() as readonly [seconds: string, micros: string] | undefined
    const tookMs = performance.now() - startMs
    if (answer === undefined || tookMs > answerMsMax) return
    const theirsMs = Number(answer[0]) * 1_000 + Number(answer[1]) / 1_000
    this.#aheadMs = nowMs + tookMs / 2 - theirsMs
  }
}
