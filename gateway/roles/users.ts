import type { Logger } from 'pino'
import { startOwner } from '../../actors/owner.js'
import { partitionLimits } from '../../actors/partition-limits.js'
import { rooms as roomsKind } from '../../actors/rooms/kind.js'
import { SlicedWork } from '../../actors/sliced-work.js'
import type { ActorSystem } from '../../actors/system.js'
import { users as usersKind } from '../../actors/user/kind.js'
import type { WaitProbe } from '../../actors/wait-probe.js'
import { type Rejected, rejectedRecord, rejectedStream } from '../../ledger/rejected.js'
import { ledger, posts, rooms as roomsStream, type Stream } from '../../schemas/streams.js'
import type { Health } from '../../schemas/conditions.js'
import type { RoomEntry } from '../../schemas/room-facts.js'
import { neededFrom } from '../ledger-needs.js'
import type { GatewayMetrics, SetAside } from '../metrics.js'
import type { NodeTable } from '../node-table.js'
import { PartitionWatch } from '../partition-watch.js'
import type { Stores } from '../stores.js'
import { StreamCut } from '../stream-cut.js'
import { traceOfItem } from '../tracing/logged.js'
import type { Tracing } from '../tracing/tracing.js'

/** What the `users` role of a node has in memory. */
export interface UsersRole {
  activeUsers (): number
  activeRooms (): number
  /** Gives every partition back, saved. */
  stop (): Promise<void>
}

const nothing = new Uint8Array(0)

/** What one record of a stream that is derived from the ledger is called in metrics. */
const recordNames: Readonly<Record<string, SetAside>> = {
  uplinks: 'uplink', presence: 'presence', receipts: 'receipt', offline: 'hand-over',
}

