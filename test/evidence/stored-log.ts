import type { Test } from 'tap'
import { type EmbeddedLog, embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { formatPosition } from '../../ledger/log.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { NodeEntry } from '../../schemas/node-facts.js'
import type { Posted, UplinkAccepted } from '../../schemas/records.js'
import type { RoomFact } from '../../schemas/room-facts.js'
import { ledger, nodes, posts, rooms, uplinks } from '../../schemas/streams.js'

const partitions = 2

/** A real log in a directory of the test's own, whose clock goes by the entries that are put in. */
export class StoredLog {
  nowMs = 0
  readonly log: EmbeddedLog

  /** @param retentionMs of the ledger and of `rooms` */
  static async open (t: Test, retentionMs?: number): Promise<StoredLog> {
    const directory = t.testdir()
    const store = await openStore({ directory, headroomBytes: 1 << 20 })
    t.teardown(() => store.close())
    return new StoredLog(directory, log => embeddedLog(store, log), () => store.close(), retentionMs)
  }

  private constructor (
    readonly directory: string, open: (options: object) => EmbeddedLog, readonly close: () => Promise<void>,
    retentionMs: number | undefined
  ) {
    this.log = open({
      partitions,
      now: () => this.nowMs,
      ...retentionMs === undefined
        ? {}
        : { streams: { [ledger.name]: { retentionMs }, [rooms.name]: { retentionMs } } },
    })
  }

  /** One block for each entry; gives the last one's position. */
  async put (...entries: readonly Entry[]): Promise<string> {
    let position = ''
    for (const entry of entries) {
      this.nowMs = Math.max(this.nowMs, entry.atMs)
      position = formatPosition(await this.log.append(ledger, partitionOf(entry.userId, partitions), [entry]))
    }
    return position
  }

  /** The same for facts of one user, at a time. */
  async at (atMs: number, userId: string, ...facts: readonly Fact[]): Promise<string> {
    return await this.put(...facts.map(fact => ({ userId, atMs, fact })))
  }

  async publish (...items: readonly UplinkAccepted[]): Promise<void> {
    for (const item of items) await this.log.append(uplinks, partitionOf(item.userId, partitions), [item])
  }

  /** Facts of one room at a time, a block each; gives the last one's position. */
  async room (atMs: number, roomId: string, ...facts: readonly RoomFact[]): Promise<string> {
    this.nowMs = Math.max(this.nowMs, atMs)
    let position = ''
    for (const fact of facts) {
      const [partition, entry] = [partitionOf(roomId, partitions), { roomId, atMs, fact }]
      position = formatPosition(await this.log.append(rooms, partition, [entry]))
    }
    return position
  }

  async publishPosts (...items: readonly Posted[]): Promise<void> {
    for (const item of items) await this.log.append(posts, partitionOf(item.roomId, partitions), [item])
  }

  async node (...entries: readonly NodeEntry[]): Promise<void> {
    for (const entry of entries) {
      this.nowMs = Math.max(this.nowMs, entry.atMs)
      await this.log.append(nodes, partitionOf(entry.nodeId, partitions), [entry])
    }
  }

  /** All of the ledger. */
  async everything (): Promise<Array<{ partition: number, from: bigint, to: bigint }>> {
    return await Promise.all(Array.from({ length: partitions }, async (_, partition) => {
      const { first, next } = await this.log.bounds(ledger, partition)
      return { partition, from: first, to: next }
    }))
  }
}
