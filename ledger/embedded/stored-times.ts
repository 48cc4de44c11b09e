/*
  A block carries the time of its commit, by a clock that may have been wrong in either direction: a year ahead, or at
  1970 because nobody had set it yet. The order of the blocks is always right. So what is asked of times is asked of
  several blocks, and a time that can't be counts for nothing.
*/

import { canBe } from '../clock.js'

/** What is asked here of one partition. */
export interface TimedBlocks {
  readonly first: number
  readonly next: number
  /** When the block was committed, ms since 1970; undefined where it is gone or damaged. */
  timeAt (offset: number): number | undefined
}

/** Blocks that are asked together, so that one wrong time among them is outvoted. */
const votes = 5
/** From the place that the votes name on: blocks with a time among which the exact one is, and ones without between. */
const refineMax = 2 * votes
const unknownMax = 1_000

/**
 * The first offset whose block was committed at or after `atMs`; `next` for none. Single wrong times do not mislead it,
 * nor any number of them that can't be. Where the clock was set back the blocks pass `atMs` more than once, and it is
 * one of those places.
 */
export function offsetAt (blocks: TimedBlocks, atMs: number, nowMs: number): number {
  const timeAt = believed(blocks, nowMs)
  const { next } = blocks
  let low = blocks.first
  let high = next
  while (low < high) {
    const middle = low + high >>> 1
    const probe = probeFrom(middle, high, next, timeAt)
    if (probe === undefined) high = middle
    else if (probe.atMs >= atMs) high = probe.offset
    else low = probe.offset + 1
  }
  for (let offset = low, left = refineMax; offset < Math.min(next, low + unknownMax) && left > 0; offset++) {
    const own = timeAt(offset)
    if (own !== undefined) left--
    if (own === undefined || own < atMs) continue
    const later = timesFrom(offset + 1, next, timeAt).slice(0, 2)
    if (later.length === 0 || later.some(time => time >= atMs)) return offset
  }
  return low
}

/**
 * When the newest block was stored. Where the clock has leapt ahead and not gone on for `standsMs` since, as far as the
 * blocks tell: as long after the last block before the leap as it has gone on. A step of more than `standsMs` between
 * two blocks is taken for a leap; it may as well be a time in which nothing was stored, and then this is too early.
 *
 * @returns `since` is false where there is no block from `standsMs` before the newest one, so that nothing bears it out
 */
export function newestTime (
  { first, next, timeAt }: TimedBlocks, standsMs: number
): { atMs: number, since: boolean } | undefined {
  const newestMs = next > first ? timeAt(next - 1) : undefined
  if (newestMs === undefined) return undefined
  /** The last block that was stored so long before, and the first one after it. */
  let before: number | undefined
  let after = newestMs
  for (let low = first, high = next - 1; low < high;) {
    let middle = low + high >>> 1
    let atMs: number | undefined
    while ((atMs = timeAt(middle)) === undefined && middle > low) middle--
    if (atMs !== undefined && atMs >= newestMs - standsMs) {
      after = atMs
      high = middle
    } else {
      before = atMs ?? before
      low = (low + high >>> 1) + 1
    }
  }
  if (before === undefined) return { atMs: newestMs, since: false }
  return { atMs: after - before > standsMs ? before + newestMs - after : newestMs, since: true }
}

/** The times that can be; all of them where that leaves none at either end: then it is our own clock that is wrong. */
function believed (blocks: TimedBlocks, nowMs: number): (offset: number) => number | undefined {
  const timeAt = (offset: number) => {
    const atMs = blocks.timeAt(offset)
    return atMs === undefined || !canBe(atMs, nowMs) ? undefined : atMs
  }
  const { first, next } = blocks
  const isUsable = timesFrom(first, next, timeAt).length > 0 ||
    timesFrom(Math.max(first, next - votes), next, timeAt).length > 0
  return isUsable ? timeAt : offset => blocks.timeAt(offset)
}

/**
 * What the blocks from `offset` on say, or where they say nothing the next ones that do, further and further on.
 *
 * @returns undefined where there is none before `end`
 */
function probeFrom (
  offset: number, end: number, next: number, timeAt: (offset: number) => number | undefined
): { offset: number, atMs: number } | undefined {
  for (let at = offset, step = votes; at < end; at += step, step *= 2) {
    const times = timesFrom(at, next, timeAt)
    if (times.length > 0) return { offset: at, atMs: times.sort((a, b) => a - b)[times.length >>> 1]! }
  }
  return undefined
}

function timesFrom (from: number, next: number, timeAt: (offset: number) => number | undefined): number[] {
  const times: number[] = []
  for (let offset = from; offset < Math.min(next, from + votes); offset++) {
    const atMs = timeAt(offset)
    if (atMs !== undefined) times.push(atMs)
  }
  return times
}
