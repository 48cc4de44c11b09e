import type { Connection } from '../connection/connection.js'
import type { RoomTail } from '../room-links.js'
import { LookPace } from './pace.js'
import { RoomSignals } from './signals.js'
import { PostTail } from './tail.js'

/** A member that has not been answered yet. */
interface Waiting {
  /** The last post that it has processed; -1 for whoever wants what comes from now on. */
  readonly wantedSeq: number
  /** Questions to the owner that had gone out when it came: the answer to none of them need know of it. */
  readonly asked: number
}

/**
 * A room as one edge has it. A member is a place in `members` and nothing else: the last post that was written to it.
 *
 * What the owner is asked is numbered here, so that whoever needs to know more than it knew gets a fresh answer.
 */
export class EdgeRoom {
  readonly tail: PostTail
  readonly signals: RoomSignals
  readonly members = new Map<Connection, number>()
  /** Those that are to be told `joined`, and those of them for which the owner must be asked first. */
  readonly waiting = new Map<Connection, Waiting>()
  readonly #held = new Map<Connection, Waiting>()
  /** By which the owner knows that this node wants the posts. */
  interest = 0
  /** The owner has answered the interest. */
  isOpen = false
  /** Why it is closed; undefined while it is not. */
  closedFor: string | undefined
  /** Posts up to it are gone for good. */
  goneUpTo = 0
  /** Everybody who reads was given posts up to it. */
  #passedSeq = 0
  /** The round of members that is under way, and the last post when it began. */
  #round: Iterator<[Connection, number]> | undefined
  #roundSeq = 0

  /** Questions that went out, how many of them are answered, and since when one waits for that, ticks; -1 for none. */
  #asked = 0
  #answered = 0
  #afterSeq = 0
  askedAt = -1
  /** Of questions that nobody waits for. */
  readonly pace = new LookPace()
  /** When the last member left, ticks; -1 while there are some. */
  emptyAt = -1
  /** The last post of which the ledger was told that members were given it, and when that was, ticks; -1 for never. */
  reportedSeq = 0
  reportedAt = -1
  /** Joined anew so often in a row without an answer. */
  tries = 0

  constructor (
    /** With the app, as the owner names it. */
    readonly key: string,
    roomId: string,
    readonly partition: number,
    /** Another node may have had more posts of the owner than this one. */
    readonly mayLag: boolean,
    /** Told of each change of what posts and signals take in memory, bytes. */
    took: { readonly posts: (bytes: number) => void, readonly signals: (bytes: number) => void }
  ) {
    this.tail = new PostTail(roomId, took.posts)
    this.signals = new RoomSignals(took.signals)
  }

  get roomId (): string { return this.tail.roomId }
  get isEmpty (): boolean { return this.members.size === 0 && this.waiting.size === 0 && this.#held.size === 0 }
  get isAsking (): boolean { return this.askedAt >= 0 }

  /** The last post that a connection has, or says that it has; -1 where it is not in the room, or did not say. */
  lastOf (connection: Connection): number {
    const waiting = this.waiting.get(connection) ?? this.#held.get(connection)
    return this.members.get(connection) ?? waiting?.wantedSeq ?? -1
  }

  /** It is a member from its answer on. */
  wait (connection: Connection, wantedSeq: number): void {
    this.remove(connection)
    this.waiting.set(connection, { wantedSeq, asked: this.#asked })
  }

  /** It waits for the owner's next answer. */
  hold (connection: Connection, waiting: Waiting): void {
    this.waiting.delete(connection)
    this.#held.set(connection, waiting)
  }

  /** @returns false where it was not in the room */
  remove (connection: Connection): boolean {
    return this.members.delete(connection) || this.waiting.delete(connection) || this.#held.delete(connection)
  }

  /** A question goes out at `atTicks`. @returns the post behind which the answer is to begin */
  ask (atTicks: number): number {
    this.#asked++
    this.askedAt = atTicks
    this.#afterSeq = this.tail.roomSeq
    for (const { wantedSeq } of this.#held.values()) {
      if (wantedSeq >= 0) this.#afterSeq = Math.min(this.#afterSeq, Math.max(wantedSeq, this.goneUpTo))
    }
    return this.#afterSeq
  }

  /** This node asks to join, with a new interest. */
  enter (interest: number, atTicks: number): void {
    this.#asked++
    this.askedAt = atTicks
    this.#afterSeq = 0
    this.interest = interest
    this.isOpen = false
    this.reportedSeq = 0
  }

  /** @returns false where the owner knows of fewer posts than it had told before: the room began anew */
  answer ({ roomSeq, keptAfter, posts, closed, reason }: RoomTail): boolean {
    const { tail } = this
    if (this.isOpen && roomSeq < tail.roomSeq) return false
    this.askedAt = -1
    this.tries = 0
    this.#answered = this.#asked
    if (closed && this.closedFor === undefined) this.#lookAgain()
    this.closedFor = closed ? reason : undefined
    for (const [connection, waiting] of this.#held) this.waiting.set(connection, waiting)
    this.#held.clear()
    if (roomSeq < tail.roomSeq) this.#beginAnew()
    this.isOpen = true
    const isBehind = keptAfter > tail.roomSeq || tail.roomSeq === 0
    // What it leaves out though it was asked for, and what is not kept here either.
    const gone = isBehind ? keptAfter : Math.min(keptAfter, tail.keptAfter)
    if (gone > this.#afterSeq) this.goneUpTo = Math.max(this.goneUpTo, gone)
    if (isBehind) tail.place(keptAfter)
    else if (keptAfter < tail.keptAfter && !tail.prepend(keptAfter, posts)) this.goneUpTo = tail.keptAfter
    tail.append(posts)
    return true
  }

  /**
   * What a member is answered. One that named no place may have had more elsewhere than is known here, and would get
   * it twice.
   *
   * @returns its place, and how many posts before it are gone; undefined where the owner must be asked first
   */
  placeOf ({ wantedSeq, asked }: Waiting): { roomSeq: number, missed: number } | undefined {
    const { roomSeq, keptAfter } = this.tail
    if (wantedSeq < 0 && !this.mayLag) return { roomSeq, missed: 0 }
    if (wantedSeq < 0 || wantedSeq > roomSeq) return this.#answered > asked ? { roomSeq, missed: 0 } : undefined
    const first = Math.max(wantedSeq, this.goneUpTo)
    return first < keptAfter ? undefined : { roomSeq: first, missed: first - wantedSeq }
  }

  /** The next member to be looked at, until everybody was given the posts up to the last one. */
  nextOfRound (): { connection: Connection, place: number } | undefined {
    for (;;) {
      if (!this.#round) {
        if (this.#passedSeq >= this.tail.roomSeq) return undefined
        this.#roundSeq = this.tail.roomSeq
        this.#round = this.members.entries()
      }
      const { value, done } = this.#round.next()
      if (!done) return { connection: value[0], place: value[1] }
      this.#round = undefined
      this.#passedSeq = this.#roundSeq
    }
  }

  /** Everybody was given what there is; who does not read is no reason to keep anything. */
  get passedSeq (): number { return this.#passedSeq }

  /** Each member is looked at once more, whether or not it has all posts. */
  #lookAgain (): void {
    this.#passedSeq = -1
    this.#round = undefined
  }

  /** No member has been sent any post of the numbers that begin now. */
  #beginAnew (): void {
    this.tail.place(0)
    this.goneUpTo = this.#passedSeq = this.reportedSeq = 0
    this.#round = undefined
    for (const connection of Array.from(this.members.keys())) this.wait(connection, 0)
  }
}
