import type { FollowerLag } from '../lag.js'

/** Who is behind. @param lookMs how long entries that are behind may be read */
export type LagSource = (lookMs: number) => Promise<readonly FollowerLag[]>

export const lagEveryMs = 30_000

/** Enough for the age of the oldest entry of each partition; more would be time of the event loop that clients need. */
const lookMs = 50

/** How far each follower of a stream is behind, ms: looked at now and then, beside whoever takes samples. */
export class Lags {
  readonly #source: LagSource
  readonly #now: () => number
  #known: ReadonlyMap<string, number> = new Map()
  #lookedMs = -Infinity
  #isLooking = false

  /** @param now ms of a clock that never goes back */
  constructor (source: LagSource, now = () => performance.now()) {
    this.#source = source
    this.#now = now
  }

  /** As of the last look; where that is old, another one begins. Empty where the last one failed. */
  latest (): ReadonlyMap<string, number> {
    if (!this.#isLooking && this.#now() - this.#lookedMs >= lagEveryMs) {
      this.#isLooking = true
      this.#source(lookMs).then(mostBehind, () => new Map<string, number>()).then(known => {
        this.#known = known
        this.#lookedMs = this.#now()
        this.#isLooking = false
      })
    }
    return this.#known
  }
}

/** Of a follower of several streams, the one that it is furthest behind; none of which something is not known. */
function mostBehind (lags: readonly FollowerLag[]): Map<string, number> {
  const most = new Map<string, number>()
  for (const { follower, ms, unknown } of lags) {
    if (unknown === '') most.set(follower, Math.max(ms, most.get(follower) ?? 0))
  }
  return most
}
