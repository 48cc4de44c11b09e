import fastifySwagger from '@fastify/swagger'
import fastify, { LogController } from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { GatewayError } from '../../schemas/errors.js'
import { Apps } from '../apps.js'
import type { Role } from '../config.js'
import { type AddressList, resolve } from '../edge/clients.js'
import type { OriginRule } from '../origins.js'
import type { Listener, ServerTls } from '../server-tls.js'
import type { ApiKeys } from '../keys/api-keys.js'
import { loadRoutes } from '../console/load-routes.js'
import { type ConsoleOptions, consoleRoutes } from '../console/routes.js'
import { giveAccess, type Side } from './access.js'
import { auditsRoutes } from './audits.js'
import type { AuditsOptions } from './audits.js'
import { type AuthOptions, requireApiKeys } from './auth.js'
import { backupsRoutes } from './backups.js'
import type { BackupsOptions } from './backups.js'
import { bansRoutes } from './bans.js'
import type { BansOptions } from './bans.js'
import { bodyBytesMax } from './body.js'
import { broadcastsRoutes } from './broadcasts.js'
import type { BroadcastsOptions } from './broadcasts.js'
import { answerBrowsers, safeHeaders } from './browsers.js'
import { connectionsRoutes } from './connections.js'
import type { ConnectionsOptions } from './connections.js'
import { beginInTime, withDeadlines } from './deadlines.js'
import { downlinksRoutes } from './downlinks.js'
import type { DownlinksOptions } from './downlinks.js'
import { answerClientError, answerError, errorSchema } from './errors.js'
import { groupsRoutes, type GroupsOptions } from './groups.js'
import { healthRoutes, metricsRoute, operationsRoutes } from './health.js'
import type { HealthOptions, MetricsOptions, OperationsOptions } from './health.js'
import { historyRoutes } from './history.js'
import { ipConfigRoutes } from './ip-config.js'
import type { IpConfigOptions } from './ip-config.js'
import { keysRoutes } from './keys.js'
import type { KeysOptions } from './keys.js'
import { answerStrangePaths, refuseForRole } from './known-paths.js'
import { lagRoutes } from './lag.js'
import type { LagOptions } from './lag.js'
import { fillerOf } from './line-formats.js'
import { logRoutes } from './log.js'
import type { LogOptions } from './log.js'
import { membershipsRoutes } from './memberships.js'
import type { MembershipsOptions } from './memberships.js'
import { nodesRoutes } from './nodes.js'
import type { NodesOptions } from './nodes.js'
import { presenceRoutes } from './presence.js'
import type { PresenceOptions } from './presence.js'
import { keepAwake } from './readers.js'
import type { Proxied } from './proxied.js'
import { rebuildsRoutes } from './rebuilds.js'
import type { RebuildsOptions } from './rebuilds.js'
import { recallsRoutes } from './recalls.js'
import type { RecallsOptions } from './recalls.js'
import { redeliveriesRoutes } from './redeliveries.js'
import type { RedeliveriesOptions } from './redeliveries.js'
import { type RoomPostsOptions, roomPostsRoute } from './room-posts.js'
import { roomsRoutes } from './rooms.js'
import type { RoomsOptions } from './rooms.js'
import { ajvRules } from './shapes.js'
import {
  boundedServer, boundUpgrades, connectPath, countFor, endIdle, endIfNoWebSocket, isUpgrade, socketLimits,
  strangersIdleMs, vouchFor,
} from './sockets.js'
import type { SocketLimits } from './sockets.js'
import { stateRoutes } from './state.js'
import type { StateOptions } from './state.js'
import { streamsRoutes } from './streams.js'
import { describeInvalid, parseJsonStrictly, refuseUnknownParameters, requireHttp11 } from './strict.js'
import { timelineRoutes } from './timeline.js'
import type { TimelineOptions } from './timeline.js'
import { topicsRoutes } from './topics.js'
import type { TopicsOptions } from './topics.js'
import { parseTraceparent } from '../tracing/context.js'
import { loggedTrace } from '../tracing/logged.js'
import { traceRoutes } from './trace.js'
import type { TraceOptions } from './trace.js'
import { webhooksRoutes } from './webhooks.js'
import type { WebhooksOptions } from './webhooks.js'

