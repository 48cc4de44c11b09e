/** A step of the clock that is more than a correction of a clock that runs. */
const leapMs = 3_600_000
/** How long a clock must stand by a leap ahead before it is believed. */
export const leapStandsMs = 86_400_000

/**
 * The time by which the age of blocks is told: what is deleted because a clock was a year ahead for a minute does not
 * come back. A leap ahead counts once it has stood for a day, as far as it has stood all that time: a host that sleeps
 * every night leaps again before the day is over. A clock that is set back is believed at once, for then less is
 * deleted.
 */
export class RetentionClock {
  /** What is added to the steady clock. */
  private offset: number | undefined
  /** The least offset since the clock leapt. */
  private leap: { offset: number, readonly sinceMs: number } | undefined

  /**
   * @param now ms since 1970
   * @param steady ms that have passed since any moment; is never set
   */
  constructor (private readonly now: () => number, private readonly steady: () => number) {}

  /** @param newestMs when the newest block was stored that was there at the start; undefined for none */
  read (newestMs?: number): number {
    const steadyMs = this.steady()
    const offset = this.now() - steadyMs
    this.offset ??= newestMs === undefined ? offset : Math.min(offset, newestMs + leapMs - steadyMs)
    if (this.leap && steadyMs - this.leap.sinceMs >= leapStandsMs && offset > this.offset + leapMs) {
      this.offset = Math.min(this.leap.offset, offset)
      this.leap = undefined
    }
    if (offset <= this.offset + leapMs) {
      this.offset = offset
      this.leap = undefined
    } else {
      this.leap ??= { offset, sinceMs: steadyMs }
      this.leap.offset = Math.min(this.leap.offset, offset)
    }
    return steadyMs + this.offset
  }
}
