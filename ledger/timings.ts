/** Who is told how long the log takes. */
export interface LogTimings {
  /** Of an append: until it was durable. */
  appended (ms: number): void
  /** Of what was stored at once: a commit of the embedded log, a request that a broker has carried out. */
  committed (ms: number): void
}

export const nobodyTimes: LogTimings = { appended () {}, committed () {} }

/** Of so many appends one is timed: two looks at the clock for each would cost what encoding a small one does. */
const oneOf = 16

/** Picks the appends that are timed. What may wait for the commits of others is not: its time says nothing. */
export class TimedAppends {
  #appends = 0

  /** @returns whether this append is timed */
  isTimed (lazy: boolean): boolean { return !lazy && this.#appends++ % oneOf === 0 }
}
