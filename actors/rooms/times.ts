/** When a post was posted. */
export interface PostTime {
  /** Which of the times that were ever noted it is, from 1. */
  readonly number: number
  readonly roomSeq: number
  readonly postedAtMs: number
}

/** A post is noted that comes so many behind the last one noted, or so long. */
const everyPosts = 8
const everyMs = 600_000

/** Noted at most; past it the older ones are thinned. */
export const timesMax = 128
/** The first is kept, and of those whose numbers are multiples of 2^n the ones among the last `keptOfLevel` * 2^n. */
const keptOfLevel = 8

/**
 * When some of a room's posts were posted: of late nearly each that came after a pause, and of long ago the fewer the
 * older they are, and the first. So whoever looks for an old post in the stream `posts` begins near it: not further
 * before it than a quarter of the way from there to the end, counted in times.
 */
export class PostTimes {
  #times: PostTime[] = []
  /** They are not as they were saved. */
  changed = false

  /** Oldest first. */
  get all (): readonly PostTime[] { return this.#times }

  /** Takes over what is saved. */
  restore (times: readonly PostTime[]): void { this.#times = [...times] }

  add (roomSeq: number, postedAtMs: number): void {
    const last = this.#times.at(-1)
    if (last && roomSeq - last.roomSeq < everyPosts && Math.abs(postedAtMs - last.postedAtMs) < everyMs) return
    this.#times.push({ number: (last?.number ?? 0) + 1, roomSeq, postedAtMs })
    if (this.#times.length > timesMax) this.#thin()
    this.changed = true
  }

  /** When the last one noted of the posts up to `roomSeq` was posted, ms since 1970; 0 where none is. */
  before (roomSeq: number): number {
    return this.#times.findLast(time => time.roomSeq <= roomSeq)?.postedAtMs ?? 0
  }

  #thin (): void {
    const { number: last } = this.#times.at(-1)!
    const thinned = this.#times.filter(({ number }) => {
      return number === 1 || last - number < keptOfLevel * 2 ** levelOf(number)
    })
    this.#times = thinned.slice(-timesMax)
  }
}

/** How often 2 divides it. */
function levelOf (number: number): number {
  let level = 0
  for (let rest = number; rest % 2 === 0; rest /= 2) level++
  return level
}
