import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TLSSocket } from 'node:tls'
import { GatewayError } from '../../schemas/errors.js'
import type { ApiKeys, Caller } from '../keys/api-keys.js'
import type { Quota } from '../keys/quota.js'
import type { Access } from './access.js'
import { vouchFor } from './sockets.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; null on routes for everybody. */
    caller: Caller | null
  }
}

/** What became of a request that wants a key. */
export type Admission = 'admitted' | 'unauthorized' | 'forbidden' | 'throttled'

export interface AuthOptions {
  readonly apiKeys: ApiKeys
  /** Whoever has a key must have shown a client certificate that the node trusts, too. */
  readonly wantsCertificate: boolean
  /** @param keyId of the caller's key; empty for one of the environment, and for none that is good */
  readonly counted: (keyId: string, admission: Admission) => void
}

/** Lets nobody pass but to routes for everybody without an API key of the route's scope, within the key's quota. */
export function requireApiKeys (app: FastifyInstance, { apiKeys, wantsCertificate, counted }: AuthOptions): void {
  app.decorateRequest('caller', null)
  app.addHook('onRequest', async (request, reply) => {
    const { access } = request.routeOptions.config
    if (access === 'public' || request.is404) return
    let keyId = ''
    try {
      const caller = identify(request, apiKeys, wantsCertificate)
      keyId = caller.id
      request.caller = caller
      vouchFor(request.raw.socket)
      take(caller.requests, 1, caller, 'requests')
      if (access === undefined || !caller.scopes.includes(access)) {
        throw new GatewayError('forbidden', `the API key ${caller.id} has not the scope ${access}`)
      }
      const ended = apiKeys.opened(caller, access, () => {
        // One that has not begun is about to come to its end.
        if (reply.raw.headersSent) reply.raw.destroy()
      })
      reply.raw.once('close', ended)
    } catch (err) {
      counted(keyId, (err as GatewayError).code as Admission)
      request.log.debug({ keyId, route: request.routeOptions.url, reason: (err as Error).message }, 'request refused')
      throw err
    }
    counted(keyId, 'admitted')
    const { method, url } = request
    // A rebuild or a backup is no fact of a stream: the log has who wanted it.
    if (isOperators(access) && method !== 'GET' && method !== 'HEAD') {
      request.log.info({ keyId, keyName: request.caller!.name, method, url }, 'an operator asks')
    }
  })
}

function isOperators (access: Access | undefined): boolean { return access === 'operate' || access === 'admin' }

/** What a fact says of who asked for it: the id of the key, empty for one of the environment. */
export function callerId ({ caller }: FastifyRequest): string { return caller?.id ?? '' }

/** @throws GatewayError `throttled` where the caller may not name so many recipients yet */
export function takeRecipients ({ caller }: FastifyRequest, count: number): void {
  take(caller?.recipients, count, caller, 'recipients')
}

function take (quota: Quota | undefined, count: number, caller: Caller | null, what: string): void {
  const waitMs = quota?.take(count, performance.now()) ?? 0
  if (waitMs === 0) return
  const message = `the API key ${caller!.id} may have ${quota!.perSecond} ${what} a second`
  throw new GatewayError('throttled', message, { retryAfterMs: waitMs })
}

function identify (request: FastifyRequest, apiKeys: ApiKeys, wantsCertificate: boolean): Caller {
  const key = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (key === undefined) throw new GatewayError('unauthorized', 'want the header "authorization: Bearer <API key>"')
  const caller = apiKeys.identify(key)
  if (wantsCertificate && !(request.raw.socket as TLSSocket).authorized) {
    throw new GatewayError('unauthorized', 'want a client certificate, by an authority in LEDGERLINE_TLS_CLIENT_CA')
  }
  return caller
}
