import fastifySwagger from '@fastify/swagger'
import fastify, { LogController } from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { GatewayError } from '../../schemas/errors.js'
import type { Role } from '../config.js'
import { requireApiKey } from './auth.js'
import { connectionsRoutes } from './connections.js'
import type { ConnectionsOptions } from './connections.js'
import { withDeadlines } from './deadlines.js'
import { downlinksRoutes } from './downlinks.js'
import type { DownlinksOptions } from './downlinks.js'
import { answerClientError, answerError, answerNotFound, errorSchema } from './errors.js'
import { healthRoutes } from './health.js'
import type { HealthOptions } from './health.js'
import { historyRoutes } from './history.js'
import { ipConfigRoutes } from './ip-config.js'
import type { IpConfigOptions } from './ip-config.js'
import { lagRoutes } from './lag.js'
import type { LagOptions } from './lag.js'
import { logRoutes } from './log.js'
import type { LogOptions } from './log.js'
import { nodesRoutes } from './nodes.js'
import type { NodesOptions } from './nodes.js'
import { presenceRoutes } from './presence.js'
import type { PresenceOptions } from './presence.js'
import { rebuildsRoutes } from './rebuilds.js'
import type { RebuildsOptions } from './rebuilds.js'
import { redeliveriesRoutes } from './redeliveries.js'
import type { RedeliveriesOptions } from './redeliveries.js'
import { stateRoutes } from './state.js'
import type { StateOptions } from './state.js'
import { topicsRoutes } from './topics.js'
import type { TopicsOptions } from './topics.js'
import { traceRoutes } from './trace.js'
import type { TraceOptions } from './trace.js'
import { uplinksRoutes } from './uplinks.js'
import type { UplinksOptions } from './uplinks.js'

/** All that the routes ask for; gateway/main.ts gives it. */
export interface HttpDeps extends
  IpConfigOptions, DownlinksOptions, PresenceOptions, ConnectionsOptions, TraceOptions, LogOptions, NodesOptions,
  HealthOptions, StateOptions, RedeliveriesOptions, LagOptions, TopicsOptions, RebuildsOptions {
  readonly logger: Logger
  /** Of this node: its HTTP side has the routes of these, besides health, metrics and the node table. */
  readonly roles: readonly Role[]
  readonly apiKeys: readonly string[]
  /** Of this program, for the OpenAPI document. */
  readonly version: string
  readonly uplinks: UplinksOptions
}

/**
 * The HTTP side of protocol.md 5, not listening yet. Whoever adds a route that wants no API key says so in its
 * `config: { public: true }`.
 */
export function buildHttp (given: HttpDeps): FastifyInstance {
  const deps = withDeadlines(given)
  const app = fastify({
    loggerInstance: deps.logger,
    logController: new LogController({ disableRequestLogging: true }),
    // A payload may be escaped to six times its bytes, and a thousand user ids come with it.
    bodyLimit: Math.max(1_048_576, 6 * deps.frameBytesMax + 524_288),
    requestTimeout: 30_000,
    return503OnClosing: false, // that answer would lack the code; `refuseWhenClosing` does it
    routerOptions: { maxParamLength: 2048 },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: true } },
    frameworkErrors: answerError,
    clientErrorHandler: answerClientError,
  }) as unknown as FastifyInstance
  app.setErrorHandler(answerError)
  app.setNotFoundHandler(answerNotFound)
  app.removeContentTypeParser('text/plain')
  app.addSchema(errorSchema)
  refuseWhenClosing(app)
  app.addHook('onRequest', requireApiKey(deps.apiKeys))
  app.register(fastifySwagger, openApi(deps.version))
  if (deps.roles.includes('ip-config')) app.register(ipConfigRoutes, deps)
  if (deps.roles.includes('push')) {
    app.register(downlinksRoutes, deps)
    app.register(uplinksRoutes, deps.uplinks)
    app.register(presenceRoutes, deps)
    app.register(connectionsRoutes, deps)
    app.register(historyRoutes, deps)
    app.register(traceRoutes, deps)
    app.register(logRoutes, deps)
    app.register(stateRoutes, deps)
    app.register(redeliveriesRoutes, deps)
  }
  if (deps.roles.includes('projections')) app.register(rebuildsRoutes, deps)
  app.register(nodesRoutes, deps)
  app.register(lagRoutes, deps)
  app.register(topicsRoutes, deps)
  app.register(healthRoutes, deps)
  app.get('/openapi.json', { config: { public: true }, schema: { hide: true } }, async () => app.swagger())
  return app
}

function refuseWhenClosing (app: FastifyInstance): void {
  let closing = false
  app.addHook('preClose', async () => { closing = true })
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