/** All that the routes ask for; gateway/api.ts gives it. */
export interface HttpDeps extends
  IpConfigOptions, DownlinksOptions, PresenceOptions, ConnectionsOptions, TraceOptions, LogOptions, NodesOptions,
  HealthOptions, OperationsOptions, MetricsOptions, StateOptions, RedeliveriesOptions, LagOptions, TopicsOptions,
  RebuildsOptions, BackupsOptions, BansOptions, BroadcastsOptions, MembershipsOptions, RoomsOptions, RoomPostsOptions,
  WebhooksOptions, GroupsOptions, TimelineOptions, RecallsOptions, KeysOptions, AuditsOptions {
  readonly logger: Logger
  /** Whose port it is; that of all by default. */
  readonly side?: Side
  /** On the port of the API `/metrics` is for everybody. */
  readonly metricsOpen?: boolean
  /** Lines of the log about a request name the trace that it is part of. */
  readonly logsTraces?: boolean
  /** Of this node: its HTTP side has the routes of these, besides health, metrics and the node table. */
  readonly roles: readonly Role[]
  readonly apiKeys: ApiKeys
  /** None by default. */
  readonly apps?: Apps
  /** Told of each request that wants a key. */
  readonly requestCounted?: AuthOptions['counted']
  /** Whose pages may use the routes of clients. */
  readonly isAllowedOrigin: OriginRule
  /** Of this program, for the OpenAPI document. */
  readonly version: string
  /** The port speaks TLS. */
  readonly tls?: ServerTls | undefined
  /** Of proxies that say whose the sockets and requests are that they hand on. */
  readonly proxied?: Proxied | undefined
  /** Of a node with the role `console`. */
  readonly console?: ConsoleOptions | undefined
  readonly socketLimits?: Partial<SocketLimits>
  /** For how long an answer of lines may have nothing to say; 15 s by default. */
  readonly silentMs?: number
  /** When an answer must have begun that has no deadline of its own; by default later than all that have. */
  readonly beginMs?: number
  /** Why nothing of the log can be had just now, in words; empty where it can, or nobody knows. */
  readonly logAway?: () => string
}

/** One HTTP port of protocol.md 5, not listening yet. Whom a route is for, and on which side, stands in access.ts. */
export function buildHttp (given: HttpDeps): FastifyInstance {
  const deps = withDeadlines(given)
  const { side = 'all', metricsOpen = false, tls, proxied } = deps
  // Browsers of clients are not asked for one where they can't come to the routes that want it.
  const wantsCertificate = (side === 'all' || side === 'api') && tls !== undefined && tls.wantsClientCertificate
  const app = fastify({
    serverFactory: handler => boundedServer(handler, {
      limits: { ...socketLimits, ...deps.socketLimits },
      tls: tls && { certificate: tls, wantsCertificate, failed (error) { tls.failed(listenerOf(side), error) } },
      proxied,
    }),
    loggerInstance: deps.logger,
    logController: new LogController({ disableRequestLogging: true }),
    return503OnClosing: false, // that answer would lack the code; `refuseWhenClosing` does it
    routerOptions: { maxParamLength: 2048 },
    ajv: {
      customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: true, verbose: true, ...ajvRules },
    },
    schemaErrorFormatter: describeInvalid,
    frameworkErrors (err, request, reply) { // no hook has seen the request
      reply.headers(safeHeaders)
      answerError(err, request, reply)
    },
    clientErrorHandler: (err, socket) => { answerClientError(err, socket, proxied?.headerRefused) },
  }) as unknown as FastifyInstance
  app.setErrorHandler(answerError)
  parseJsonStrictly(app, bodyBytesMax(deps.frameBytesMax))
  app.addSchema(errorSchema)
  endRefusedUpgrades(app)
  answerBrowsers(app, deps.isAllowedOrigin)
  refuseWhenClosing(app)
  if (proxied?.proxies) resolveClients(app, proxied.proxies)
  app.addHook('onRequest', requireHttp11)
  if (deps.logsTraces) logTraces(app)
  answerStrangePaths(app)
  giveAccess(app, { side, metricsOpen })
  refuseUnknownParameters(app)
  beginInTime(app, deps.beginMs)
  keepLinesAwake(app, deps.silentMs ?? 15_000)
  tellIdleTimes(app)
  requireApiKeys(app, {
    apiKeys: deps.apiKeys,
    apps: deps.apps ?? new Apps(),
    sessions: deps.console?.sessions,
    wantsCertificate,
    counted: deps.requestCounted ?? (() => {}),
  })
  app.register(fastifySwagger, openApi(deps.version))
  app.register(healthRoutes, deps)
  if (side === 'all' || side === 'clients') addClientRoutes(app, deps)
  if (side === 'all' || side === 'api') {
    addApiRoutes(app, deps)
    if (deps.console) addConsoleRoutes(app, deps.console, wantsCertificate)
  }
  if (side !== 'clients') app.register(metricsRoute, deps)
  if (side !== 'metrics') openApiRoute(app)
  handOnWebSockets(app)
  return app
}

