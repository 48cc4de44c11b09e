import type { FastifyInstance, FastifyRequest } from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { userKey } from '../../schemas/apps.js'
import { GatewayError } from '../../schemas/errors.js'
import type { OperatorAsked } from '../../schemas/node-facts.js'
import type { Apps } from '../apps.js'
import { callerOfSession, type SignedIn } from '../console/session-access.js'
import type { ConsoleSessions } from '../console/sessions.js'
import type { ApiKeys, Caller } from '../keys/api-keys.js'
import type { Quota } from '../keys/quota.js'
import type { Scope } from '../keys/scopes.js'
import type { Access } from './access.js'
import { vouchFor } from './sockets.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; null on routes for everybody. */
    caller: Caller | null
    /** Whose users it is about (access.ts); empty for the default app. */
    app: string
  }
}

/** What became of a request that wants a key. */
export type Admission = 'admitted' | 'unauthorized' | 'forbidden' | 'throttled'

export interface AuthOptions {
  readonly apiKeys: ApiKeys
  readonly apps: Apps
  /** Who may ask with a cookie in place of a key; none by default. */
  readonly sessions?: ConsoleSessions | undefined
  /** Whoever has a key must have shown a client certificate that the node trusts, too. */
  readonly wantsCertificate: boolean
  /** @param keyId of the caller's key; empty for one of the environment, and for none that is good */
  readonly counted: (keyId: string, admission: Admission) => void
  /** Resolves once it is durable. @throws GatewayError `ledger-unavailable` */
  readonly recordAsked: (asked: Omit<OperatorAsked, 'type'>) => Promise<void>
}

/**
 * Lets nobody pass but to routes for everybody without an API key of the route's scope, within the quotas of the key
 * and of its app, and to nobody's users but those of the key's app.
 */
export function requireApiKeys (app: FastifyInstance, options: AuthOptions): void {
  const { apiKeys, apps, counted } = options
  app.decorateRequest('caller', null)
  app.decorateRequest('app', '')
  app.addHook('onRequest', async (request, reply) => {
    const { access } = request.routeOptions.config
    if (access === 'public' || request.is404) return
    let keyId = ''
    try {
      const { caller, goesOn } = identify(request, options)
      keyId = caller.app === '' ? caller.id : `${caller.app}/${caller.id}`
      request.caller = caller
      vouchFor(request.raw.socket)
      take(caller.requests, 1, caller, 'requests')
      take(caller.ofApp?.requests, 1, caller, 'requests', true)
      if (access === undefined || !caller.scopes.includes(access)) {
        throw new GatewayError('forbidden', `the API key ${caller.id} has not the scope ${access}`)
      }
      request.app = appAskedFor(request, caller, apps)
      const ended = apiKeys.opened(caller, access, () => {
        // One that has not begun is about to come to its end.
        if (reply.raw.headersSent) reply.raw.destroy()
      }, goesOn)
      reply.raw.once('close', ended)
    } catch (err) {
      counted(keyId, (err as GatewayError).code as Admission)
      request.log.debug({ keyId, route: request.routeOptions.url, reason: (err as Error).message }, 'request refused')
      throw err
    }
    counted(keyId, 'admitted')
    const { method, url } = request
    if (isOperators(access) && method !== 'GET' && method !== 'HEAD') {
      request.log.info({ keyId, keyName: request.caller!.name, method, url }, 'an operator asks')
    }
  })
}

/** Has the stream `nodes` told of what no other fact tells of, once the request is known to be well formed. */
export function recordOperators (app: FastifyInstance, { recordAsked }: Pick<AuthOptions, 'recordAsked'>): void {
  app.addHook('preHandler', async request => {
    const { method, url, log, routeOptions: { config: { recorded } } } = request
    if (recorded === undefined) return
    const { reason } = request.query as { reason: string }
    const what = `${method} ${url.split('?', 1)[0]}`
    const told = recordAsked({ app: request.app, what, by: callerId(request), reason })
    if (recorded === 'before') await told
    else told.catch(err => { log.error({ err, what, reason }, 'what an operator asked for could not be recorded') })
  })
}

function isOperators (access: Access | undefined): boolean { return access === 'operate' || access === 'admin' }

