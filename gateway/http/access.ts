import type { FastifyInstance, RouteOptions } from 'fastify'
import { type Scope, scopes } from '../keys/scopes.js'
import { errorAnswers } from './errors.js'

/** Whom a route is for: everybody, or whoever has an API key with this scope. */
export type Access = 'public' | Scope

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set by `giveAccess`. */
    readonly access?: Access
  }
}

/** The one home of who may ask what (docs/operations.md, API keys). A route that is not here can't be added. */
export const accessTable: Readonly<Record<string, Access>> = {
  'GET /healthz': 'public',
  'GET /readyz': 'public',
  'GET /openapi.json': 'public',
  'GET /v1/connect': 'public',
  'GET /v1/ip-config': 'public',

  'POST /v1/downlinks': 'push',

  'GET /metrics': 'read',
  'GET /v1/connections': 'read',
  'GET /v1/health': 'read',
  'GET /v1/lag': 'read',
  'GET /v1/log': 'read',
  'GET /v1/log/:stream': 'read',
  'GET /v1/log/:stream/:partition': 'read',
  'GET /v1/nodes': 'read',
  'GET /v1/topics': 'read',
  'GET /v1/uplinks': 'read',
  'GET /v1/users/:userId/bans': 'read',
  'GET /v1/users/:userId/presence': 'read',
  'GET /v1/users/:userId/state': 'read',
  'GET /v1/users/:userId/trace': 'read',
  'POST /v1/presence': 'read',

  'DELETE /v1/bans/:banId': 'operate',
  'DELETE /v1/connections/:connectionId': 'operate',
  'DELETE /v1/users/:userId/connections': 'operate',
  // Whoever asks for a drain follows it.
  'GET /v1/nodes/:nodeId/drain': 'operate',
  'POST /v1/bans': 'operate',
  'POST /v1/nodes/:nodeId/drain': 'operate',
  'POST /v1/users/:userId/redeliveries': 'operate',

  'POST /v1/backups': 'admin',
  'POST /v1/rebuilds': 'admin',
}

/**
 * Has every route know whom it is for, and say so in the OpenAPI document. Goes before the routes.
 *
 * @throws Error from whoever adds a route that the table lacks
 */
export function giveAccess (app: FastifyInstance): void {
  app.addHook('onRoute', route => {
    const access = accessOf(route)
    route.config = { ...route.config, access }
    if (access === 'public') return
    const { response } = route.schema as { response?: object } | undefined ?? {}
    route.schema = {
      ...route.schema,
      security: [{ apiKey: [access] }],
      response: { ...response, ...errorAnswers('forbidden', 'throttled') },
    }
  })
}

/** A method that reads is asked by HEAD as well. A preflight comes without a key, and is told nothing of anybody. */
function accessOf ({ method, url }: Pick<RouteOptions, 'method' | 'url'>): Access {
  if (method === 'OPTIONS') return 'public'
  const name = `${method === 'HEAD' ? 'GET' : String(method)} ${url}`
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