function logTraces (app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    const context = parseTraceparent(request.headers['traceparent'])
    if (!context) return
    request.log = reply.log = request.log.child(loggedTrace(context))
  })
}

/** As metrics name it. */
export function listenerOf (side: Side): Listener { return side === 'api' || side === 'metrics' ? side : 'http' }

/** The WebSockets of a node with an edge are added by that. */
function addClientRoutes (app: FastifyInstance, deps: HttpDeps): void {
  addForRole(app, deps, 'ip-config', ipConfigRoutes)
  if (!deps.roles.includes('edge')) app.register(noConnectRoute)
}

function addApiRoutes (app: FastifyInstance, deps: HttpDeps): void {
  for (const [role, routes] of Object.entries(apiRoutesOfRoles)) addForRole(app, deps, role as Role, routes)
  app.register(nodesRoutes, deps)
  app.register(lagRoutes, deps)
  app.register(topicsRoutes, deps)
  app.register(backupsRoutes, deps)
  app.register(keysRoutes, deps)
  app.register(operationsRoutes, deps)
}

function addConsoleRoutes (app: FastifyInstance, options: ConsoleOptions, wantsCertificate: boolean): void {
  app.register(async scope => await consoleRoutes(scope, options, wantsCertificate))
}

type Routes = (app: FastifyInstance, deps: HttpDeps) => Promise<void>

/** Routes that a node has only with their role; it says so where it lacks that. */
function addForRole (app: FastifyInstance, deps: HttpDeps, role: Role, routes: Routes): void {
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

/** One copy, made once: it is open to everybody, and takes as long to make as a hundred requests. */
function openApiRoute (app: FastifyInstance): void {
  let document: Buffer | undefined
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    document ??= Buffer.from(JSON.stringify(app.swagger()))
    return await reply.type('application/json; charset=utf-8').send(document)
  })
}

/** Whose each request is counts from here on, before anything is answered. */
function resolveClients (app: FastifyInstance, proxies: AddressList): void {
  app.addHook('onRequest', async ({ raw }) => {
    const client = resolve(raw, proxies)
    if (client) countFor(raw.socket, client.ip)
  })
}

/** The socket of an upgrade that is answered with something else has no parser any more. */
function endRefusedUpgrades (app: FastifyInstance): void {
  app.addHook('onRequest', async ({ raw }, reply) => { if (isUpgrade(raw)) reply.raw.shouldKeepAlive = false })
  app.addHook('onResponse', async ({ raw }) => { if (isUpgrade(raw)) endIfNoWebSocket(raw.socket) })
}

/**
 * Their sockets are no longer those of the HTTP side; the edge bounds them. Where there is no edge, requests for an
 * upgrade are answered by the routes.
 */
function handOnWebSockets (app: FastifyInstance): void {
  app.addHook('onReady', async () => {
    const { websocketServer } = app as { websocketServer?: FastifyInstance['websocketServer'] }
    if (!websocketServer) return
    boundUpgrades(app.server)
    websocketServer.on('connection', (_webSocket, { socket }) => { vouchFor(socket) })
  })
}

function keepLinesAwake (app: FastifyInstance, silentMs: number): void {
  app.addHook('onSend', async (_request, reply) => {
    const filler = fillerOf(reply.getHeader('content-type'))
    if (filler !== undefined) keepAwake(reply.raw, silentMs, filler)
  })
}

/** Node would promise strangers the time of those with a key: they would send into sockets that are being closed. */
function tellIdleTimes (app: FastifyInstance): void {
  app.addHook('onSend', async (request, reply) => {
    const idleMs = strangersIdleMs(request.raw.socket)
    if (idleMs === undefined || !reply.raw.shouldKeepAlive || reply.getHeader('connection') === 'close') return
    reply.header('keep-alive', `timeout=${Math.floor(idleMs / 1_000)}`)
  })
}

function refuseWhenClosing (app: FastifyInstance): void {
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
    endIdle(app.server)
  })
  app.addHook('onRequest', async () => {
    if (closing) throw new GatewayError('not-ready', 'this node is stopping')
  })
}

function openApi (version: string) {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Ledgerline',
        version,
        description: 'What business services and operators ask of a gateway. Clients speak docs/protocol.md.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: { securitySchemes: { apiKey: { type: 'http' as const, scheme: 'bearer' } } },
      security: [{ apiKey: [] }],
    },
    refResolver: {
      buildLocalReference: (json: { $id?: unknown }, _base: unknown, _fragment: string, i: number) =>
        typeof json.$id === 'string' ? json.$id : `def-${i}`,
    },
  }
}
