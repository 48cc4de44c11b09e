import { startActors } from '../../actors/system.js'
import type { EventLog } from '../../ledger/log.js'
import { ledger, nodes } from '../../schemas/streams.js'
import { keyFilesOf } from '../apps.js'
import { Broadcasts } from '../broadcasts/broadcasts.js'
import type { Role } from '../config.js'
import { Console } from '../console/console.js'
import { Groups } from '../groups/groups.js'
import { tokenIssuers } from '../issuers.js'
import { isPath } from '../json-setting.js'
import { type FollowerLag, lagOf, type LagOptions } from '../lag.js'
import { NodeLoad } from '../load.js'
import { NodeTable } from '../node-table.js'
import { endConnections, endNodes } from '../orphans.js'
import { Push } from '../push.js'
import { EdgeRole } from '../roles/edge.js'
import { type Projections, startProjectionsRole } from '../roles/projections.js'
import { startUsersRole, type UsersRole } from '../roles/users.js'
import { WebhooksRole } from '../roles/webhooks.js'
import { RoomQuestions } from '../room-questions.js'
import { Rooms } from '../rooms.js'
import { streamRules } from '../stream-rules.js'
import { tracersOf } from '../tracing/edge.js'
import { TracedLog } from '../tracing/log.js'
import { TracedRequests } from '../tracing/requests.js'
import { startTracing } from '../tracing/start.js'
import { watchApps } from '../watched-apps.js'
import { webhooksIn } from '../webhooks/setting.js'
import type { Base } from './base.js'

/** What a node does. A role that it does not have is undefined. */
export interface Roles {
  readonly load: NodeLoad
  readonly nodeTable: NodeTable
  readonly projections: Projections | undefined
  readonly users: UsersRole | undefined
  readonly edge: EdgeRole | undefined
  readonly webhooks: WebhooksRole | undefined
  readonly console: Console | undefined
  /** These answer requests; which routes there are, the roles of the node say (http/server.ts). */
  readonly push: Push
  readonly rooms: Rooms
  readonly roomQuestions: RoomQuestions
  readonly broadcasts: Broadcasts
  readonly groups: Groups
  /** Who is behind. */
  readonly lag: () => Promise<readonly FollowerLag[]>
  /** Undefined where nothing is traced. */
  readonly requests: TracedRequests | undefined
}

/** How old a node's copy of the node table may get. */
const nodeTableMaxMs = 5_000

/** Starts the roles in the order of what they need of each other: tables, users, edges, and what requests ask for. */
export async function startRoles (base: Base): Promise<Roles> {
  const { config, version, identity, stores, apps, apiKeys, logger, metrics, health, asides, closers, failed } = base
  const { log, links } = stores
  const has = (role: Role) => config.roles.includes(role)

  const projections = has('projections') ? await startProjectionsRole({ stores, asides, logger, health }) : undefined
  closers.add(() => projections?.stop())
  const load = new NodeLoad(config.overloadWaitMs, health)
  closers.add(load.start())
  const system = startActors()
  closers.add(() => { system.stop() })
  const nodeTable = openNodeTable(base)
  const tracing = await startTracing({ config, links, nodeTable, version, logger })
  metrics.observeSpans(() => tracing?.spans.lost ?? 0)
  closers.add(() => tracing?.spans.stop())
  const traced = tracing ? { ...stores, log: new TracedLog(log, tracing) } : stores
  const users = has('users')
    ? await startUsersRole({
      stores: traced,
      system,
      metrics,
      asides,
      logger,
      health,
      folds: load.folds,
      nodeTable,
      roomSilenceMs: config.roomSilenceMs,
      tracing,
    })
    : undefined
  closers.add(() => users?.stop())
  if (!stores.shared) await endWhatWasOpen(base, projections)

  const edge = has('edge')
    ? new EdgeRole({ ...base, system, nodeTable, load, tracers: tracing && tracersOf(tracing) })
    : undefined
  const push = pushOf(base, traced.log)
  const requests = tracing && new TracedRequests(tracing)
  const roomQuestions = new RoomQuestions({ log, links, nodeId: identity.nodeId })
  const rooms = new Rooms({ log: traced.log, links, known: push.known, questions: roomQuestions })
  const webhooks = has('webhooks')
    ? await WebhooksRole.start({
      given: config.webhooks,
      log,
      places: stores.groupPlaces,
      push: command => requests?.push(command, 'internal', () => push.push(command)) ?? push.push(command),
      apps,
      health,
      version,
      frameBytesMax: config.frameBytesMax,
      registry: metrics.registry,
      failed,
    })
    : undefined
  closers.add(() => webhooks?.stop())
  followApps(base)
  const broadcasts = new Broadcasts({ log: traced.log, identity, nodeTable, edge: edge?.broadcasts, health })
  closers.add(() => broadcasts.stop())
  if (has('edge') || has('push')) await broadcasts.start()
  const groups = new Groups({ log, places: stores.groupPlaces, links, nodeId: identity.nodeId, failed })
  closers.add(() => groups.stop())
  const followed = { ...stores, groups: () => [...stores.groups(), ...webhooks?.groups() ?? []] }
  const lag = (options?: LagOptions) => lagOf(followed, { ...options, readGroups: groups })
  const console = has('console')
    ? new Console({ apiKeys, nodeTable, lag: () => lag({ reads: 'nothing' }) })
    : undefined
  closers.add(console?.start() ?? (() => {}))
  return {
    load,
    nodeTable,
    projections,
    users,
    edge,
    webhooks,
    console,
    push,
    rooms,
    roomQuestions,
    broadcasts,
    groups,
    lag,
    requests,
  }
}

function openNodeTable ({ config, stores: { log, tables }, health, closers }: Base): NodeTable {
  const nodeTable = new NodeTable(tables, log.partitions(nodes), config.heartbeatMs, health)
  // Also while nobody asks: the list that is served when the store is away must not be that of the start.
  const refreshing = setInterval(() => nodeTable.rows(), nodeTableMaxMs)
  closers.add(() => { clearInterval(refreshing) })
  return nodeTable
}

/** Sockets do not outlive their process: whatever the tables still show open was opened by an earlier one. */
async function endWhatWasOpen (
  { config, stores: { log, tables } }: Base, projections: Projections | undefined
): Promise<void> {
  await projections?.caughtUp()
  const partitions = Array.from({ length: log.partitions(ledger) }, (_, partition) => partition)
  await endNodes(log, tables)
  const { presenceGraceMs } = config
  await endConnections({ log, tables, presenceGraceMs }, partitions, () => true, 'the node has started again')
}

/** Has the apps be those of their file, where they are in one. */
function followApps ({ config, apps, keyFiles, health, logger, closers }: Base): void {
  const path = config.apps
  if (path === undefined || !isPath(path)) return
  closers.add(watchApps({
    path,
    apps,
    ours: tokenIssuers(config),
    isAsked: config.authUrl !== undefined,
    check (now) {
      keyFiles.check(keyFilesOf(now))
      webhooksIn(config.webhooks, app => app === '' || now.some(({ name }) => name === app))
    },
    health,
    logger,
  }))
}

function pushOf ({ config, stores: { tables, links }, identity, apps }: Base, log: EventLog): Push {
  return new Push({
    log,
    tables,
    links,
    nodeId: identity.nodeId,
    outboxBytesMax: app => apps.outboxBytesMax(app, config.outboxBytesMax),
    ...streamRules(config),
  })
}
