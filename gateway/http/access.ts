import type { FastifyInstance, RouteOptions } from 'fastify'
import { appNamePattern } from '../../schemas/apps.js'
import { type Scope, scopes } from '../keys/scopes.js'
import { errorAnswers } from './errors.js'
import { reasonSchema } from './shapes.js'

/** Whom a route is for: everybody, or whoever has an API key with this scope. */
export type Access = 'public' | Scope

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set by `giveAccess`. */
    readonly access?: Access
    readonly reach?: Reach
    readonly recorded?: Recorded
  }
}

/**
 * Whose users a route tells of, or acts on: those of one app, which is the caller's or the one that `?app=` names;
 * those of every app, whatever it is asked; or nobody's.
 */
export type Reach = 'one-app' | 'every-app' | 'nobody'

/** The one home of who may ask what (docs/operations.md, API keys). A route that is not here can't be added. */
export const accessTable: Readonly<Record<string, Access>> = {
  'GET /healthz': 'public',
  'GET /readyz': 'public',
  'GET /openapi.json': 'public',
  'GET /v1/connect': 'public',
  'GET /v1/ip-config': 'public',

  'DELETE /v1/broadcasts/:messageId': 'push',
  'DELETE /v1/downlinks/:messageId': 'push',
  'DELETE /v1/rooms/:roomId': 'push',
  'DELETE /v1/users/:userId/rooms/:roomId': 'push',
  // Whoever asks for a broadcast follows it.
  'GET /v1/broadcasts/:messageId': 'push',
  'POST /v1/broadcasts': 'push',
  'POST /v1/downlinks': 'push',
  'POST /v1/rooms/:roomId/posts': 'push',
  'PUT /v1/users/:userId/rooms/:roomId': 'push',

  'GET /metrics': 'read',
  'GET /v1/connections': 'read',
  'GET /v1/groups': 'read',
  'GET /v1/groups/:group': 'read',
  'GET /v1/health': 'read',
  'GET /v1/lag': 'read',
  'GET /v1/load': 'read',
  'GET /v1/log': 'read',
  'GET /v1/log/:stream': 'read',
  'GET /v1/log/:stream/:partition': 'read',
  'GET /v1/nodes': 'read',
  'GET /v1/rooms/:roomId': 'read',
  'GET /v1/rooms/:roomId/members': 'read',
  'GET /v1/rooms/:roomId/posts': 'read',
  'GET /v1/rooms/:roomId/state': 'read',
  'GET /v1/rooms/:roomId/trace': 'read',
  'GET /v1/streams/:stream': 'read',
  'GET /v1/streams/nodes': 'read',
  'GET /v1/topics': 'read',
  'GET /v1/uplinks': 'read',
  'GET /v1/webhooks': 'read',
  'GET /v1/users/:userId/bans': 'read',
  'GET /v1/users/:userId/presence': 'read',
  'GET /v1/users/:userId/rooms': 'read',
  'GET /v1/users/:userId/state': 'read',
  'GET /v1/users/:userId/timeline': 'read',
  'GET /v1/users/:userId/trace': 'read',
  'POST /v1/groups/:group/acks': 'read',
  'POST /v1/presence': 'read',

  'DELETE /v1/bans/:banId': 'operate',
  'DELETE /v1/connections/:connectionId': 'operate',
  'DELETE /v1/groups/:group': 'operate',
  'DELETE /v1/users/:userId/connections': 'operate',
  // Whoever asks for a drain follows it.
  'GET /v1/nodes/:nodeId/drain': 'operate',
  'POST /v1/audits': 'operate',
  'POST /v1/bans': 'operate',
  'POST /v1/nodes/:nodeId/drain': 'operate',
  'POST /v1/users/:userId/redeliveries': 'operate',
  'POST /v1/webhooks/:name/redeliveries': 'operate',

  'DELETE /v1/keys/:keyId': 'admin',
  'GET /v1/keys': 'admin',
  'POST /v1/backups': 'admin',
  'POST /v1/keys': 'admin',
  'POST /v1/rebuilds': 'admin',
}

