import type { LogReader } from '../../ledger/log.js'
import type { Posted } from '../../schemas/records.js'
import { posts } from '../../schemas/streams.js'
import { holeLine, ndjsonLine, piecesOf } from './readers.js'

/* Posts of one room that it does not keep any more, read from the stream `posts`, in which many rooms stand. */

export interface WantedPosts {
  /** The room's key. */
  readonly key: string
  readonly partition: number
  readonly from: bigint
  /** What the stream had, as they were asked for. */
  readonly first: bigint
  readonly to: bigint
  /** The posts after this one, up to this one. */
  readonly after: number
  readonly upTo: number
  /** Where the first of them should not stand far behind; at or before `from` where that is not known. */
  readonly near: bigint
  readonly max: number
  readonly readMs: number
  readonly lineOf: (post: Posted) => string
}

/** Blocks that are read in one go, in which none of the room may come up. */
const sliceBlocks = 4_096n

/**
 * Lines of the posts, up to the last one wanted. They are looked for from `near` on. Where the room's first post there
 * is later than the first wanted, clocks were wrong, or retention was there: they are looked for from `from` on then.
 *
 * @param signal ends it also where the log finds nothing of the room for long, so that nobody is read for who is gone
 */
export async function * oldPosts (log: LogReader, wanted: WantedPosts, signal: AbortSignal): AsyncGenerator<string> {
  yield '' // sends the headers
  const { from, first, near } = wanted
  const time = new ReadTime(wanted.readMs)
  if (near > first && near > from) {
    const isFound = yield * readFrom(log, { ...wanted, from: near }, time, signal, true)
    if (isFound) return
  }
  yield * readFrom(log, wanted, time, signal, false)
}

/**
 * @param checks whether to look that the room's first post behind `from` is not later than the first one wanted
 * @returns false where it is; nothing was told then
 */
async function * readFrom (
  log: LogReader, wanted: WantedPosts, time: ReadTime, signal: AbortSignal, checks: boolean
): AsyncGenerator<string, boolean> {
  const { key, partition, from, first, to, after, upTo, max, lineOf } = wanted
  if (from < first) yield holeLine(partition, { from, to: first })
  const holes: string[] = []
  const passed = (hole: Parameters<typeof holeLine>[1]) => { holes.push(holeLine(partition, hole)) }
  let last = after
  let left = max
  let place = from < first ? first : from
  let isChecked = !checks
  while (place < to && last < upTo && !signal.aborted) {
    const end = place + sliceBlocks < to ? place + sliceBlocks : to
    let isWhole = true
    time.start()
    for await (const { offset, items } of log.read(posts, partition, { from: place, to: end, key, passed, signal })) {
      time.stop()
      const ofRoom = items.filter(post => posts.key(post) === key)
      if (!isChecked && ofRoom.length > 0) {
        if (ofRoom[0]!.roomSeq > after + 1) return false
        isChecked = true
      }
      yield * holes.splice(0)
      const lines: string[] = []
      for (const post of ofRoom) {
        // A takeover may repeat records.
        if (post.roomSeq <= last || left <= 0) continue
        last = post.roomSeq
        left--
        lines.push(lineOf(post))
      }
      yield * piecesOf(lines)
      if (left <= 0 || last >= upTo || signal.aborted) return true
      place = offset + 1n
      isWhole = !time.isOver
      if (!isWhole) break
      time.start()
    }
    time.stop()
    yield * holes.splice(0)
    if (isWhole) place = end
    if (time.isOver && place < to) {
      // None of the room has come up yet: whether those wanted stand behind this place, nobody knows.
      yield ndjsonLine({ next: `${partition}@${isChecked ? place : first}` })
      return true
    }
  }
  return isChecked
}

/** How long was read so far, without what the reader took meanwhile. */
class ReadTime {
  #ms = 0
  #startMs = 0

  constructor (readonly maxMs: number) {}

  get isOver (): boolean { return this.#ms >= this.maxMs }
  start (): void { this.#startMs = performance.now() }

  stop (): void {
    this.#ms += performance.now() - this.#startMs
    this.#startMs = performance.now()
  }
}
