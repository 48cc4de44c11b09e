/** A step of the clock that is more than a correction of a clock that runs. */
const leapMs = 3_600_000
/** How long a clock must stand by a leap before it is believed. */
export const leapStandsMs = 86_400_000

/** When blocks were stored that were there at the start, ms since 1970; undefined for none. */
export interface StoredTimes {
  /** The newest of them, as far as older ones bear it out. */
  readonly newestMs: number | undefined
  /** The newest of them by what they say, borne out or not. */
  readonly latestMs: number | undefined
}

/** Between which the time is, ms since 1970. */
export interface TimeBounds { readonly earliestMs: number, readonly latestMs: number }

const noneStored: StoredTimes = { newestMs: undefined, latestMs: undefined }

/**
 * The time by which the age of blocks is told, as two bounds: what is deleted because a clock was wrong for a minute
 * does not come back. A block is old by the earliest time that it may be, and is dated later than now by the latest
 * one. A leap of the clock widens them at once, and narrows them once it has stood for a day, as far as it has stood
 * all that time: a host that sleeps every night leaps again before the day is over.
 */
export class RetentionClock {
  private readonly startedOffset: number
  private earliest: Bound | undefined
  private latest: Bound | undefined

  /**
   * @param now ms since 1970
   * @param steady ms that have passed since any moment; is never set
   */
  constructor (private readonly now: () => number, private readonly steady: () => number) {
    this.startedOffset = now() - steady()
  }

  read ({ newestMs, latestMs }: StoredTimes = noneStored): TimeBounds {
    const steadyMs = this.steady()
    const offset = this.now() - steadyMs
    this.earliest ??= new Bound(
      newestMs === undefined ? this.startedOffset : Math.min(offset, newestMs + leapMs - steadyMs), 1)
    this.latest ??= new Bound(Math.max(this.startedOffset, (latestMs ?? -Infinity) - steadyMs), -1)
    return {
      earliestMs: steadyMs + this.earliest.follow(offset, steadyMs),
      latestMs: steadyMs + this.latest.follow(offset, steadyMs) + leapMs,
    }
  }
}

/** What is added to the steady clock, on one side of the truth. */
class Bound {
  /** Where the clock is since it leapt inwards, at its outermost. */
  private leap: { offset: number, readonly sinceMs: number } | undefined

  /** @param inwards 1 where the truth is above it, -1 where it is below */
  constructor (private offset: number, private readonly inwards: 1 | -1) {}

  follow (offset: number, steadyMs: number): number {
    if (this.leap && steadyMs - this.leap.sinceMs >= leapStandsMs && this.isLeap(offset)) {
      this.offset = this.outermost(this.leap.offset, offset)
      this.leap = undefined
    }
    if (this.isLeap(offset)) {
      this.leap ??= { offset, sinceMs: steadyMs }
      this.leap.offset = this.outermost(this.leap.offset, offset)
    } else {
      this.offset = offset
      this.leap = undefined
    }
    return this.offset
  }

  private isLeap (offset: number): boolean { return (offset - this.offset) * this.inwards > leapMs }

  private outermost (one: number, other: number): number {
    return this.inwards === 1 ? Math.min(one, other) : Math.max(one, other)
  }
}
