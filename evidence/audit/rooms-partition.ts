import { foldRoom, type RoomEffect } from '../../actors/rooms/fold.js'
import type { RoomState } from '../../actors/rooms/state.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { PostRequested, RoomEntry } from '../../schemas/room-facts.js'
import { posts, rooms } from '../../schemas/streams.js'
import type { Stay } from '../rooms/stays.js'
import { type Books, count } from './books.js'
import { type AuditedLog, type Bounds, boundsOf } from './derived.js'
import type { Walk } from './ledger-walk.js'
import type { NodeLives, Report } from './node-lives.js'
import type { PostedUplinks } from './posted-uplinks.js'
import { PublishedPosts } from './published-posts.js'
import { checkNumbers } from './published.js'
import { type RoomBook, RoomBooks } from './room-books.js'
import { type Place, placeIn } from './violation.js'

export interface RoomsAudit {
  readonly partition: number
  readonly log: AuditedLog
  readonly books: Books
  readonly report: Report
  readonly exact: boolean
  readonly lives: NodeLives
  /** When the stream `nodes` was read. */
  readonly nowMs: number
  readonly posted: PostedUplinks
  /** The first block that is judged. */
  readonly from: bigint
  /** The block after the last one that is judged; the end of the stream where it is left out. */
  readonly to: bigint | undefined
  readonly blocks: (count: number) => void
}

/** Posts that may be due before their stream is looked at: a look costs more than an entry. */
const dueAtOnce = 512
/** A node tells what it gave within 30 s, or later where it has thousands of rooms. */
const undeliveredMs = 300_000
/** A post ends the stay of a node that is gone, unless the table of nodes is away. */
const orphanedMs = 600_000

/** Reads one partition of `rooms`, folds it, and holds what it says against `posts`, and against what nodes tell. */
export async function auditRooms (audit: RoomsAudit): Promise<void> {
  const { partition, log, from, to } = audit
  const published = await boundsOf(log, posts, partition)
  const { first, next: end } = await boundsOf(log, rooms, partition)
  const walk = new RoomsWalk(audit, first > 0n, published)
  const until = to === undefined || to > end ? end : to
  if (end === 0n) return
  let next = first
  for await (const { offset, items } of log.read(rooms, partition, { from: first, to: until })) {
    if (offset > next && offset > from) audit.books.unjudged.blocks += Number(offset - (next > from ? next : from))
    next = offset + 1n
    await walk.block(offset, items)
    audit.blocks(1)
  }
  await walk.finish(until === end)
}

class RoomsWalk implements Walk {
  readonly partition: number
  readonly books: Books
  readonly cut: boolean
  readonly exact: boolean
  readonly #audit: RoomsAudit
  readonly #bounds: Bounds
  readonly #rooms: RoomBooks
  readonly #published: PublishedPosts
  readonly #partitions: number
  #begun = false
  #newestAtMs = -Infinity