/** Owns this node's share of the partitions of the ledger and of rooms, and runs the actors of both. */
export async function startUsersRole (
  stores: Stores, system: ActorSystem, metrics: GatewayMetrics, logger: Logger, health: Health, folds: WaitProbe,
  nodeTable: Pick<NodeTable, 'hasEnded'>, silenceMs: number, tracing?: Tracing
): Promise<UsersRole> {
  const { log, snapshots, roomSnapshots, tables, links, cutting } = stores
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const record = (stream: Stream<any>, what: SetAside, partition: number, record: Rejected) => {
    metrics.setAside(what)
    const rejected = rejectedStream(stream)
    log.append(rejected, partition % log.partitions(rejected), [record], { lazy: true, reserved: true })
      .catch(err => { failed('what was set aside could not be recorded', err, { what, reason: record.reason }) })
  }
  const common = { log, system, links, limits: partitionLimits, checkpoints: new SlicedWork(), failed }

  const postSetAside = (post: RoomEntry, error: Error) => {
    const { roomId } = post
    logger.error({ err: error, roomId, ...traceOfItem(tracing, roomsStream, post) }, 'a post was set aside')
    const reason = `a post of an uplink can not be stored: ${error.message}`
    record(roomsStream, 'post', 0, { ...rejectedRecord(nothing, '', reason, Date.now()), userId: roomId })
  }
  const users = await startOwner(log, {
    ...common,
    kind: usersKind({ log, settled: metrics.settled, resumeBytesMax: partitionLimits.resumeBytesMax, postSetAside }),
    snapshots,
    folds,
    setAside (entry, partition, offset, error) {
      const position = `${partition}@${offset}`
      const { userId } = entry
      const trace = traceOfItem(tracing, ledger, entry)
      logger.error({ err: error, userId, fact: entry.fact.type, position, ...trace }, 'an entry was set aside')
      record(ledger, 'entry', partition, rejectedRecord(ledger.encodeBlock([entry]), position, error.message, Date.now()))
    },
    keySetAside (userId, partition, offset, error) {
      const position = `${partition}@${offset}`
      logger.error({ err: error, userId, position }, 'a user was set aside: nothing of theirs is folded any more')
      const reason = `the state of this user can not be used, so none of their entries is folded: ${error.message}`
      record(ledger, 'user', partition, { ...rejectedRecord(nothing, position, reason, Date.now()), userId })
    },
    derivedSetAside (item, partition, error, stream) {
      const { userId } = item
      const messageId = stream.messageId!(item)
      const about = { userId, messageId, partition, stream: stream.name, ...traceOfItem(tracing, stream, item) }
      logger.error({ err: error, ...about }, 'a derived record was set aside')
      const reason = `record ${messageId} of the stream can not be published: ${error.message}`
      record(stream, recordNames[stream.name]!, partition, {
        ...rejectedRecord(nothing, `${partition}`, reason, Date.now()), userId,
      })
    },
  })
  links.users = question => { users.ask(question) }

  const rooms = await startOwner(log, {
    ...common,
    kind: roomsKind({
      log,
      saved: roomSnapshots,
      silenceMs,
      isGone: (nodeId, nodeEpoch) => nodeTable.hasEnded(nodeId, nodeEpoch),
    }),
    snapshots: roomSnapshots,
    folds: undefined,
    setAside (entry, partition, offset, error) {
      const position = `${partition}@${offset}`
      const { roomId } = entry
      const about = { roomId, fact: entry.fact.type, position, ...traceOfItem(tracing, roomsStream, entry) }
      logger.error({ err: error, ...about }, 'an entry of a room was set aside')
      const rejected = rejectedRecord(roomsStream.encodeBlock([entry]), position, error.message, Date.now())
      record(roomsStream, 'room-entry', partition, rejected)
    },
    keySetAside (roomId, partition, offset, error) {
      const position = `${partition}@${offset}`
      logger.error({ err: error, roomId, position }, 'a room was set aside: nothing of it is folded any more')
      const reason = `the state of this room can not be used, so none of its entries is folded: ${error.message}`
      record(roomsStream, 'room', partition, { ...rejectedRecord(nothing, position, reason, Date.now()), userId: roomId })
    },
    derivedSetAside (post, partition, error) {
      const { roomId, roomSeq } = post
      const about = { roomId, roomSeq, partition, ...traceOfItem(tracing, posts, post) }
      logger.error({ err: error, ...about }, 'a post was set aside')
      const reason = `post ${roomSeq} of the room can not be published: ${error.message}`
      record(posts, 'post', partition, { ...rejectedRecord(nothing, `${partition}`, reason, Date.now()), userId: roomId })
    },
  })
  links.rooms = question => { rooms.ask(question) }

  const watches = [
    new PartitionWatch({
      log,
      health,
      stream: ledger,
      conditions: { folding: 'users', publishing: 'uplinks' },
      progress: () => users.progress(),
    }),
    new PartitionWatch({
      log,
      health,
      stream: roomsStream,
      conditions: { folding: 'rooms', publishing: 'posts' },
      progress: () => rooms.progress(),
    }),
  ]
  const cuts: StreamCut[] = []
  const ledgerCutting = cutting?.(ledger.name)
  if (ledgerCutting) {
    cuts.push(new StreamCut({
      ...ledgerCutting,
      stream: ledger,
      health,
      progress: () => users.progress(),
      neededFrom: (partition, saved) => neededFrom(partition, saved, tables),
    }))
  }
  const roomsCutting = cutting?.(roomsStream.name)
  if (roomsCutting) {
    cuts.push(new StreamCut({
      ...roomsCutting,
      stream: roomsStream,
      health,
      progress: () => rooms.progress(),
      neededFrom: (_partition, saved) => ({ who: 'what is saved of rooms', next: saved }),
    }))
  }
  for (const cut of cuts) cut.start()
  return {
    activeUsers: () => users.active(),
    activeRooms: () => rooms.active(),
    async stop () {
      for (const each of [...watches, ...cuts]) await each.stop()
      // What users post is given to rooms first.
      await users.stop()
      await rooms.stop()
    },
  }
}
