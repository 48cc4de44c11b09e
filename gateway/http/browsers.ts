import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TLSSocket } from 'node:tls'
import { GatewayError } from '../../schemas/errors.js'
import { schemeOf } from '../edge/clients.js'
import { isLocalHost, type OfOrigin, type OriginRule } from '../origins.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Pages of allowed origins may ask for it and read its answers: the route is one of clients. */
    readonly browsers?: boolean
  }
}

/** Half a year. Nothing is said of the names below this one. */
const transportSecurity = 'max-age=15552000'

const preflightSeconds = '600'

/**
 * What every answer says to browsers. Nothing here is a page, or may be kept: most of it is of users.
 *
 * They stand on the answer of Node, for those that take over from fastify have them too.
 */
export const safeHeaders: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

/**
 * Headers for browsers on all answers, and CORS (Fetch, 3.2) on those of routes with `config: { browsers: true }`: they
 * can be read by pages of the origins that `isAllowed` lets pass, errors included, and by no others. Goes before every
 * other hook that may refuse a request. `@fastify/cors` would answer OPTIONS for the whole server.
 *
 * There are no cookies here, so nothing is said of credentials.
 */
export function answerBrowsers (app: FastifyInstance, isAllowed: OriginRule): void {
  app.addHook('onRequest', async (request, reply) => {
    for (const [name, value] of Object.entries(safeHeaders)) reply.raw.setHeader(name, value)
    if (isEncrypted(request) && !isLocalHost(request.hostname)) {
      reply.raw.setHeader('strict-transport-security', transportSecurity)
    }
    if (request.routeOptions.config.browsers !== true || request.is404) return
    reply.raw.setHeader('vary', 'origin')
    const { origin } = request.headers
    if (origin === undefined || !isAllowed(originOf(request))) return
    reply.raw.setHeader('access-control-allow-origin', origin)
    reply.raw.setHeader('access-control-expose-headers', 'retry-after')
  })

  app.addHook('onRoute', ({ url, method, config }) => {
    if (method !== 'GET' || config?.browsers !== true) return
    // Whatever is wrong with the query is for the request itself to be told.
    const options = { config: { browsers: true }, schema: { hide: true }, attachValidation: true }
    app.options(url, options, async (request, reply) => {
      requireOrigin(request, isAllowed)
      return await reply.code(204).headers({
        'access-control-allow-methods': 'GET',
        'access-control-allow-headers': '*',
        'access-control-max-age': preflightSeconds,
        allow: 'GET, HEAD, OPTIONS',
      }).send()
    })
  })
}

/**
 * @param refused told before it throws, for a metric
 * @throws GatewayError `bad-origin` where the request is of a page that may not use the gateway
 */
export function requireOrigin (request: FastifyRequest, isAllowed: OriginRule, refused?: () => void): void {
  if (isAllowed(originOf(request))) return
  refused?.()
  throw new GatewayError('bad-origin', `origin: got ${request.headers.origin!.slice(0, 256)}, want one of LEDGERLINE_ALLOWED_ORIGINS`)
}

function originOf (request: FastifyRequest): OfOrigin {
  return { origin: request.headers.origin, host: request.host, scheme: schemeOf(request.raw) }
}

function isEncrypted ({ raw }: FastifyRequest): boolean {
  return (raw.socket as TLSSocket).encrypted === true
}
