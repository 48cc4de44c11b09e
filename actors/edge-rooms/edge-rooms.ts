import { userIdOf } from '../../schemas/apps.js'
import type { RoomEntry, RoomFact } from '../../schemas/room-facts.js'
import type { Connection } from '../connection/connection.js'
import type { SharedFrame } from '../connection/wire.js'
import type {
  AskMembers, MembersKnown, RoomMessage, RoomPosts, RoomQuestion, RoomSignal, RoomTail,
} from '../room-links.js'
import { RoomReports } from './reports.js'
import { lookMs } from './pace.js'
import { EdgeRoom } from './room.js'
import type { TailBounds } from './tail.js'
import type { RoomTracer } from './tracer.js'
import { RoomWriter } from './writer.js'

export interface EdgeRoomsDeps {
  readonly nodeId: string
  nodeEpoch (): number
  /** See `EdgeContext.ticks`. */
  ticks (): number
  readonly tickMs: number
  /** Of the stream `rooms`. */
  partitionOf (roomKey: string): number
  /** @throws GatewayError nothing was written */
  append (partition: number, entries: readonly RoomEntry[], options?: { readonly lazy: boolean }): Promise<unknown>
  ask (question: RoomQuestion): void
  answer (answer: MembersKnown): void
  /** Whether a message of the owner may be lost, so that it must be asked what there is. */
  readonly mayLose: boolean
  readonly limits: EdgeRoomsLimits
  /** Posts and signals that were written. */
  readonly count: { posts: number, signals: number }
  readonly tracer?: RoomTracer | undefined
}

export interface EdgeRoomsLimits {
  /** Rooms of one connection. */
  readonly roomsMax: number
  readonly tail: TailBounds
  /** Bytes of what is kept of all rooms; of the one that was silent for longest it goes first. */
  readonly tailsBytesMax: number
  /** Bytes queued for a member above which it gets no more posts until it has read. */
  readonly queuedBytesMax: number
  /** How long the posts of a room without members are still taken. */
  readonly lingerMs: number
  /** Rooms without members; the one that has been so for longest is left for another one. */
  readonly lingeringMax: number
}

/** What the owner of a room is given for its answer, and at most, while it does not. */
const answerMs = 2_000
const answerMsMax = 32_000

/** A room that this node does not want is left again after as long. */
const unwantedMs = 10_000
const unwantedMax = 1_000

/** What an answer may have, payloads alone: all that an owner keeps. */
const answerBytesMax = 1 << 20

/**
 * All rooms that this node has members of (design.md 12). It tells the ledger with the first member of a room and,
 * after a while, the last; it gives members what comes, each at its own pace, and asks the owner for what is missing,
 * once, however many members want it.
 *
 * Members are written to in turns of its own, never in those of connections.
 */
export class EdgeRooms {
  readonly #deps: EdgeRoomsDeps
  readonly #rooms = new Map<string, EdgeRoom>()
  readonly #writer: RoomWriter
  readonly #reports: RoomReports
  readonly #asking = new Set<EdgeRoom>()
  /** Without members, the one that has been so for longest first. */
  readonly #lingering = new Set<EdgeRoom>()
  readonly #unwanted = new Map<string, number>()
  #looked: Iterator<EdgeRoom> | undefined
  #interests = 0
  #timer: NodeJS.Timeout | undefined

  constructor (deps: EdgeRoomsDeps) {
    this.#deps = deps
    this.#writer = new RoomWriter(deps.limits, deps.count, {
      left: (room, connection) => { this.#leftBy(room, connection) },
      missing: room => { this.#ask(room) },
      passed: room => {
        deps.tracer?.passed(room)
        this.#reports.passed(room, deps.ticks())
      },
    })
    const { nodeId, nodeEpoch, append } = deps
    this.#reports = new RoomReports({ nodeId, nodeEpoch, append, has: room => this.#rooms.get(room.key) === room })
  }

