/** What may be spent: it grows by a rate, up to a burst. */
export interface Allowance {
  /** May be negative. */
  allowance: number
  /** When it was last topped up, whole ms of the process. */
  allowanceAtMs: number
}

/** @returns true where it has as much as it may have */
export function earn (of: Allowance, rate: number, burst: number, nowMs: number): boolean {
  const earned = Math.trunc((nowMs - of.allowanceAtMs) * rate / 1000)
  if (earned > 0) {
    of.allowance = Math.min(burst, of.allowance + earned)
    // The rest of a second, in which one room is earned, counts for the next look.
    of.allowanceAtMs += Math.ceil(1000 * earned / rate)
  }
  return of.allowance === burst
}
