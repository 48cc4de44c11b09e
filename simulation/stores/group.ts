import type { Place } from '../../ledger/log.js'
import type { Turns } from '../world.js'

/** A member of a group, as the group's coordinator sees it. Each call is on its way for a while. */
export interface Member {
  readonly name: string
  /** The partition is yours; `committed` is what the group has committed there. Answered by `taken`. */
  assign (partition: number, committed: Place): void
  /** Give the partition back. Answered by `givenBack`. */
  revoke (partition: number): void
  /** Nothing moves just now: what a member that has joined waits for. */
  settled (): void
}

interface Seat {
  readonly member: Member
  seenMs: number
}

interface Ownership {
  owner: Seat | undefined
  state: 'free' | 'assigning' | 'owned' | 'revoking'
}

export interface GroupOptions {
  readonly turns: Turns
  readonly nowMs: () => number
  readonly sessionMs: number
}

/**
 * Coordinator of a consumer group: deals the partitions out, with as few moves as it takes, and waits until one is
 * given back before somebody else gets it. From a member that is silent it takes them all: that one may go on for a
 * while in the belief that they are its own.
 */
export class Group {
  readonly committed: Place[]
  readonly #seats: Seat[] = []
  readonly #partitions: Ownership[]
  readonly #options: GroupOptions
  #isLooking = false

  constructor (readonly name: string, partitions: number, options: GroupOptions) {
    this.#options = options
    this.committed = Array.from({ length: partitions }, () => ({ next: 0n, index: 0 }))
    this.#partitions = this.committed.map(() => ({ owner: undefined, state: 'free' }))
  }

  join (member: Member): void {
    this.#seats.push({ member, seenMs: this.#options.nowMs() })
    this.#deal()
    this.#look()
  }

  leave (member: Member): void {
    const seat = this.#seatOf(member)
    if (seat) this.#evict(seat)
  }

  /** @returns false where the group does not know the member any more: it has to join anew */
  heartbeat (member: Member): boolean {
    const seat = this.#seatOf(member)
    if (seat) seat.seenMs = this.#options.nowMs()
    return seat !== undefined
  }

  taken (member: Member, partition: number): void {
    const ownership = this.#partitions[partition]!
    if (ownership.owner?.member !== member || ownership.state !== 'assigning') return
    ownership.state = 'owned'
    this.#deal()
  }

  givenBack (member: Member, partition: number): void {
    const ownership = this.#partitions[partition]!
    if (ownership.owner?.member !== member || ownership.state !== 'revoking') return
    this.#partitions[partition] = { owner: undefined, state: 'free' }
    this.#deal()
  }

  /** @returns false where the partition is not this member's */
  commit (member: Member, partition: number, place: Place): boolean {
    const isOwner = this.#partitions[partition]?.owner?.member === member
    if (isOwner) this.committed[partition] = place
    return isOwner
  }

  /** Whether two members hold the same partition is theirs to say; the group has one owner each. */
  ownerOf (partition: number): string | undefined { return this.#partitions[partition]?.owner?.member.name }

  #seatOf (member: Member): Seat | undefined { return this.#seats.find(seat => seat.member === member) }

  #evict (seat: Seat): void {
    this.#seats.splice(this.#seats.indexOf(seat), 1)
    for (const [partition, { owner }] of this.#partitions.entries()) {
      if (owner === seat) this.#partitions[partition] = { owner: undefined, state: 'free' }
    }
    this.#deal()
  }

  #deal (): void {
    if (this.#seats.length === 0) return
    const quota = Math.ceil(this.#partitions.length / this.#seats.length)
    // Moves begin once those of before are over, or some would be made twice.
    const isQuiet = this.#partitions.every(({ state }) => state === 'owned')
    const counts = new Map(this.#seats.map(seat => [seat, 0]))
    const held = (seat: Seat): number => counts.get(seat) ?? 0
    for (const { owner, state } of this.#partitions) if (owner && state !== 'revoking') counts.set(owner, held(owner) + 1)
    for (const [partition, ownership] of this.#partitions.entries()) {
      const { owner, state } = ownership
      const fewest = this.#seats.reduce((best, seat) => held(seat) < held(best) ? seat : best)
      if (state === 'free') {
        this.#partitions[partition] = { owner: fewest, state: 'assigning' }
        counts.set(fewest, held(fewest) + 1)
        fewest.member.assign(partition, this.committed[partition]!)
      } else if (isQuiet && owner && (held(owner) > quota || held(owner) > held(fewest) + 1)) {
        ownership.state = 'revoking'
        counts.set(owner, held(owner) - 1)
        counts.set(fewest, held(fewest) + 1)
        owner.member.revoke(partition)
      }
    }
    if (this.#partitions.every(({ state }) => state === 'owned')) for (const { member } of this.#seats) member.settled()
  }

  /** Every second, while there is anybody. */
  #look (): void {
    if (this.#isLooking) return
    this.#isLooking = true
    this.#options.turns.later(this.#options.sessionMs / 6, `${this.name} looks at its members`, () => {
      this.#isLooking = false
      const nowMs = this.#options.nowMs()
      for (const seat of [...this.#seats]) if (nowMs - seat.seenMs > this.#options.sessionMs) this.#evict(seat)
      if (this.#seats.length > 0) this.#look()
    })
  }
}
