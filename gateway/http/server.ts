import fastifySwagger from '@fastify/swagger'
import fastify, { LogController } from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { GatewayError } from '../../schemas/errors.js'
import { Apps } from '../apps.js'
import { type AddressList, resolve } from '../edge/clients.js'
import type { OriginRule } from '../origins.js'
import type { Listener, ServerTls } from '../server-tls.js'
import type { ApiKeys } from '../keys/api-keys.js'
import { giveAccess, type Side } from './access.js'
import { type AuthOptions, recordOperators, requireApiKeys } from './auth.js'
import { bodyBytesMax } from './body.js'
import { answerBrowsers, safeHeaders } from './browsers.js'
import { beginInTime, withDeadlines } from './deadlines.js'
import { answerClientError, answerError, errorSchema } from './errors.js'
import { healthRoutes, metricsRoute } from './health.js'
import { answerStrangePaths } from './known-paths.js'
import { fillerOf } from './line-formats.js'
import { openApi, openApiRoute } from './openapi.js'
import { keepAwake } from './readers.js'
import type { Proxied } from './proxied.js'
import { addApiRoutes, addClientRoutes, addConsoleRoutes, type RoutesDeps } from './routes.js'
import { ajvRules } from './shapes.js'
import {
  boundedServer, boundUpgrades, countFor, endIdle, endIfNoWebSocket, isUpgrade, socketLimits,
  strangersIdleMs, vouchFor,
} from './sockets.js'
import type { SocketLimits } from './sockets.js'
import { describeInvalid, parseJsonStrictly, refuseUnknownParameters, requireHttp11 } from './strict.js'
import { parseTraceparent } from '../tracing/context.js'
import { loggedTrace } from '../tracing/logged.js'

export interface HttpDeps extends RoutesDeps {
  readonly logger: Logger
  /** Whose port it is; that of all by default. */
  readonly side?: Side
  /** On the port of the API `/metrics` is for everybody. */
  readonly metricsOpen?: boolean
  /** Lines of the log about a request name the trace that it is part of. */
  readonly logsTraces?: boolean
  readonly apiKeys: ApiKeys
  /** None by default. */
  readonly apps?: Apps
  /** Told of each request that wants a key. */
  readonly requestCounted?: AuthOptions['counted']
  readonly recordAsked: AuthOptions['recordAsked']
  /** Whose pages may use the routes of clients. */
  readonly isAllowedOrigin: OriginRule
  /** Of this program, for the OpenAPI document. */
  readonly version: string
  /** The port speaks TLS. */
  readonly tls?: ServerTls | undefined
  /** Of proxies that say whose the sockets and requests are that they hand on. */
  readonly proxied?: Proxied | undefined
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
    recordAsked: deps.recordAsked,
  })
  recordOperators(app, deps)
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
