import type { Connection } from '../connection/connection.js'
import type { SharedFrame } from '../connection/wire.js'
import type { EdgeRoomsLimits } from './edge-rooms.js'
import { TurnOutput } from './output.js'
import type { EdgeRoom } from './room.js'

/** Connections that one turn of the event loop writes to, and what it writes to all of them. */
const turnConnectionsMax = 256
const turnBytesMax = 4 << 20
/** Members of rooms that it looks at, and of them those of one room before it is another one's turn. */
const turnMembersMax = 4_096
const roomTurnMax = 64
/** Signals of all rooms that wait to be written, with what they are encoded as; further ones are lost. */
const signalsBytesMax = 16 << 20

export interface RoomWriterEvents {
  /** A connection is no member of a room any more: the room is closed. */
  left (room: EdgeRoom, connection: Connection): void
  /** Members wait for what only the owner knows. */
  missing (room: EdgeRoom): void
  /** All members that read were given posts of which nobody was told yet. */
  passed (room: EdgeRoom): void
}

/**
 * Writes to members of rooms. One turn of the event loop takes some of them, of one room after the other, so that
 * neither a room with many members nor one with many posts holds anybody up. A member whose client does not read is
 * left alone until it has, and then goes on from its own place.
 */
export class RoomWriter {
  readonly #limits: EdgeRoomsLimits
  readonly #count: { posts: number, signals: number }
  readonly #events: RoomWriterEvents
  /** Rooms that have something to be written, in the order of their turns. */
  readonly #due = new Set<EdgeRoom>()
  /** Connections that are behind in some room, and read. */
  readonly #behind = new Set<Connection>()
  /** Rooms of which posts are kept, and when the last ones came, ticks: the one that was silent for longest first. */
  readonly #byActivity = new Map<EdgeRoom, number>()
  readonly #output = new TurnOutput()
  #tailBytes = 0
  #signalsBytes = 0
  #turn: NodeJS.Immediate | undefined
  #hasStopped = false

  constructor (limits: EdgeRoomsLimits, count: { posts: number, signals: number }, events: RoomWriterEvents) {
    this.#limits = limits
    this.#count = count
    this.#events = events
  }