/** A route that is not here tells of nobody, and is refused to apps. A new one that tells of users belongs here. */
const reachTable: Readonly<Record<string, Reach>> = {
  'POST /v1/broadcasts': 'one-app',
  'GET /v1/broadcasts/:messageId': 'one-app',
  'DELETE /v1/broadcasts/:messageId': 'one-app',
  'POST /v1/downlinks': 'one-app',
  'DELETE /v1/downlinks/:messageId': 'one-app',
  'POST /v1/rooms/:roomId/posts': 'one-app',
  'DELETE /v1/rooms/:roomId': 'one-app',
  'GET /v1/rooms/:roomId': 'one-app',
  'GET /v1/rooms/:roomId/members': 'one-app',
  'GET /v1/rooms/:roomId/posts': 'one-app',
  'GET /v1/rooms/:roomId/state': 'one-app',
  'GET /v1/rooms/:roomId/trace': 'one-app',
  'DELETE /v1/users/:userId/rooms/:roomId': 'one-app',
  'PUT /v1/users/:userId/rooms/:roomId': 'one-app',
  'GET /v1/connections': 'one-app',
  'GET /v1/streams/:stream': 'one-app',
  'GET /v1/uplinks': 'one-app',
  'GET /v1/groups': 'one-app',
  'GET /v1/groups/:group': 'one-app',
  'POST /v1/groups/:group/acks': 'one-app',
  'DELETE /v1/groups/:group': 'one-app',
  'GET /v1/users/:userId/bans': 'one-app',
  'GET /v1/users/:userId/presence': 'one-app',
  'GET /v1/users/:userId/rooms': 'one-app',
  'GET /v1/users/:userId/state': 'one-app',
  'GET /v1/users/:userId/timeline': 'one-app',
  'GET /v1/users/:userId/trace': 'one-app',
  'POST /v1/presence': 'one-app',
  'DELETE /v1/bans/:banId': 'one-app',
  'DELETE /v1/connections/:connectionId': 'one-app',
  'DELETE /v1/users/:userId/connections': 'one-app',
  'POST /v1/bans': 'one-app',
  'POST /v1/users/:userId/redeliveries': 'one-app',
  'DELETE /v1/keys/:keyId': 'one-app',
  'GET /v1/keys': 'one-app',
  'POST /v1/keys': 'one-app',

  'GET /v1/log': 'every-app',
  'GET /v1/log/:stream': 'every-app',
  'GET /v1/log/:stream/:partition': 'every-app',
  'GET /v1/nodes/:nodeId/drain': 'every-app',
  'GET /v1/streams/nodes': 'every-app',
  'POST /v1/audits': 'every-app',
}

/**
 * When the stream `nodes` is told of a request: before it is carried out, and where that can't be, it is not; or
 * meanwhile, where it must not wait.
 */
export type Recorded = 'before' | 'meanwhile'

/** What operators change and no other fact tells of. A new one belongs here, or has a fact that says who and why. */
const recordedTable: Readonly<Record<string, Recorded>> = {
  'DELETE /v1/groups/:group': 'before',
  'POST /v1/webhooks/:name/redeliveries': 'before',
  'DELETE /v1/keys/:keyId': 'meanwhile',
  'POST /v1/keys': 'before',
  // Also of a node that can't write any more.
  'POST /v1/backups': 'meanwhile',
  'POST /v1/rebuilds': 'before',
}

/** Of a route by its name in the table; undefined for one that changes nothing, or has a fact of its own. */
export function recordedOf (name: string): Recorded | undefined { return recordedTable[name] }

/** Of a route by its name in the table. */
export function reachOf (name: string): Reach { return reachTable[name] ?? 'nobody' }

const appParameter = {
  type: 'string',
  pattern: appNamePattern,
  description: 'whose users: an app of LEDGERLINE_APPS, for its own API keys and for those of no app with the scope admin; ' +
    'absent: the app of the API key',
}

const reasonParameter = { ...reasonSchema, description: 'why, for whoever looks back' }