  get rooms (): number { return this.#rooms.size }
  get roomsMax (): number { return this.#deps.limits.roomsMax }
  /** Bytes of posts that are kept. */
  get tailBytes (): number { return this.#writer.tailBytes }
  /** Of signals that wait for members to be written to. */
  get signalsBytes (): number { return this.#writer.signalsBytes }

  start (): void { this.#timer ??= setInterval(() => { this.sweep() }, 1_000) }

  /** Takes it in, or sets its place anew; `joined` or `left` follows. @param roomSeq see `Join` */
  join (connection: Connection, roomKey: string, roomSeq: number): EdgeRoom {
    let room = this.#rooms.get(roomKey)
    const isNew = room === undefined
    if (!room) {
      const { partitionOf, mayLose } = this.#deps
      room = new EdgeRoom(roomKey, userIdOf(roomKey), partitionOf(roomKey), mayLose, this.#writer.took)
      this.#rooms.set(roomKey, room)
    }
    room.wait(connection, roomSeq < 0 ? room.lastOf(connection) : roomSeq)
    room.emptyAt = -1
    this.#lingering.delete(room)
    if (isNew) this.#enter(room)
    else this.#writer.due(room)
    return room
  }

  /** It is no member any more. */
  leave (connection: Connection, room: EdgeRoom): void {
    if (room.remove(connection)) this.#leftBy(room, connection)
  }

  /** A client has read what was queued for it. */
  drained (connection: Connection): void { this.#writer.behind(connection) }

  received (message: RoomMessage | AskMembers): void {
    switch (message.type) {
      case 'roomPosts': this.#posted(message); return
      case 'roomTail': this.#answered(message); return
      case 'roomSignal': this.#signalled(message); return
      case 'askMembers': this.#deps.answer(this.#membersFor(message))
    }
  }

  /** Others have told the ledger that this node is gone: what it has joined, it joins anew. */
  startAnew (): void { for (const room of this.#rooms.values()) this.#enter(room) }

  /** Leaves all rooms. Resolves once that is in the ledger, or can not be. */
  async stop (): Promise<void> {
    clearInterval(this.#timer)
    this.#writer.stop()
    const byPartition = new Map<number, RoomEntry[]>()
    for (const room of this.#rooms.values()) {
      const entries = byPartition.get(room.partition) ?? []
      byPartition.set(room.partition, entries)
      entries.push(...this.#leaving(room))
    }
    this.#rooms.clear()
    await Promise.allSettled(Array.from(byPartition, ([partition, entries]) => this.#deps.append(partition, entries)))
  }

  /** Once a second: rooms that nobody wants, and answers that do not come. */
  sweep (): void {
    const now = this.#deps.ticks()
    for (const room of this.#lingering) {
      if (this.#ms(now - room.emptyAt) < this.#deps.limits.lingerMs) break
      this.#exit(room)
    }
    for (const room of this.#asking) {
      if (this.#ms(now - room.askedAt) < Math.min(answerMsMax, answerMs * 2 ** room.tries)) continue
      room.tries++
      // What was asked may be lost, or the interest: which of the two, a new interest need not know.
      this.#enter(room)
    }
    for (const [key, leftAt] of this.#unwanted) {
      if (this.#ms(now - leftAt) < unwantedMs) break
      this.#unwanted.delete(key)
    }
    this.#reports.sweep(now)
    this.#writer.forgetBefore(now - this.#deps.limits.tail.ageMaxMs / this.#deps.tickMs)
    if (this.#deps.mayLose) this.#look()
  }

  /** Asks for what may have been lost, some rooms at a time. */
  #look (): void {
    const nowMs = this.#ms(this.#deps.ticks())
    const count = Math.ceil(this.#rooms.size * 1_000 / lookMs)
    for (let i = 0; i < count; i++) {
      this.#looked ??= this.#rooms.values()
      const { value: room, done } = this.#looked.next()
      if (done) this.#looked = undefined
      else if (room.isOpen && !room.isEmpty && room.pace.isDue(nowMs)) this.#ask(room)
    }
  }

  #posted ({ roomId, posts }: RoomPosts): void {
    const room = this.#rooms.get(roomId)
    if (!room) {
      this.#leaveUnwanted(roomId)
      return
    }
    if (!room.isOpen) return // the answer that it waits for has them
    if (posts[0]!.roomSeq > room.tail.roomSeq + 1) {
      this.#ask(room)
      return
    }
    room.tail.append(posts)
    this.#deps.tracer?.received(room, posts)
    this.#heard(room)
    this.#writer.posted(room, this.#deps.ticks())
  }

  #heard (room: EdgeRoom): void { room.pace.heard(this.#ms(this.#deps.ticks())) }

  #answered (message: RoomTail): void {
    const room = this.#rooms.get(message.roomId)
    if (!room || room.interest !== message.interest) return
    this.#asking.delete(room)
    if (message.roomSeq !== room.tail.roomSeq) this.#heard(room)
    const { bytes } = room.tail
    if (!room.answer(message)) this.#enter(room)
    else if (room.tail.bytes > bytes) this.#writer.posted(room, this.#deps.ticks())
    else this.#writer.due(room)
  }

  #signalled ({ roomId, service, payload }: RoomSignal): void {
    const room = this.#rooms.get(roomId)
    if (!room) return
    const shared: SharedFrame = { frame: { op: 'signal', service, payload, roomId: room.roomId }, encoded: new Map() }
    this.#writer.signal(room, shared, payload.length + service.length)
  }

  #ask (room: EdgeRoom): void {
    if (room.isAsking) return
    const { nodeId, nodeEpoch, ask, ticks } = this.#deps
    const { key: roomId, partition, interest } = room
    this.#asking.add(room)
    const afterSeq = room.ask(ticks())
    ask({
      type: 'askRoom', roomId, partition, nodeId, nodeEpoch: nodeEpoch(), interest, afterSeq, bytesMax: answerBytesMax,
    })
  }

  /** Tells the ledger that this node wants the posts; the owner answers. What can't be stored is tried again. */
  #enter (room: EdgeRoom): void {
    const { nodeId, nodeEpoch, ticks } = this.#deps
    room.enter(++this.#interests, ticks())
    this.#heard(room)
    this.#asking.add(room)
    this.#append(room, { type: 'NodeJoined', nodeId, nodeEpoch: nodeEpoch(), interest: room.interest })
  }

  #exit (room: EdgeRoom): void {
    this.#lingering.delete(room)
    this.#asking.delete(room)
    this.#rooms.delete(room.key)
    this.#deps.append(room.partition, this.#leaving(room)).catch(() => {})
    this.#writer.forget(room)
    this.#reports.forget(room)
  }

  /** Its leaving was lost, or came while the owner was another one. */
  #leaveUnwanted (roomKey: string): void {
    if (this.#unwanted.has(roomKey) || this.#unwanted.size >= unwantedMax) return
    const { ticks, partitionOf, append } = this.#deps
    this.#unwanted.set(roomKey, ticks())
    append(partitionOf(roomKey), [this.#entry(roomKey, this.#leftFact(this.#interests))]).catch(() => {})
  }

  #leftBy (room: EdgeRoom, connection: Connection): void {
    connection.rooms?.left(room)
    if (!room.isEmpty || room.emptyAt >= 0) return
    room.emptyAt = this.#deps.ticks()
    this.#lingering.add(room)
    if (this.#lingering.size <= this.#deps.limits.lingeringMax) return
    const [oldest] = this.#lingering
    this.#exit(oldest!)
  }

  #membersFor ({ roomId, after, limit, askNodeId, askId }: AskMembers): MembersKnown {
    const all = this.#rooms.get(roomId)?.members
    const wanted: Connection[] = []
    // Who wants none asks how many there are.
    for (const connection of limit > 0 && all ? all.keys() : []) {
      if (connection.connectionId > after) wanted.push(connection)
    }
    const members = wanted.sort((one, other) => one.connectionId < other.connectionId ? -1 : 1).slice(0, limit)
      .map(({ userId, deviceId, connectionId }) => ({ userId, deviceId, connectionId }))
    return { type: 'membersKnown', nodeId: askNodeId, askId, members, total: all?.size ?? 0 }
  }

  /** What its members were given, and that this node wants no more. */
  #leaving (room: EdgeRoom): RoomEntry[] {
    return [...this.#reports.take(room), this.#entry(room.key, this.#leftFact(room.interest))]
  }

  #append (room: EdgeRoom, fact: RoomFact): void {
    this.#deps.append(room.partition, [this.#entry(room.key, fact)]).catch(() => {})
  }

  #leftFact (interest: number): RoomFact {
    const { nodeId, nodeEpoch } = this.#deps
    return { type: 'NodeLeft', nodeId, nodeEpoch: nodeEpoch(), interest, code: 'left' }
  }

  #entry (roomId: string, fact: RoomFact): RoomEntry { return { roomId, atMs: Date.now(), fact } }

  #ms (ticks: number): number { return ticks * this.#deps.tickMs }
}
