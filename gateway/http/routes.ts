import type { FastifyInstance } from 'fastify'
import type { Role } from '../config.js'
import { loadRoutes } from '../console/load-routes.js'
import { type ConsoleOptions, consoleRoutes } from '../console/routes.js'
import { auditsRoutes } from './audits.js'
import type { AuditsOptions } from './audits.js'
import { backupsRoutes } from './backups.js'
import type { BackupsOptions } from './backups.js'
import { bansRoutes } from './bans.js'
import type { BansOptions } from './bans.js'
import { broadcastsRoutes } from './broadcasts.js'
import type { BroadcastsOptions } from './broadcasts.js'
import { connectionsRoutes } from './connections.js'
import type { ConnectionsOptions } from './connections.js'
import { downlinksRoutes } from './downlinks.js'
import type { DownlinksOptions } from './downlinks.js'
import { groupsRoutes, type GroupsOptions } from './groups.js'
import { operationsRoutes } from './health.js'
import type { HealthOptions, MetricsOptions, OperationsOptions } from './health.js'
import { historyRoutes } from './history.js'
import { ipConfigRoutes } from './ip-config.js'
import type { IpConfigOptions } from './ip-config.js'
import { keysRoutes } from './keys.js'
import type { KeysOptions } from './keys.js'
import { refuseForRole } from './known-paths.js'
import { lagRoutes } from './lag.js'
import type { LagOptions } from './lag.js'
import { logRoutes } from './log.js'
import type { LogOptions } from './log.js'
import { membershipsRoutes } from './memberships.js'
import type { MembershipsOptions } from './memberships.js'
import { nodesRoutes } from './nodes.js'
import type { NodesOptions } from './nodes.js'
import { presenceRoutes } from './presence.js'
import type { PresenceOptions } from './presence.js'
import { rebuildsRoutes } from './rebuilds.js'
import type { RebuildsOptions } from './rebuilds.js'
import { recallsRoutes } from './recalls.js'
import type { RecallsOptions } from './recalls.js'
import { redeliveriesRoutes } from './redeliveries.js'
import type { RedeliveriesOptions } from './redeliveries.js'
import { type RoomPostsOptions, roomPostsRoute } from './room-posts.js'
import { roomsRoutes } from './rooms.js'
import type { RoomsOptions } from './rooms.js'
import { connectPath } from './sockets.js'
import { stateRoutes } from './state.js'
import type { StateOptions } from './state.js'
import { streamsRoutes } from './streams.js'
import { timelineRoutes } from './timeline.js'
import type { TimelineOptions } from './timeline.js'
import { topicsRoutes } from './topics.js'
import type { TopicsOptions } from './topics.js'
import { traceRoutes } from './trace.js'
import type { TraceOptions } from './trace.js'
import { webhooksRoutes } from './webhooks.js'
import type { WebhooksOptions } from './webhooks.js'

/** All that the routes ask for; gateway/api.ts gives it. */
export interface RoutesDeps extends
  IpConfigOptions, DownlinksOptions, PresenceOptions, ConnectionsOptions, TraceOptions, LogOptions, NodesOptions,
  HealthOptions, OperationsOptions, MetricsOptions, StateOptions, RedeliveriesOptions, LagOptions, TopicsOptions,
  RebuildsOptions, BackupsOptions, BansOptions, BroadcastsOptions, MembershipsOptions, RoomsOptions, RoomPostsOptions,
  WebhooksOptions, GroupsOptions, TimelineOptions, RecallsOptions, KeysOptions, AuditsOptions {
  /** Of this node: its HTTP side has the routes of these, besides health, metrics and the node table. */
  readonly roles: readonly Role[]
  /** Of a node with the role `console`. */
  readonly console?: ConsoleOptions | undefined
}

/** The WebSockets of a node with an edge are added by that. */
export function addClientRoutes (app: FastifyInstance, deps: RoutesDeps): void {
  addForRole(app, deps, 'ip-config', ipConfigRoutes)
  if (!deps.roles.includes('edge')) app.register(noConnectRoute)
}

export function addApiRoutes (app: FastifyInstance, deps: RoutesDeps): void {
  for (const [role, routes] of Object.entries(apiRoutesOfRoles)) addForRole(app, deps, role as Role, routes)
  app.register(nodesRoutes, deps)
  app.register(lagRoutes, deps)
  app.register(topicsRoutes, deps)
  app.register(backupsRoutes, deps)
  app.register(keysRoutes, deps)
  app.register(operationsRoutes, deps)
}

export function addConsoleRoutes (app: FastifyInstance, options: ConsoleOptions, wantsCertificate: boolean): void {
  app.register(async scope => await consoleRoutes(scope, options, wantsCertificate))
}

type Routes = (app: FastifyInstance, deps: RoutesDeps) => Promise<void>

/** Routes that a node has only with their role; it says so where it lacks that. */
function addForRole (app: FastifyInstance, deps: RoutesDeps, role: Role, routes: Routes): void {
  app.register(async scope => {
    if (!deps.roles.includes(role)) refuseForRole(scope, role)
    await routes(scope, deps)
  })
}

const apiRoutesOfRoles: Partial<Record<Role, Routes>> = {
  async push (app, deps) {
    await downlinksRoutes(app, deps)
    await recallsRoutes(app, deps)
    await broadcastsRoutes(app, deps)
    await presenceRoutes(app, deps)
    await connectionsRoutes(app, deps)
    await bansRoutes(app, deps)
    await membershipsRoutes(app, deps)
    await roomsRoutes(app, deps)
    await roomPostsRoute(app, deps)
    await traceRoutes(app, deps)
    await stateRoutes(app, deps)
    await timelineRoutes(app, deps)
    await redeliveriesRoutes(app, deps)
    await auditsRoutes(app, deps)
    await historyRoutes(app, deps)
    await logRoutes(app, deps)
    await streamsRoutes(app, deps)
    await groupsRoutes(app, deps)
  },
  projections: rebuildsRoutes,
  async console (app, { console }) { loadRoutes(app, console) },
  webhooks: webhooksRoutes,
}

/** Where the edge has its WebSockets, for a node that has no edge. */
async function noConnectRoute (app: FastifyInstance): Promise<void> {
  refuseForRole(app, 'edge')
  app.get(connectPath, { config: { browsers: true } }, async () => {})
}
