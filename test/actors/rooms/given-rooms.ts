import type { Test } from 'tap'
import type { RoomTypes } from '../../../actors/rooms/kind.js'
import { rooms as roomsKind } from '../../../actors/rooms/kind.js'
import type { PartitionDeps } from '../../../actors/partition.js'
import { SlicedWork } from '../../../actors/sliced-work.js'
import { embeddedSnapshots } from '../../../actors/snapshots-embedded.js'
import type { RebuildableSnapshots } from '../../../actors/snapshots.js'
import { startActors } from '../../../actors/system.js'
import type { AskMembers, RoomMessage } from '../../../actors/room-links.js'
import type { UserTypes } from '../../../actors/user/actor.js'
import { users as usersKind } from '../../../actors/user/kind.js'
import { embeddedLog } from '../../../ledger/embedded/log.js'
import { openStore } from '../../../ledger/embedded/store.js'
import type { EventLog } from '../../../ledger/log.js'
import { localLinks } from '../../../actors/links.js'
import type { Posted } from '../../../schemas/records.js'
import type { RoomEntry, RoomFact } from '../../../schemas/room-facts.js'
import { posts, rooms } from '../../../schemas/streams.js'
import { limits } from '../given.js'
import { roomId as theRoom } from './given-room.js'

/** Users and rooms over one real store, with one partition each. */
export interface GivenRooms {
  readonly log: EventLog
  readonly snapshots: RebuildableSnapshots
  readonly links: ReturnType<typeof localLinks>
  readonly users: PartitionDeps<UserTypes>
  readonly rooms: PartitionDeps<RoomTypes>
  /** Sent to nodes with members, in short. */
  readonly sent: string[]
  readonly failures: string[]
  /** Node ids and epochs that are over. */
  readonly gone: Set<string>
  append (...facts: RoomFact[]): Promise<void>
  /** What the stream `rooms` holds, in short. */
  entries (): Promise<RoomEntry[]>
  published (): Promise<Posted[]>
  close (): Promise<void>
}

/** @param silenceMs after which nobody uses a room, for its walks */
export async function givenRooms (t: Test, directory: string, silenceMs = 0): Promise<GivenRooms> {
  const store = await openStore({ directory, headroomBytes: 1 << 16 })
  const system = startActors()
  t.teardown(async () => {
    await store.close() // gives the partitions back, for which their actors are needed
    system.stop()
  })
  const log = embeddedLog(store, { partitions: 1 })
  const snapshots = embeddedSnapshots(store, 'rooms')
  const sent: string[] = []
  const failures: string[] = []
  const gone = new Set<string>()
  const links = localLinks()
  links.members = message => { sent.push(inShort(message)) }
  const common = {
    system,
    links,
    limits,
    checkpoints: new SlicedWork(),
    folds: undefined,
    setAside: (_entry: unknown, _partition: number, _offset: bigint, { message }: Error) => { failures.push(message) },
    keySetAside: (key: string, _partition: number, _offset: bigint, { message }: Error) => {
      failures.push(`${key} was set aside: ${message}`)
    },
    derivedSetAside: (_item: unknown, _partition: number, { message }: Error) => { failures.push(message) },
    failed: (what: string, { message }: Error) => { failures.push(`${what}: ${message}`) },
  }
  return {
    log,
    snapshots,
    links,
    sent,
    failures,
    gone,
    users: {
      ...common,
      kind: usersKind({
        log,
        settled () {},
        resumeBytesMax: limits.resumeBytesMax,
        postSetAside ({ roomId }, { message }) { failures.push(`${roomId}: ${message}`) },
      }),
      log,
      snapshots: embeddedSnapshots(store),
    },
    rooms: {
      ...common,
      kind: roomsKind({
        log,
        saved: snapshots,
        silenceMs,
        isGone: (nodeId, nodeEpoch) => gone.has(`${nodeId} ${nodeEpoch}`),
      }),
      log,
      snapshots,
    },
    async append (...facts) {
      await log.append(rooms, 0, facts.map(fact => ({ roomId: theRoom, atMs: 1, fact })))
    },
    async entries () {
      const found: RoomEntry[] = []
      for await (const { items } of log.read(rooms, 0, { from: 0n })) found.push(...items)
      return found
    },
    async published () {
      const found: Posted[] = []
      for await (const { items } of log.read(posts, 0, { from: 0n })) found.push(...items)
      return found
    },
    close: () => store.close(),
  }
}

export function inShort (message: RoomMessage | AskMembers): string {
  const { nodeId } = message
  switch (message.type) {
    case 'roomPosts': return `posts ${nodeId} ${message.posts.map(({ roomSeq }) => roomSeq).join(',')}`
    case 'roomTail': {
      const { interest, roomSeq, keptAfter, closed, reason } = message
      return `tail ${nodeId} interest ${interest} ${keptAfter}..${roomSeq}${closed ? ` closed: ${reason}` : ''}`
    }
    case 'roomSignal': return `signal ${nodeId} ${message.service}`
    default: return message.type
  }
}
