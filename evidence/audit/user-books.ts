import { newUser, type UserState } from '../../actors/user/state.js'
import { Accounts } from './accounts.js'
import type { Walk } from './ledger-walk.js'
import { packed, unpacked } from './packed-state.js'
import type { DueUplink, Uplinker } from './published.js'
import type { Place } from './violation.js'

/** Users of a partition whose states are at hand; the others are kept packed. */
const activeMax = 50_000
/** How many leave at once. */
const leaveAtOnce = 5_000

/** One user while something happens to him. */
export class UserBook implements Uplinker {
  readonly due: DueUplink[] = []
  publishedSeq: number
  readonly accounts: Accounts
  /** Something happened to him since he was last looked at for leaving. */
  used = true
  /** False once the fold could not take an entry of his. */
  judged = true
  /** Where his last entry stands. */
  last: Place

  constructor (
    readonly userId: string, readonly number: number, readonly state: UserState, first: Place
  ) {
    this.publishedSeq = state.userSeq
    this.accounts = Accounts.of(state)
    this.last = first
  }
}

/** A user that nothing has happened to for a while. */
interface Resting { readonly number: number, readonly packed: Buffer, readonly owed: number, readonly last: Place }

/**
 * The users of one ledger partition. Of most the state is kept packed, as a gateway saves those who are idle: a
 * few hundred bytes, and what waits in their outboxes. Whoever rests has balanced books, and nothing due.
 */
export class UserBooks {
  readonly #active = new Map<string, UserBook>()
  readonly #resting = new Map<string, Resting>()

  constructor (readonly walk: Walk) {}

  get size (): number { return this.#active.size + this.#resting.size }

  /** @returns undefined for a user without an entry so far */
  find (userId: string): UserBook | undefined {
    const active = this.#active.get(userId)
    if (active) return active
    const resting = this.#resting.get(userId)
    if (!resting) return undefined
    this.#resting.delete(userId)
    return this.#begin(userId, resting.number, unpacked(resting.packed), resting.last)
  }

  add (userId: string, first: Place): UserBook {
    return this.#begin(userId, this.size, newUser(), first)
  }

  /** Lets the users go that nothing has happened to, where there are many. */
  rest (): void {
    if (this.#active.size <= activeMax) return
    let looked = 0
    const enough = this.#active.size - activeMax + leaveAtOnce
    let left = 0
    for (const book of this.#active.values()) {
      if (left >= enough || looked++ > 2 * activeMax) return
      if (book.due.length > 0 || book.used || !book.judged) {
        // He goes to the end, behind those that were not looked at yet.
        book.used = false
        this.#active.delete(book.userId)
        this.#active.set(book.userId, book)
        continue
      }
      book.accounts.check(book.userId, book.state, book.last, this.walk)
      this.#active.delete(book.userId)
      const { number, state, accounts: { owed }, last } = book
      this.#resting.set(book.userId, { number, packed: packed(state), owed, last })
      left++
    }
  }

  /** Closes the books of those who are at hand; the others' were closed when they left. */
  finish (): void {
    for (const { userId, state, accounts, judged, last } of this.#active.values()) {
      if (judged) accounts.check(userId, state, last, this.walk)
    }
  }

  /** Downlinks that wait, of all users. */
  owed (): number {
    let owed = 0
    for (const { accounts } of this.#active.values()) owed += accounts.owed
    for (const resting of this.#resting.values()) owed += resting.owed
    return owed
  }

  #begin (userId: string, number: number, state: UserState, place: Place): UserBook {
    const book = new UserBook(userId, number, state, place)
    this.#active.set(userId, book)
    return book
  }
}
