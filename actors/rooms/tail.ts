import type { PartId } from '../snapshots.js'

/** A post while it is kept for whoever comes back. */
export interface KeptPost {
  readonly roomSeq: number
  readonly messageId: string
  readonly from: string
  readonly service: string
  readonly payload: Uint8Array
  readonly postedAtMs: number
}

/** Bounds of what a room keeps of its posts; the last one stays whatever its size. See docs/limits.md. */
export const tailMax = 1_000
export const tailBytesMax = 256 << 10
export const tailAgeMaxMs = 3_600_000

/** The clock is the least time of so many posts of late: a few that are dated far ahead must not move it. */
const clockPosts = 8

/** The object and its place in the list. */
const fixedBytes = 128

export const postPart = (roomSeq: number): PartId => `m${roomSeq}`

/** The last posts of one room: those after `keptAfter` up to `roomSeq`, without a gap. */
export class Tail {
  #posts: KeptPost[] = []
  #bytes = 0
  #roomSeq = 0
  /** Number of the last post that is saved, or on its way. */
  #saved = 0
  /** What was saved when the state was rebuilt; undefined where it was given since. */
  #rebuiltFrom: number | undefined
  readonly #gone: PartId[]

  /** @param gone gets the saved parts that nothing names any more */
  constructor (gone: PartId[]) { this.#gone = gone }

  /** Number of the last post; 0 for none. */
  get roomSeq (): number { return this.#roomSeq }
  get keptAfter (): number { return this.#roomSeq - this.#posts.length }
  /** Of all fields. */
  get bytes (): number { return this.#bytes }

  /** Oldest first. */
  get posts (): readonly KeptPost[] { return this.#posts }

  add (post: Omit<KeptPost, 'roomSeq'>): KeptPost {
    const { messageId, from, service, payload, postedAtMs } = post
    const kept = { roomSeq: ++this.#roomSeq, messageId, from, service, payload, postedAtMs }
    this.#posts.push(kept)
    this.#bytes += bytesOf(kept)
    this.#trim()
    return kept
  }

  /** None is kept any more; the next one has the next number. */
  drop (): void {
    for (const { roomSeq } of this.#posts) if (roomSeq <= this.#saved) this.#gone.push(postPart(roomSeq))
    this.#posts = []
    this.#bytes = 0
  }

  /** Takes over what is saved. */
  restore (posts: KeptPost[], roomSeq: number): void {
    this.#posts = posts
    this.#roomSeq = this.#saved = roomSeq
    this.#bytes = posts.reduce((sum, post) => sum + bytesOf(post), 0)
  }

  /**
   * The state was loaded to be folded on without effects: posts that come now and go before the next save may be saved
   * already, by whoever had the state before.
   */
  rebuilding (): void { this.#rebuiltFrom = this.#saved }

  /** Those whose parts are to be saved. */
  unsaved (): readonly KeptPost[] {
    const first = this.#posts.length - (this.#roomSeq - this.#saved)
    return first <= 0 ? this.#posts : this.#posts.slice(first)
  }

  /** What `unsaved` gave is on its way to be saved. @returns parts that may be stored, and that nothing names */
  saved (): PartId[] {
    const strays: PartId[] = []
    if (this.#rebuiltFrom !== undefined) {
      for (let roomSeq = this.#rebuiltFrom + 1; roomSeq <= this.keptAfter; roomSeq++) strays.push(postPart(roomSeq))
    }
    this.#rebuiltFrom = undefined
    this.#saved = this.#roomSeq
    return strays
  }

  /** The last posts after `afterSeq`, of so many bytes of payload; the last one whatever its size. */
  after (afterSeq: number, bytesMax: number): readonly KeptPost[] {
    const posts = this.#posts
    const end = Math.max(0, afterSeq - this.keptAfter)
    let from = posts.length
    let bytes = 0
    while (from > end) {
      bytes += posts[from - 1]!.payload.length
      if (bytes > bytesMax && from < posts.length) break
      from--
    }
    return posts.slice(from)
  }

  #trim (): void {
    const posts = this.#posts
    let dropped = 0
    const nowMs = this.#nowMs()
    while (dropped < posts.length - 1) {
      const tooMany = posts.length - dropped > tailMax || this.#bytes > tailBytesMax
      const tooOld = posts.length - dropped > clockPosts && posts[dropped]!.postedAtMs < nowMs - tailAgeMaxMs
      if (!tooMany && !tooOld) break
      const { roomSeq } = posts[dropped]!
      this.#bytes -= bytesOf(posts[dropped++]!)
      if (roomSeq <= this.#saved) this.#gone.push(postPart(roomSeq))
    }
    if (dropped > 0) posts.splice(0, dropped)
  }

  #nowMs (): number {
    const posts = this.#posts
    let nowMs = Infinity
    for (let i = Math.max(0, posts.length - clockPosts); i < posts.length; i++) {
      nowMs = Math.min(nowMs, posts[i]!.postedAtMs)
    }
    return nowMs
  }
}

function bytesOf ({ messageId, from, service, payload }: KeptPost): number {
  return fixedBytes + messageId.length + from.length + service.length + payload.length
}
