import type { Post } from '../../schemas/frames.js'
import type { RoomPost } from '../room-links.js'
import type { SharedFrame } from '../connection/wire.js'

/** What a post takes beside its payload and texts, and what it takes once more for each framing. */
const postBytes = 512

/** A post as an edge keeps it. */
export interface KeptPost extends SharedFrame {
  readonly frame: Post
  /** All that it takes in memory, its encoded frames too. */
  bytes: number
}

/** What an edge keeps of one room for whoever comes back, beyond what its members have still to be given. */
export interface TailBounds {
  readonly postsMax: number
  readonly bytesMax: number
  /** Older ones go, by the time of the newest. */
  readonly ageMaxMs: number
}

/** The last posts of a room, without a gap: those after `keptAfter`, up to `roomSeq`. */
export class PostTail {
  #posts: KeptPost[] = []
  #keptAfter = 0
  #bytes = 0

  constructor (
    /** As clients name it. */
    readonly roomId: string,
    /** Told of each change of what is kept, in bytes. */
    readonly took: (bytes: number) => void
  ) {}

  get keptAfter (): number { return this.#keptAfter }
  get roomSeq (): number { return this.#keptAfter + this.#posts.length }
  get bytes (): number { return this.#bytes }

  /** @param roomSeq one that is kept */
  at (roomSeq: number): KeptPost { return this.#posts[roomSeq - this.#keptAfter - 1]! }

  /** Begins anew behind `keptAfter`. */
  place (keptAfter: number): void {
    this.#posts = []
    this.#keptAfter = keptAfter
    this.#take(-this.#bytes)
  }

  /** Takes those that come next of `posts`, whose numbers run without a gap and begin at the next one at the latest. */
  append (posts: readonly RoomPost[]): void {
    for (const post of posts) if (post.roomSeq === this.roomSeq + 1) this.#posts.push(this.#kept(post))
  }

  /**
   * Takes those of `posts` that are before the first one kept.
   *
   * @returns false where they do not run from the one after `keptAfter` up to it
   */
  prepend (keptAfter: number, posts: readonly RoomPost[]): boolean {
    const older = posts.filter(({ roomSeq }) => roomSeq <= this.#keptAfter)
    if (keptAfter + older.length !== this.#keptAfter) return false
    this.#posts = [...older.map(post => this.#kept(post)), ...this.#posts]
    this.#keptAfter = keptAfter
    return true
  }

  /** One of its frames was encoded once more. */
  encoded (post: KeptPost, bytes: number): void {
    post.bytes += bytes
    this.#take(bytes)
  }

  /** Drops the oldest ones that pass the bounds, up to the one of `upTo`. */
  trim (upTo: number, { postsMax, bytesMax, ageMaxMs }: TailBounds): void {
    const count = this.#posts.length
    if (count === 0) return
    const oldestMs = this.#posts[count - 1]!.frame.postedAtMs - ageMaxMs
    let bytes = this.#bytes
    let drop = 0
    while (this.#keptAfter + drop < upTo) {
      const { bytes: ofPost, frame: { postedAtMs } } = this.#posts[drop]!
      if (count - drop <= postsMax && bytes <= bytesMax && postedAtMs >= oldestMs) break
      bytes -= ofPost
      drop++
    }
    if (drop > 0) this.#drop(drop, bytes)
  }

  #drop (count: number, bytesLeft: number): void {
    this.#posts.splice(0, count)
    this.#keptAfter += count
    this.#take(bytesLeft - this.#bytes)
  }

  /** With bytes of its own: it came in a message, or a block, of which it would keep all. */
  #kept ({ roomSeq, messageId, from, service, payload, postedAtMs }: RoomPost): KeptPost {
    const { roomId } = this
    const bytes = postBytes + payload.length + messageId.length + from.length + service.length
    this.#take(bytes)
    return {
      frame: { op: 'post', roomId, roomSeq, messageId, from, service, payload: Buffer.from(payload), postedAtMs },
      encoded: new Map(),
      bytes,
    }
  }

  #take (bytes: number): void {
    this.#bytes += bytes
    this.took(bytes)
  }
}
