import { roomStates } from '../../actors/rooms/parts.js'
import { newRoom, type RoomState } from '../../actors/rooms/state.js'
import type { PartId } from '../../actors/snapshots.js'
import { type Stay, Stays } from '../rooms/stays.js'
import type { DuePost, Poster } from './published-posts.js'

/** Rooms that are kept as the fold wants them; of the others there are bytes. */
const awakeMaxDefault = 4_000

/** One room while its entries are read. */
export class RoomBook implements Poster {
  readonly due: DuePost[] = []
  publishedSeq = 0
  lastPostAtMs = -Infinity
  /** The newest time that the partition tells up to the last post, whose own clock may be behind. */
  lastPostByMs = -Infinity
  /** False once the fold could not take one of its entries. */
  judged = true

  constructor (readonly state: RoomState, readonly stays: Stays) {}
}

/** What is kept of a room until it is needed again: some hundred bytes, and 24 for each request of the last day. */
interface Resting {
  /** Bytes as characters, which take no object of their own. Empty for a room that is as a fresh one. */
  readonly head: string
  readonly parts: ReadonlyArray<readonly [PartId, string]>
  readonly open: readonly Stay[]
  readonly publishedSeq: number
  readonly lastPostAtMs: number
  readonly lastPostByMs: number
  readonly judged: boolean
}

/**
 * The rooms of one partition. Memory goes with their number, by what a room is when it is saved and not by what it is
 * while it is folded: those that were read longest ago rest, unless they wait for records.
 */
export class RoomBooks {
  /** The one that was asked for longest ago first. */
  readonly #awake = new Map<string, RoomBook>()
  readonly #resting = new Map<string, Resting>()
  readonly #ended: (stay: Stay, roomSeq: number) => void
  readonly #awakeMax: number

  /** @param ended called when a stay has ended, with the number of the room's last post */
  constructor (ended: (stay: Stay, roomSeq: number) => void, awakeMax = awakeMaxDefault) {
    this.#ended = ended
    this.#awakeMax = awakeMax
  }

  get size (): number { return this.#awake.size + this.#resting.size }

  /** One that was read before. */
  find (roomId: string): RoomBook | undefined {
    const awake = this.#awake.get(roomId)
    if (awake) return awake
    const resting = this.#resting.get(roomId)
    return resting && this.#wake(roomId, resting)
  }

  /** It is read now. */
  take (roomId: string): RoomBook {
    let room = this.find(roomId)
    if (room) this.#awake.delete(roomId)
    else room = this.#bookOf(newRoom())
    this.#awake.set(roomId, room)
    if (this.#awake.size > this.#awakeMax) this.#rest()
    return room
  }

  /** Those that a node has members of, as far as is told. */
  * withStays (): Generator<[roomId: string, room: RoomBook]> {
    for (const [roomId, { open, ...resting }] of this.#resting) {
      if (open.length > 0) yield [roomId, this.#woken({ ...resting, open })]
    }
    yield * this.#awake
  }

  /** The older half of those that wait for nothing; not the newest, which is read now. */
  #rest (): void {
    for (const [roomId, room] of this.#awake) {
      if (this.#awake.size <= Math.max(1, this.#awakeMax / 2)) return
      if (room.due.length > 0) continue
      this.#awake.delete(roomId)
      this.#resting.set(roomId, restingOf(room))
    }
  }

  #wake (roomId: string, resting: Resting): RoomBook {
    const room = this.#woken(resting)
    this.#resting.delete(roomId)
    this.#awake.set(roomId, room)
    return room
  }

  #woken ({ head, parts, open, publishedSeq, lastPostAtMs, lastPostByMs, judged }: Resting): RoomBook {
    const room = this.#bookOf(head === ''
      ? newRoom()
      : roomStates.stateOf({ head: bytesOf(head), parts: new Map(parts.map(([id, text]) => [id, bytesOf(text)])) }))
    for (const stay of open) room.stays.goesOn(stay)
    return Object.assign(room, { publishedSeq, lastPostAtMs, lastPostByMs, judged })
  }

  #bookOf (state: RoomState): RoomBook {
    return new RoomBook(state, new Stays(stay => { this.#ended(stay, state.tail.roomSeq) }))
  }
}

function restingOf ({ state, stays, publishedSeq, lastPostAtMs, lastPostByMs, judged }: RoomBook): Resting {
  // What the fold could not take may not be written either, and nothing more is folded there.
  const saved = judged ? roomStates.savedStateOf(state) : undefined
  return {
    head: saved ? saved.head.toString('latin1') : '',
    parts: saved ? Array.from(saved.parts, ([id, bytes]) => [id, bytes.toString('latin1')] as const) : [],
    open: stays.open,
    publishedSeq,
    lastPostAtMs,
    lastPostByMs,
    judged,
  }
}

function bytesOf (text: string): Buffer { return Buffer.from(text, 'latin1') }
