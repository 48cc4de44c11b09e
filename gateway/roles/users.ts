import type { Logger } from 'pino'
import { startOwner } from '../../actors/owner.js'
import { partitionLimits } from '../../actors/partition-limits.js'
import { rooms as roomsKind } from '../../actors/rooms/kind.js'
import { SlicedWork } from '../../actors/sliced-work.js'
import type { ActorSystem } from '../../actors/system.js'
import { users as usersKind } from '../../actors/user/kind.js'
import type { WaitProbe } from '../../actors/wait-probe.js'
import type { Health } from '../../schemas/conditions.js'
import { ledger, rooms as roomsStream } from '../../schemas/streams.js'
import { neededFrom } from '../ledger-needs.js'
import type { GatewayMetrics } from '../metrics.js'
import type { NodeTable } from '../node-table.js'
import { PartitionWatch } from '../partition-watch.js'
import type { SetAsides } from '../set-asides.js'
import type { Stores } from '../stores.js'
import { StreamCut, type StreamCutDeps } from '../stream-cut.js'
import type { Tracing } from '../tracing/tracing.js'
import { ofRooms, ofUsers, postOfUplink } from './actor-set-asides.js'

export interface UsersRoleDeps {
  readonly stores: Stores
  readonly system: ActorSystem
  readonly metrics: Pick<GatewayMetrics, 'settled'>
  readonly asides: SetAsides
  readonly logger: Logger
  readonly health: Health
  /** How long entries wait for the actors of users. */
  readonly folds: WaitProbe
  readonly nodeTable: Pick<NodeTable, 'hasEnded'>
  /** After which a room that nobody uses lets go of its last posts; 0 for never. */
  readonly roomSilenceMs: number
  /** Undefined where nothing is traced. */
  readonly tracing?: Tracing | undefined
}

/** What the `users` role of a node has in memory. */
export interface UsersRole {
  activeUsers (): number
  activeRooms (): number
  /** Gives every partition back, saved. */
  stop (): Promise<void>
}

/** Owns this node's share of the partitions of the ledger and of rooms, and runs the actors of both. */
export async function startUsersRole ({
  stores, system, metrics, asides, logger, health, folds, nodeTable, roomSilenceMs, tracing,
}: UsersRoleDeps): Promise<UsersRole> {
  const { log, snapshots, roomSnapshots, tables, links } = stores
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const common = { log, system, links, limits: partitionLimits, checkpoints: new SlicedWork(), failed }

  const users = await startOwner(log, {
    ...common,
    ...ofUsers(asides, tracing),
    kind: usersKind({
      log,
      settled: metrics.settled,
      resumeBytesMax: partitionLimits.resumeBytesMax,
      postSetAside: postOfUplink(asides, tracing),
    }),
    snapshots,
    folds,
  })
  links.users = question => { users.ask(question) }

  const rooms = await startOwner(log, {
    ...common,
    ...ofRooms(asides, tracing),
    kind: roomsKind({
      log,
      saved: roomSnapshots,
      silenceMs: roomSilenceMs,
      isGone: (nodeId, nodeEpoch) => nodeTable.hasEnded(nodeId, nodeEpoch),
    }),
    snapshots: roomSnapshots,
    folds: undefined,
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
  /** None where the log itself deletes what is old. */
  const cutsOf = (deps: Pick<StreamCutDeps, 'stream' | 'progress' | 'neededFrom'>): StreamCut[] => {
    const cutting = stores.cutting?.(deps.stream.name)
    return cutting ? [new StreamCut({ ...cutting, ...deps, health })] : []
  }
  const cuts = [
    ...cutsOf({
      stream: ledger,
      progress: () => users.progress(),
      neededFrom: (partition, saved) => neededFrom(partition, saved, tables),
    }),
    ...cutsOf({
      stream: roomsStream,
      progress: () => rooms.progress(),
      neededFrom: (_partition, saved) => ({ who: 'what is saved of rooms', next: saved }),
    }),
  ]
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