  get tailBytes (): number { return this.#tailBytes }
  get signalsBytes (): number { return this.#signalsBytes }

  /** For rooms, which say by how many bytes they have grown. */
  readonly took = {
    posts: (bytes: number): void => { this.#tailBytes += bytes },
    signals: (bytes: number): void => { this.#signalsBytes += bytes },
  }

  due (room: EdgeRoom): void {
    this.#due.add(room)
    this.#soon()
  }

  /** @param payloadBytes of its payload and service */
  signal (room: EdgeRoom, shared: SharedFrame, payloadBytes: number): void {
    if (this.#signalsBytes + payloadBytes > signalsBytesMax) return
    room.signals.add(shared, payloadBytes, room.members.entries())
    this.due(room)
  }

  /** There are posts, since `atTicks`. */
  posted (room: EdgeRoom, atTicks: number): void {
    this.#byActivity.delete(room)
    this.#byActivity.set(room, atTicks)
    if (this.#tailBytes > this.#limits.tailsBytesMax) this.#shed()
    this.due(room)
  }

  /** Of rooms that were silent since then nothing is kept: whoever comes back is answered by their owner. */
  forgetBefore (ticks: number): void {
    for (const [room, postedAt] of this.#byActivity) {
      if (postedAt > ticks) return
      this.#keepNone(room)
    }
  }

  /** It can be written to again. */
  behind (connection: Connection): void {
    this.#behind.add(connection)
    this.#soon()
  }

  forget (room: EdgeRoom): void {
    this.#due.delete(room)
    room.signals.drop()
    this.#keepNone(room)
  }

  stop (): void {
    this.#hasStopped = true
    clearImmediate(this.#turn)
  }

  #soon (): void {
    if (!this.#hasStopped) this.#turn ??= setImmediate(() => { this.#run() })
  }

  #run (): void {
    this.#turn = undefined
    let left = turnMembersMax
    for (const room of this.#due) {
      if (left <= 0 || this.#isFull) break
      this.#due.delete(room)
      const max = Math.min(left, roomTurnMax)
      const used = this.#write(room, max)
      left -= used
      if (used >= max) this.#due.add(room)
    }
    for (const connection of this.#behind) {
      if (left-- <= 0 || this.#isFull) break
      if (this.#output.bytesFor(connection) > 0) continue // the next turn knows what its socket took of that
      this.#behind.delete(connection)
      this.#catchUp(connection)
    }
    this.#output.send()
    if (this.#due.size > 0 || this.#behind.size > 0) this.#soon()
  }

  get #isFull (): boolean {
    return this.#output.connections >= turnConnectionsMax || this.#output.bytes >= turnBytesMax
  }

  /** @returns how many members it has looked at; `max` where there may be more */
  #write (room: EdgeRoom, max: number): number {
    let used = 0
    if (room.isOpen) {
      let isMissing = false
      for (const [connection, waiting] of room.waiting) {
        if (used >= max) break
        used++
        if (room.closedFor !== undefined) this.#close(room, connection)
        else if (!this.#settle(room, connection, waiting)) isMissing = true
      }
      if (isMissing) this.#events.missing(room)
    }
    for (let next; used < max && (next = room.signals.next()); used++) this.#signal(room, next.connection, next.shared)
    for (let next; used < max && (next = room.nextOfRound()); used++) this.#serve(room, next.connection, next.place)
    if (used < max) {
      room.tail.trim(room.passedSeq, this.#limits.tail)
      if (room.passedSeq > room.reportedSeq) this.#events.passed(room)
    }
    return Math.min(used, max)
  }

  /** @returns false where the owner must be asked first */
  #settle (room: EdgeRoom, connection: Connection, waiting: Parameters<EdgeRoom['placeOf']>[0]): boolean {
    const place = room.placeOf(waiting)
    if (!place) {
      room.hold(connection, waiting)
      return false
    }
    room.waiting.delete(connection)
    room.members.set(connection, place.roomSeq)
    if (!connection.life.isOpen) return true // its socket is about to be gone
    this.#output.add(connection, { op: 'joined', roomId: room.roomId, ...place })
    this.#give(room, connection, place.roomSeq)
    return true
  }

  /** Gives a member what it lacks. From a room that is closed it goes once it has that. */
  #serve (room: EdgeRoom, connection: Connection, place: number): void {
    this.#give(room, connection, place)
    if (room.closedFor === undefined) return
    if (!connection.life.isOpen || room.members.get(connection) === room.tail.roomSeq) this.#close(room, connection)
  }

  /** Writes the posts behind its place. */
  #give (room: EdgeRoom, connection: Connection, place: number): void {
    const { tail } = room
    const { wire, life } = connection
    if (place >= tail.roomSeq || !life.isOpen) return
    let free = this.#freeFor(connection)
    if (free <= 0) { // what it has missed is asked for once it reads, and not with each post until then
      this.#isBehind(connection)
      return
    }
    if (place < tail.keptAfter) { // it did not read for as long as what it wants was kept
      room.wait(connection, place)
      this.due(room)
      return
    }
    let seq = place
    while (seq < tail.roomSeq && free > 0) {
      const post = tail.at(++seq)
      const framings = post.encoded.size
      const bytes = wire.bytesOf(post)
      if (post.encoded.size > framings) tail.encoded(post, bytes)
      this.#output.addShared(connection, post, bytes)
      free -= bytes
    }
    if (seq < tail.roomSeq) this.#isBehind(connection)
    room.members.set(connection, seq)
    this.#count.posts += seq - place
  }

  /** Bytes that it may be given. */
  #freeFor (connection: Connection): number {
    return this.#limits.queuedBytesMax - connection.wire.queuedBytes - this.#output.bytesFor(connection)
  }

  /** Where its socket takes what was written, nobody will say that it has room again. */
  #isBehind (connection: Connection): void {
    connection.rooms!.isBehind = true
    this.#behind.add(connection)
  }

  #catchUp (connection: Connection): void {
    const { rooms, wire, life } = connection
    if (!rooms || !life.isOpen) return
    if (wire.queuedBytes >= this.#limits.queuedBytesMax) return // it is told once that has drained
    rooms.isBehind = false
    for (const room of rooms.joined) {
      const place = room.members.get(connection)
      if (place !== undefined) this.#serve(room, connection, place)
    }
  }

  #signal (room: EdgeRoom, connection: Connection, shared: SharedFrame): void {
    if (!connection.life.isOpen || this.#freeFor(connection) <= 0) return
    const framings = shared.encoded.size
    const bytes = connection.wire.bytesOf(shared)
    if (shared.encoded.size > framings) room.signals.encoded(bytes)
    this.#output.addShared(connection, shared, bytes)
    this.#count.signals++
  }

  #close (room: EdgeRoom, connection: Connection): void {
    room.remove(connection)
    this.#events.left(room, connection)
    if (!connection.life.isOpen) return
    this.#output.add(connection, { op: 'left', roomId: room.roomId, code: 'room-closed', reason: room.closedFor! })
  }

  /** Of the rooms that were silent for longest nothing is kept; what comes then is asked for. */
  #shed (): void {
    const aim = this.#limits.tailsBytesMax * 7 / 8
    for (const room of this.#byActivity.keys()) {
      if (this.#tailBytes <= aim) return
      this.#keepNone(room)
    }
  }

  #keepNone (room: EdgeRoom): void {
    this.#byActivity.delete(room)
    room.tail.place(room.tail.roomSeq)
  }
}
