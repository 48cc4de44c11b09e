export interface BackoffOptions {
  readonly baseMs: number
  readonly capMs: number
  /** 0 up to but without 1. */
  readonly random?: () => number
}

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

  /** An attempt succeeded. */
  reset (): void {
    this.#attempts = 0
  }
}
