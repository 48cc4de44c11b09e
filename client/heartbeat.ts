import type { Clock } from './clock.js'

export interface HeartbeatOptions {
  readonly clock: Clock
  /** How long to send nothing, or to hear nothing, before a ping. */
  readonly intervalMs: () => number
  readonly ping: () => void
  /** An answer came to a ping that went out after so long without a frame in either direction. */
  readonly answered?: (silentMs: number) => void
  /** None came. `silentMs` is 0 where that says nothing about silence: the machine slept, or the network changed. */
  readonly dead: (reason: string, silentMs: number) => void
  /** A timer ran so late that intervals can't be relied on. */
  readonly late?: () => void
}

/** No answer to a ping, or to `connect`, for so long: dead (protocol.md 3, Heartbeat). */
export const deadMs = 10_000

/** How often it is looked whether the machine slept, and how much late means that it did. */
const tickMs = 15_000
const sleptMs = 5_000

/** Busy machines are late by less. */
const lateMsMin = 1_000

/** Pings a silent connection and finds out when it is dead (protocol.md 3, Heartbeat). */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  #sentAtMs = 0
  #heardAtMs = 0
  /** While an answer is due: when it was asked for, until when to wait, and how long it had been silent before. */
  #pinged: { readonly atMs: number, readonly byMs: number, readonly silentMs: number } | undefined
  #dueAtMs = 0
  #tickedAtWallMs = 0
  #tickedAtMs = 0
  #cancel = () => {}

  constructor (options: HeartbeatOptions) {
    this.#options = options
  }

  /** For how long there has been no frame in either direction; before the ping, where its answer is due. */
  get silentMs (): number {
    return this.#pinged?.silentMs ?? this.#options.clock.nowMs() - Math.max(this.#sentAtMs, this.#heardAtMs)
  }

  start (): void {
    const { clock } = this.#options
    this.#sentAtMs = this.#heardAtMs = this.#tickedAtMs = clock.nowMs()
    this.#tickedAtWallMs = clock.wallMs()
    this.#schedule(this.#tickedAtMs)
  }

  stop (): void {
    this.#cancel()
  }

  sent (): void {
    this.#sentAtMs = this.#options.clock.nowMs()
  }

  heard (): void {
    this.#heardAtMs = this.#options.clock.nowMs()
    if (this.#pinged === undefined) return
    const { silentMs } = this.#pinged
    this.#pinged = undefined
    if (silentMs > 0) this.#options.answered?.(silentMs)
  }

  /** Pings at once, for it is doubtful that the connection is still there. */
  probe (withinMs: number): void {
    this.#ping(0, withinMs)
    this.#schedule(this.#options.clock.nowMs())
  }

  /** When to ping: nothing was sent for the interval, or nothing came, as on a dead line to which much is sent. */
  get #idleAtMs (): number {
    const sinceMs = this.#pinged ? this.#sentAtMs : Math.min(this.#sentAtMs, this.#heardAtMs)
    return sinceMs + this.#options.intervalMs()
  }

  #tick (): void {
    const { clock, intervalMs, dead, late } = this.#options
    const nowMs = clock.nowMs()
    const lateMs = nowMs - this.#dueAtMs
    // A clock that stands still in a sleep shows it by the time of day. One that was merely set costs a ping.
    const sleptByMs = Math.max(lateMs, clock.wallMs() - this.#tickedAtWallMs - (nowMs - this.#tickedAtMs))
    this.#tickedAtMs = nowMs
    this.#tickedAtWallMs = clock.wallMs()
    if (lateMs > Math.max(lateMsMin, intervalMs() / 10)) late?.()
    if (sleptByMs > sleptMs) {
      this.#ping(0, deadMs) // also where an answer is due: it may be here and not be read yet
    } else if (this.#pinged && nowMs >= this.#pinged.byMs) {
      dead(`no answer to a ping for ${Math.round(nowMs - this.#pinged.atMs)} ms`, this.#pinged.silentMs)
      return
    } else if (nowMs >= this.#idleAtMs) {
      this.#ping(nowMs - Math.max(this.#sentAtMs, this.#heardAtMs), deadMs)
    }
    this.#schedule(nowMs)
  }

  /** What is still unanswered keeps its time. */
  #ping (silentMs: number, withinMs: number): void {
    const nowMs = this.#options.clock.nowMs()
    if (this.#pinged === undefined || silentMs === 0) this.#pinged = { atMs: nowMs, byMs: nowMs + withinMs, silentMs }
    this.#options.ping()
  }

  #schedule (nowMs: number): void {
    const atMs = Math.min(this.#idleAtMs, this.#pinged?.byMs ?? Infinity, nowMs + tickMs)
    const waitMs = Math.max(10, atMs - nowMs)
    this.#dueAtMs = nowMs + waitMs
    this.#cancel()
    this.#cancel = this.#options.clock.after(waitMs, () => this.#tick())
  }
}