/** The key of a user of the app that the request is about. */
export function keyOf ({ app }: FastifyRequest, userId: string): string { return userKey(app, userId) }

/** What a fact says of who asked for it: the id of the key, empty for one of the environment. */
export function callerId ({ caller }: FastifyRequest): string { return caller?.id ?? '' }

/** @throws GatewayError `forbidden` where the caller has not this scope, beside that of the route */
export function requireScope ({ caller }: FastifyRequest, scope: Scope): void {
  if (!caller?.scopes.includes(scope)) throw new GatewayError('forbidden', `the API key ${caller?.id} has not the scope ${scope}`)
}

/** @throws GatewayError `throttled` where the caller may not name so many recipients yet */
export function takeRecipients ({ caller }: FastifyRequest, count: number): void {
  take(caller?.recipients, count, caller, 'recipients')
  take(caller?.ofApp?.recipients, count, caller, 'recipients', true)
}

/** How many recipients the caller may name at once without having the others of his app wait for a second. */
export function recipientsAtOnce ({ caller }: FastifyRequest, max: number): number {
  const quotas = [caller?.recipients, caller?.ofApp?.recipients]
  return Math.min(max, ...quotas.map(quota => quota === undefined ? max : Math.max(1, Math.floor(quota.perSecond / 4))))
}

/** As `takeRecipients`, but that it waits until the caller may: for one who is held back where others are refused. */
export async function awaitRecipients ({ caller }: FastifyRequest, count: number, signal: AbortSignal): Promise<void> {
  for (const quota of [caller?.recipients, caller?.ofApp?.recipients]) {
    for (;;) {
      const waitMs = quota?.take(count, performance.now()) ?? 0
      if (waitMs === 0) break
      await wait(waitMs, undefined, { signal })
    }
  }
}

function take (quota: Quota | undefined, count: number, caller: Caller | null, what: string, isOfApp = false): void {
  const waitMs = quota?.take(count, performance.now()) ?? 0
  if (waitMs === 0) return
  const who = isOfApp ? `all API keys of the app ${caller!.app} together` : `the API key ${caller!.id}`
  const message = `${who} may have ${quota!.perSecond} ${what} a second`
  throw new GatewayError('throttled', message, { retryAfterMs: waitMs })
}

/**
 * @returns the app that the request is about
 * @throws GatewayError `forbidden` where the caller may not ask about it; `not-found` where there is no such app
 */
function appAskedFor (request: FastifyRequest, { id, app, scopes }: Caller, apps: Apps): string {
  const { reach = 'nobody' } = request.routeOptions.config
  const isOfAll = app === '' && scopes.includes('admin')
  if (reach !== 'one-app') {
    if (app !== '') throw new GatewayError('forbidden', `the API key ${id} is of the app ${app}, and this is not of one app`)
    if (reach === 'every-app' && apps.areMany && !isOfAll) {
      throw new GatewayError('forbidden', `the API key ${id} has not the scope admin, and this tells of the users of every app`)
    }
    return ''
  }
  const { app: named = app } = request.query as { app?: unknown }
  if (named === app) return app
  if (typeof named !== 'string') throw new GatewayError('bad-request', 'querystring/app: want it once')
  if (!isOfAll) {
    const why = app === '' ? 'has not the scope admin' : `is of the app ${app}`
    throw new GatewayError('forbidden', `the API key ${id} ${why}, and another app is asked for`)
  }
  if (!apps.has(named)) throw new GatewayError('not-found', `there is no app ${JSON.stringify(named.slice(0, 40))} here`)
  return named
}

type Asking = Pick<SignedIn, 'caller'> & Partial<SignedIn>

function identify (request: FastifyRequest, { apiKeys, sessions, wantsCertificate }: AuthOptions): Asking {
  const { authorization } = request.headers
  const key = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1]
  const known = key === undefined
    ? sessions && authorization === undefined ? callerOfSession(request, sessions) : undefined
    : { caller: apiKeys.identify(key) }
  if (!known) throw new GatewayError('unauthorized', 'want the header "authorization: Bearer <API key>"')
  if (wantsCertificate && !(request.raw.socket as TLSSocket).authorized) {
    throw new GatewayError('unauthorized', 'want a client certificate, by an authority in LEDGERLINE_TLS_CLIENT_CA')
  }
  return known
}
