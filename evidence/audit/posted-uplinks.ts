import { murmur2, partitionOf } from '../../schemas/partitioning.js'
import type { PostRequested, RoomEntry } from '../../schemas/room-facts.js'
import { ledger } from '../../schemas/streams.js'
import type { Books } from './books.js'
import type { Report } from './node-lives.js'
import { type Place, placeIn } from './violation.js'

/** A sum over posts of one room: 0 in all where each accepted uplink is there once, and nothing else. */
interface Sum {
  count: number
  /** Of the contents, modulo 2^32. */
  hash: number
  /** Of their places in the ledger: where one is too many or missing, they say which. */
  partition: number
  offset: number
  index: number
}

/** Which part of a partition of the ledger is read: up to but without `to`, or to its end where that is undefined. */
export type JudgedLedger = ReadonlyMap<number, bigint | undefined>

/**
 * Holds accepted uplinks that name a room against the stream `rooms`: each is posted exactly once, as it was accepted.
 * Only a sum for each room is kept, and how far each partition of the ledger has come in each of `rooms`: posts of one
 * partition come in its order, so what is behind that is still to come, and all else must be there.
 */
export class PostedUplinks {
  readonly #sums = new Map<string, Sum>()
  /** By partitions of `rooms` and of the ledger: the last entry that is posted. */
  readonly #last = new Map<string, Place>()
  readonly #read = new Set<number>()
  readonly #partitions: number
  readonly #judged: JudgedLedger
  readonly #books: Books

  /** @param partitions of `rooms` */
  constructor (partitions: number, judged: JudgedLedger, books: Books) {
    this.#partitions = partitions
    this.#judged = judged
    this.#books = books
  }

  /** This partition of `rooms` is read from its very beginning. */
  reads (partition: number): void { this.#read.add(partition) }

  /** The stream `rooms` has it, for the first time. */
  posted (partition: number, entry: RoomEntry, fact: PostRequested): void {
    const { ledgerPartition, ledgerOffset, ledgerIndex: index } = fact
    const offset = BigInt(ledgerOffset)
    if (!this.#judged.has(ledgerPartition)) return
    const to = this.#judged.get(ledgerPartition)
    if (to !== undefined && offset >= to) return
    const lane = `${partition} ${ledgerPartition}`
    const last = this.#last.get(lane)
    const place = { partition: ledgerPartition, offset, index }
    if (!last || isBehind(place, last)) this.#last.set(lane, place)
    this.#add(entry, fact, 1)
  }

  /** The fold of users has accepted it. @param post what is to stand in `rooms` */
  accepted (post: RoomEntry, fact: PostRequested, place: Place): void {
    const partition = partitionOf(post.roomId, this.#partitions)
    if (!this.#judged.has(place.partition) || !this.#read.has(partition)) return
    const last = this.#last.get(`${partition} ${place.partition}`)
    if (!last || isBehind(place, last)) {
      this.#books.rooms.uplinksDue++
      return
    }
    this.#books.rooms.uplinks++
    this.#add(post, fact, -1)
  }

  /** All of both streams is read. */
  finish (report: Report): void {
    for (const [roomId, { count, hash, partition, offset, index }] of this.#sums) {
      if (count === 0 && hash === 0) continue
      const n = Math.abs(count)
      // The sums of one are its place; those of several are nobody's.
      const positions = n === 1
        ? [placeIn(ledger, { partition: count * partition, offset: BigInt(count * offset), index: count * index })]
        : []
      if (count < 0) {
        report('uplink-unposted', { roomId },
          `${n} accepted uplink${n === 1 ? ' is' : 's are'} for room ${roomId}, and not in the ` +
          'stream rooms.', positions)
      } else if (count > 0) {
        report('posted-unexplained', { roomId },
          `The stream rooms has ${n} post${n === 1 ? '' : 's'} in room ${roomId} of uplinks ` +
          'that were not accepted.', positions)
      } else {
        report('posted-differs', { roomId },
          `In room ${roomId} the stream rooms has a post that is not the uplink that was ` +
          'accepted.', [])
      }
    }
  }

  #add (entry: RoomEntry, fact: PostRequested, sign: 1 | -1): void {
    let sum = this.#sums.get(entry.roomId)
    if (!sum) this.#sums.set(entry.roomId, sum = { count: 0, hash: 0, partition: 0, offset: 0, index: 0 })
    sum.count += sign
    sum.hash = sum.hash + sign * hashOf(entry, fact) | 0
    sum.partition += sign * fact.ledgerPartition
    sum.offset += sign * fact.ledgerOffset
    sum.index += sign * fact.ledgerIndex
  }
}

function isBehind (place: Place, last: Place): boolean {
  return place.offset > last.offset || (place.offset === last.offset && place.index > last.index)
}

function hashOf ({ atMs }: RoomEntry, fact: PostRequested): number {
  const { messageId, service, payload, ledgerPartition, ledgerOffset, ledgerIndex } = fact
  const name = `${messageId}\n${service}\n${atMs}\n${ledgerPartition}\n${ledgerOffset}\n${ledgerIndex}`
  return murmur2(Buffer.from(name)) ^ Math.imul(murmur2(payload), 0x9e3779b1)
}
