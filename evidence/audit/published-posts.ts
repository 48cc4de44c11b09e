import type { Posted } from '../../schemas/records.js'
import { posts, rooms } from '../../schemas/streams.js'
import { type AuditedLog, type Bounds, DerivedStream, type Due, type Judged } from './derived.js'
import type { Walk } from './ledger-walk.js'
import { type Place, placeIn } from './violation.js'

/** A numbered post that the stream `posts` must have. */
export interface DuePost extends Due {
  readonly whose: Poster
  readonly post: Posted
}

/** What is kept of one room to judge its records. */
export interface Poster {
  /** Oldest first. */
  readonly due: DuePost[]
  /** Number of the last one that was found, or given up. */
  publishedSeq: number
}

const fields = ['messageId', 'from', 'service', 'postedAtMs'] as const satisfies ReadonlyArray<keyof Posted>

/** The stream `posts` of one partition: every numbered post must be in it, once, in the order of its room. */
export class PublishedPosts extends DerivedStream<Posted, DuePost> {
  /** By room and number, those that a later one was found before. */
  readonly #overtaken = new Map<string, DuePost>()

  constructor (
    log: AuditedLog, bounds: Bounds, readonly walk: Walk, readonly find: (roomId: string) => Poster | undefined
  ) {
    super(log, posts, walk.partition, bounds)
  }

  /** The fold has numbered it. */
  numbered (whose: Poster, post: Posted, place: Place): void {
    const due = { place, ordinal: 0, done: false, overtaken: false, whose, post }
    if (this.expect(due)) whose.due.push(due)
    else whose.publishedSeq = post.roomSeq
  }

  protected judge (record: Posted, place: Place): Judged<DuePost> {
    const { roomId, roomSeq } = record
    const whose = this.find(roomId)
    if (!whose) return 'ahead'
    if (whose.due[0]?.post.roomSeq === roomSeq) return this.#found(whose.due.shift()!, record, place)
    const late = this.#overtaken.get(nameOf(record))
    if (late) {
      this.#overtaken.delete(nameOf(record))
      this.walk.report(late.place, 'post-out-of-order', { roomId },
        `Post ${roomSeq} of room ${roomId} came after ${whose.publishedSeq}.`, places(late, place))
      return this.#found(late, record, place)
    }
    if (roomSeq <= whose.publishedSeq) {
      if (!this.walk.exact) this.walk.books.rooms.repeats++
      else this.#again(record, place)
      return 'passed'
    }
    const at = whose.due.findIndex(({ post }) => post.roomSeq === roomSeq)
    if (at < 0) return 'ahead'
    for (const due of whose.due.splice(0, at)) {
      due.overtaken = true
      this.#overtaken.set(nameOf(due.post), due)
    }
    return this.#found(whose.due.shift()!, record, place)
  }

  protected missing (due: DuePost): void {
    this.#leave(due)
    const { roomId, roomSeq, messageId } = due.post
    this.walk.report(due.place, 'post-missing', { roomId },
      `Post ${roomSeq} of room ${roomId} (${messageId}) was numbered, and is not in the stream posts.`,
      [placeIn(rooms, due.place)])
  }

  protected unknown (due: DuePost): void {
    this.#leave(due)
    if (this.walk.inRange(due.place)) this.walk.books.unjudged.records++
  }

  protected unexplained ({ roomId, roomSeq, messageId }: Posted, place: Place): void {
    this.walk.report(undefined, 'post-unexplained', { roomId },
      `The stream has post ${roomSeq} of room ${roomId} (${messageId}), which was not numbered.`,
      [placeIn(posts, place)])
  }

  #again ({ roomId, roomSeq }: Posted, place: Place): void {
    this.walk.report(undefined, 'post-repeated', { roomId },
      `Post ${roomSeq} of room ${roomId} stands in the stream again.`,
      [placeIn(posts, place)])
  }

  #found (due: DuePost, record: Posted, place: Place): DuePost {
    const { whose, post } = due
    if (post.roomSeq > whose.publishedSeq) whose.publishedSeq = post.roomSeq
    if (this.walk.inRange(due.place)) this.walk.books.rooms.published++
    const field = fields.find(field => post[field] !== record[field]) ??
      (Buffer.compare(post.payload, record.payload) === 0 ? undefined : 'payload')
    if (field) {
      this.walk.report(due.place, 'post-differs', { roomId: post.roomId },
        `Post ${post.roomSeq} of room ${post.roomId} has another ${field} in the stream posts than in rooms.`,
        places(due, place))
    }
    return due
  }

  #leave (due: DuePost): void {
    const { whose, post } = due
    if (due.overtaken) this.#overtaken.delete(nameOf(post))
    else if (whose.due[0] === due) whose.due.shift()
    else whose.due.splice(whose.due.indexOf(due), 1)
    if (post.roomSeq > whose.publishedSeq) whose.publishedSeq = post.roomSeq
  }
}

function nameOf ({ roomId, roomSeq }: Posted): string { return `${roomId}/${roomSeq}` }

function places (due: DuePost, place: Place): string[] { return [placeIn(rooms, due.place), placeIn(posts, place)] }