  constructor (audit: RoomsAudit, cut: boolean, bounds: Bounds) {
    const { partition, books, exact, log, posted } = audit
    this.partition = partition
    this.books = books
    this.cut = cut
    this.exact = exact
    this.#audit = audit
    this.#bounds = bounds
    this.#partitions = log.partitions(rooms)
    this.#rooms = new RoomBooks((stay, roomSeq) => {
      const { deliveries } = books.rooms
      if (this.#begun) unreported(deliveries, stay.end!.code, settle(deliveries, stay, roomSeq))
    })
    this.#published = new PublishedPosts(log, bounds, this, roomId => this.#rooms.find(roomId))
    if (cut) books.unjudged.partitions++
    else posted.reads(partition)
  }

  report (place: Place | undefined, ...violation: Parameters<Report>): void {
    if (place ? this.inRange(place) : this.#begun) this.#audit.report(...violation)
  }

  inRange ({ offset }: Place): boolean { return offset >= this.#audit.from }

  async block (offset: bigint, items: readonly RoomEntry[]): Promise<void> {
    if (offset >= this.#audit.from) this.#begun = true
    if (this.#begun) this.books.rooms.entries += items.length
    for (let index = 0; index < items.length; index++) {
      this.#entry(items[index]!, { partition: this.partition, offset, index })
    }
    if (this.#published.open > dueAtOnce) await this.#published.pull()
  }

  /** @param whole the stream was read to its end */
  async finish (whole: boolean): Promise<void> {
    const { log } = this.#audit
    this.#begun = true
    this.books.rooms.rooms += this.#rooms.size
    if (this.cut) {
      await checkNumbers(log, posts, this.#bounds, this)
      return
    }
    this.books.rooms.due += await this.#published.finish(whole)
    for (const [roomId, room] of this.#rooms.withStays()) {
      for (const stay of room.stays.open) this.#open(roomId, room, stay)
    }
  }

  #entry (entry: RoomEntry, place: Place): void {
    const { roomId, atMs } = entry
    this.#newestAtMs = Math.max(this.#newestAtMs, atMs)
    const partition = partitionOf(roomId, this.#partitions)
    if (partition !== this.partition) {
      this.report(place, 'wrong-partition', { roomId },
        `An entry of room ${roomId} stands in partition ${this.partition} of rooms, ` +
        `and not in ${partition}.`, [placeIn(rooms, place)])
      return
    }
    if (this.cut) {
      if (this.#begun) this.books.unjudged.entries++
      return
    }
    const room = this.#rooms.take(roomId)
    if (room.judged) this.#fold(room, entry, place)
  }

  #fold (room: RoomBook, entry: RoomEntry, place: Place): void {
    const { roomId, atMs, fact } = entry
    const { state, stays } = room
    const isFirst = fact.type === 'PostRequested' && fact.ledgerPartition >= 0 && isNew(state, fact)
    let effects: RoomEffect[]
    try {
      effects = foldRoom(state, entry)
    } catch (err) {
      room.judged = false
      this.report(place, 'fold-failed', { roomId }, `The fold could not take ${fact.type} of room ${roomId}: ` +
        `${(err as Error).message}.`, [placeIn(rooms, place)])
      return
    }
    stays.after(entry, state)
    switch (fact.type) {
      case 'PostRequested':
        if (isFirst) this.#audit.posted.posted(this.partition, entry, fact)
        this.#post(room, effects[0], atMs, place)
        break
      case 'PostsDelivered':
        if (fact.roomSeq > state.tail.roomSeq) {
          this.report(place, 'delivered-above-numbered', { roomId },
            `Node ${fact.nodeId} says that it gave the members of room ` +
            `${roomId} the posts up to ${fact.roomSeq}, of ${state.tail.roomSeq}.`, [placeIn(rooms, place)])
        }
    }
  }

  #post (room: RoomBook, effect: RoomEffect | undefined, atMs: number, place: Place): void {
    const { books: { rooms: books } } = this
    const { state } = room
    if (this.#begun) books.requested++
    if (effect?.type !== 'post') {
      if (this.#begun) state.closed ? books.refused++ : books.duplicates++
      return
    }
    if (this.#begun) books.numbered++
    room.lastPostAtMs = atMs
    room.lastPostByMs = this.#newestAtMs
    this.#published.numbered(room, effect.post, place)
    state.tail.restore([], state.tail.roomSeq) // of what it keeps for who joins the audit has no use
  }

  /** A stay that has not ended where the range ends. */
  #open (roomId: string, { state, lastPostAtMs, lastPostByMs }: RoomBook, stay: Stay): void {
    const { deliveries } = this.books.rooms
    const { nodeId, nodeEpoch, delivered } = stay
    const { roomSeq } = state.tail
    const rest = settle(deliveries, stay, roomSeq)
    const end = this.#audit.lives.endOf(nodeId, nodeEpoch)
    if (end !== undefined && end !== 'living') {
      deliveries.orphaned++
      unreported(deliveries, 'node-lost', rest)
      if (state.nodes.has(nodeId) && Math.min(lastPostAtMs - end.atMs, end.agoMs) > orphanedMs) {
        this.report(undefined, 'joined-on-dead-node', { roomId },
          `Room ${roomId} had a post long after node ${nodeId} had ended in ` +
          `epoch ${nodeEpoch}, and still counts it among those that have members.`, [])
      }
      return
    }
    deliveries.due += rest
    if (rest === 0 || state.closed) return
    // One that says nothing at all any more, as after a kill, has not told of this either.
    const { nowMs, lives } = this.#audit
    if (Math.min(nowMs, lives.heardAt(nodeId)) - lastPostByMs <= undeliveredMs) return
    this.report(undefined, 'post-undelivered', { roomId },
      `Node ${nodeId} has members of room ${roomId} and says that it gave them ` +
      `the posts up to ${delivered?.roomSeq ?? 0}; the last one, ${roomSeq}, was long ago.`, [])
  }
}

/** Counts what a stay was to be given, and was. @returns what it was not, as far as is told */
function settle (
  deliveries: Books['rooms']['deliveries'], { fromSeq, delivered }: Stay, roomSeq: number
): number {
  const owed = roomSeq - fromSeq
  const given = Math.min(Math.max(0, (delivered?.roomSeq ?? 0) - fromSeq), owed)
  deliveries.owed += owed
  deliveries.given += given
  return owed - given
}

function unreported (deliveries: Books['rooms']['deliveries'], code: string, posts: number): void {
  if (posts > 0) count(deliveries.unreported, code, posts)
}

/** The room has had no uplink at this place of the ledger, or behind it. */
function isNew ({ sources }: RoomState, { ledgerPartition, ledgerOffset, ledgerIndex }: PostRequested): boolean {
  const last = sources.get(ledgerPartition)
  return !last || ledgerOffset > last.offset || (ledgerOffset === last.offset && ledgerIndex > last.index)
}
