/** Long enough for some allowance to grow: a wait for one frame's worth would be followed by the next refusal. */
const waitMsMin = 100
const waitMsMax = 60_000

/**
 * How many uplinks may be on their way at once: fewer after each refusal, slowly more with acks. A whole window sent
 * after each wait would be refused for the most part, and each refused frame costs allowance as well.
 */
export class Pace {
  #limit = Infinity
  /** Refusals since the last ack. */
  #refusals = 0

  window (uplinkWindow: number): number {
    return Math.floor(Math.min(uplinkWindow, this.#limit))
  }

  /** @param count uplinks that are accepted; less than 1 for a repeated ack */
  acked (count: number): void {
    if (count < 1) return
    this.#refusals = 0
    this.#limit += Math.min(1, count / this.#limit)
  }

  /** @returns how long to wait: as told, and longer each time that waiting as told led nowhere */
  refused (retryAfterMs: number): number {
    this.#limit = Math.max(1, Math.min(this.#limit, 256) / 2)
    const waitMs = Math.max(retryAfterMs, waitMsMin) * 2 ** Math.min(this.#refusals++, 16)
    return Math.min(waitMs, Math.max(waitMsMax, retryAfterMs))
  }
}
