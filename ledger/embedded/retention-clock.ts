/** A step of the clock that is more than a correction of a clock that runs. */
const leapMs = 3_600_000
/** How long a clock must stand by a leap ahead before it is believed. */
const leapStandsMs = 86_400_000

/**
 * The time by which the age of blocks is told: what is deleted because a clock was a year ahead for a minute does not
 * come back. A leap ahead counts once it has stood for a day; a clock that is set back is believed at once, for then
 * less is deleted.
 */
export class RetentionClock {
  /** What is added to the steady clock. */
  private offset: number | undefined
  private leap: { readonly offset: number, readonly sinceMs: number } | undefined

  /**
   * @param now ms since 1970
   * @param steady ms that have passed since any moment; is never set
   */
  constructor (private readonly now: () => number, private readonly steady: () => number) {}

  read (): number {
    const steadyMs = this.steady()
    const offset = this.now() - steadyMs
    if (this.offset === undefined || offset <= this.offset + leapMs || this.stands(offset, steadyMs)) {
      this.offset = offset
      this.leap = undefined
    }
    return steadyMs + this.offset
  }

  private stands (offset: number, steadyMs: number): boolean {
    if (this.leap === undefined || Math.abs(offset - this.leap.offset) > leapMs) {
      this.leap = { offset, sinceMs: steadyMs }
    }
    return steadyMs - this.leap.sinceMs >= leapStandsMs
  }
}
