import { waitMsMax } from './waits.js'

export interface BackoffOptions {
  readonly baseMs: number
  readonly capMs: number
  /** 0 up to but without 1. */
  readonly random?: () => number
}

/** Those who are told the same wait come back within this part of it. */
const toldSpread = 0.2

/** Waits before the next attempt: full jitter over an interval that doubles (protocol.md 3, Reconnecting). */
export class Backoff {
  baseMs: number
  capMs: number
  readonly #random: () => number
  #attempts = 0

  constructor ({ baseMs, capMs, random = Math.random }: BackoffOptions) {
    this.baseMs = baseMs
    this.capMs = capMs
    this.#random = random
  }

  /** How long to wait before the next attempt. The jitter is over the whole interval, so that a herd spreads. */
  nextMs (): number {
    const intervalMs = Math.min(this.capMs, this.baseMs * 2 ** this.#attempts)
    this.#attempts = Math.min(this.#attempts + 1, 52) // 2 ** 52 is above any cap
    return this.#random() * intervalMs
  }

  /**
   * A wait that the server told, with some jitter behind it. It says nothing of failures, so the next one of ours is
   * no longer for it.
   */
  toldMs (toldMs: number): number {
    const spreadMs = Math.max(this.baseMs, toldSpread * toldMs)
    return Math.min(toldMs, waitMsMax - spreadMs) + this.#random() * spreadMs
  }

  /** An attempt succeeded. */
  reset (): void {
    this.#attempts = 0
  }
}
