import type { RoomEntry } from '../../schemas/room-facts.js'
import { tickMs } from '../connection/lifetime.js'
import type { EdgeRoom } from './room.js'

export interface RoomReportsDeps {
  readonly nodeId: string
  nodeEpoch (): number
  /** Whether this node still has it. */
  has (room: EdgeRoom): boolean
  /** @throws GatewayError nothing was written */
  append (partition: number, entries: readonly RoomEntry[], options: { readonly lazy: boolean }): Promise<unknown>
}

/** A room is reported so long after its first post: its owner has its state in memory then. */
const firstMs = 1_000
/** And at most as often. */
const everyMs = 30_000
/** Rooms that one sweep reports, of which there is one a second; the others go with the next ones. */
const sweepMax = 100

/**
 * Tells the ledger up to which post the members of each room were given them: one `PostsDelivered` a room and 30 s,
 * however many posts and members there were. What has no report yet when the room is left is reported then.
 */
export class RoomReports {
  readonly #deps: RoomReportsDeps
  /** Those with posts that were given and not reported, and when that is due, ticks. */
  readonly #due = new Map<EdgeRoom, number>()

  constructor (deps: RoomReportsDeps) { this.#deps = deps }

  /** All members that read were given what there is. */
  passed (room: EdgeRoom, nowTicks: number): void {
    if (this.#due.has(room)) return
    const dueAt = nowTicks + firstMs / tickMs
    this.#due.set(room, room.reportedAt < 0 ? dueAt : Math.max(dueAt, room.reportedAt + everyMs / tickMs))
  }

  forget (room: EdgeRoom): void { this.#due.delete(room) }

  /** Once a second. */
  sweep (nowTicks: number): void {
    const byPartition = new Map<number, EdgeRoom[]>()
    let left = sweepMax
    for (const [room, dueAt] of this.#due) {
      if (left === 0) break
      if (dueAt > nowTicks) continue
      left--
      this.#due.delete(room)
      const rooms = byPartition.get(room.partition) ?? []
      byPartition.set(room.partition, rooms)
      rooms.push(room)
    }
    for (const [partition, rooms] of byPartition) {
      const entries = rooms.flatMap(room => this.take(room))
      for (const room of rooms) room.reportedAt = nowTicks
      this.#deps.append(partition, entries, { lazy: true }).catch(() => {
        for (const room of rooms) {
          room.reportedSeq = 0
          if (this.#deps.has(room)) this.passed(room, nowTicks)
        }
      })
    }
  }

  /** What is to be told of a room; nothing where all was told. */
  take (room: EdgeRoom): RoomEntry[] {
    const { key: roomId, interest, members, passedSeq: roomSeq } = room
    if (roomSeq <= room.reportedSeq) return []
    room.reportedSeq = roomSeq
    let behind = 0
    for (const place of members.values()) if (place < roomSeq) behind++
    const { nodeId, nodeEpoch } = this.#deps
    const fact = {
      type: 'PostsDelivered', nodeId, nodeEpoch: nodeEpoch(), interest, roomSeq, members: members.size, behind,
    } as const
    return [{ roomId, atMs: Date.now(), fact }]
  }
}
