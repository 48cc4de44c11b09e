import { Cluster, type Redis } from 'ioredis'

export interface LatencyWatch {
  readonly everyMs?: number
  /** Milliseconds by a clock that nobody sets. */
  readonly nowMs?: () => number
}

/** Takes longer than this, and clients notice. */
const slowMs = 1_000
/** For how long it must have been faster before the trouble is over. */
const calmMs = 5_000

/**
 * Asks every second how long Redis takes to answer: what waits for it fails only after its deadline, and a Redis that
 * answers just before that would never be told of.
 */
export class RedisLatency {
  readonly #redis: Redis | Cluster
  readonly #nowMs: () => number
  readonly #timer: NodeJS.Timeout
  /** When the question under way was asked; undefined for none. */
  #askedAtMs: number | undefined
  /** When it was slow last. */
  #slowAtMs = -Infinity

  constructor (redis: Redis | Cluster, { everyMs = 1_000, nowMs = () => performance.now() }: LatencyWatch = {}) {
    this.#redis = redis
    this.#nowMs = nowMs
    this.#timer = setInterval(() => { this.#ask() }, everyMs).unref()
  }

  /** What is wrong, in words; empty for nothing. One that is not connected is another trouble. */
  reason (): string {
    this.#measure()
    if (this.#redis.status !== 'ready' || this.#nowMs() - this.#slowAtMs >= calmMs) return ''
    return `Redis takes longer than ${slowMs / 1_000} s to answer`
  }

  stop (): void { clearInterval(this.#timer) }

  #ask (): void {
    if (this.#askedAtMs !== undefined || this.#redis.status !== 'ready') return
    this.#askedAtMs = this.#nowMs()
    const servers = this.#redis instanceof Cluster ? this.#redis.nodes('master') : [this.#redis]
    const done = () => {
      this.#measure()
      this.#askedAtMs = undefined
    }
    Promise.all(servers.map(async server => await server.ping())).then(done, done)
  }

  #measure (): void {
    const nowMs = this.#nowMs()
    if (this.#askedAtMs !== undefined && nowMs - this.#askedAtMs >= slowMs) this.#slowAtMs = nowMs
  }
}