/**
 * Which of the routes a port has: all, or, with a port of the API's own, those of clients and those of the API. What
 * wants an API key is the API's, what wants none is for clients, and some are on both. A port for metrics has those
 * alone, without a key, and health.
 */
export type Side = 'all' | 'clients' | 'api' | 'metrics'

/**
 * Pages of the console, and signing in to it: no part of the API, on its port. They are for everybody, for they tell
 * nothing of anybody; what they show comes from routes of the table.
 */
const consolePath = '/console'

/** Whoever asks for them is told of the port that is asked. */
const onBothSides: ReadonlySet<string> = new Set(['GET /healthz', 'GET /readyz', 'GET /openapi.json'])

const metricsName = 'GET /metrics'
const onMetricsSide: ReadonlySet<string> = new Set([metricsName, 'GET /healthz', 'GET /readyz'])

/** @param name as in the table */
export function isOnSide (name: string, side: Side): boolean {
  if (side === 'metrics') return onMetricsSide.has(name)
  return side === 'all' || onBothSides.has(name) || (accessTable[name] === 'public') === (side === 'clients')
}

export interface AccessOptions {
  readonly side: Side
  /** `/metrics` is for everybody, who can only be on the API's own port. On that of metrics it always is. */
  readonly metricsOpen: boolean
}

/**
 * Has every route know whom it is for, and say so in the OpenAPI document. Goes before the routes.
 *
 * @throws Error from whoever adds a route that the table lacks, or that is not of this side
 */
export function giveAccess (app: FastifyInstance, { side, metricsOpen }: AccessOptions): void {
  app.addHook('onRoute', route => {
    if ((side === 'all' || side === 'api') && (route.url === consolePath || route.url.startsWith(`${consolePath}/`))) {
      route.config = { ...route.config, access: 'public', reach: 'nobody' }
      route.schema = { ...route.schema, hide: true }
      return
    }
    const name = nameOf(route)
    if (!isOnSide(name, side)) throw new Error(`${name} is not for the port of the side ${side}`)
    // A preflight comes without a key, and is told nothing of anybody.
    const isOpen = route.method === 'OPTIONS' || (name === metricsName && (metricsOpen || side === 'metrics'))
    const access = isOpen ? 'public' : accessOf(name)
    const reach = reachOf(name)
    const recorded = recordedOf(name)
    route.config = { ...route.config, access, reach, ...recorded && { recorded } }
    if (access === 'public') {
      route.schema = { ...route.schema, security: [] }
      return
    }
    const { response, querystring } = route.schema as { response?: object, querystring?: Parameters } | undefined ?? {}
    route.schema = {
      ...route.schema,
      querystring: {
        ...querystring,
        properties: {
          ...querystring?.properties,
          ...reach === 'one-app' ? { app: appParameter } : {},
          ...recorded ? { reason: reasonParameter } : {},
        },
      },
      security: [{ apiKey: [access] }],
      response: { ...response, ...errorAnswers('forbidden', 'throttled', ...recorded === 'before' ? ['ledger-unavailable'] as const : []) },
    }
  })
}

interface Parameters { readonly properties?: object }

/** A method that reads is asked by HEAD as well, and one for browsers by a preflight. */
function nameOf ({ method, url }: Pick<RouteOptions, 'method' | 'url'>): string {
  return `${method === 'HEAD' || method === 'OPTIONS' ? 'GET' : String(method)} ${url}`
}

function accessOf (name: string): Access {
  const access = accessTable[name]
  if (access === undefined) throw new Error(`gateway/http/access.ts does not say whom ${name} is for`)
  return access
}

/** The table as Markdown, for docs/operations.md. */
export function accessMarkdown (): string {
  const rows = (['public', ...scopes] as const).map(access => {
    const routes = Object.keys(accessTable).filter(name => accessTable[name] === access).map(name => `\`${name}\``).join(', ')
    return `| ${access === 'public' ? 'no key' : `\`${access}\``} | ${routes} |\n`
  })
  return `| Scope | Routes |\n| --- | --- |\n${rows.join('')}`
}
