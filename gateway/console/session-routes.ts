import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TLSSocket } from 'node:tls'
import { GatewayError } from '../../schemas/errors.js'
import type { Caller } from '../keys/api-keys.js'
import { cookieOf, tokenIn } from './cookie.js'
import { requireOwnPage } from './session-access.js'
import { type ConsoleSessions, sessionMs } from './sessions.js'

export interface SessionRoutesOptions {
  readonly sessions: ConsoleSessions
  /** The node that the pages are of. */
  readonly nodeId: string
  readonly version: string
  readonly wantsCertificate: boolean
}

/** What a key must be good for: pages that show nothing help nobody. */
const scopesWanted = ['operate', 'read'] as const

const bodySchema = {
  type: 'object',
  required: ['apiKey'],
  additionalProperties: false,
  properties: { apiKey: { type: 'string', minLength: 1, maxLength: 256, description: 'an API key' } },
}

/** Signing in to the console and out of it. */
export function sessionRoutes (app: FastifyInstance, options: SessionRoutesOptions): void {
  const { sessions, wantsCertificate } = options

  app.post<{ Body: { apiKey: string } }>('/console/session', { schema: { body: bodySchema } }, async (request, reply) => {
    requireOwnPage(request)
    const caller = identify(request, sessions, wantsCertificate)
    const { token, expiresAtMs } = sessions.begin(caller)
    request.log.info({ keyId: caller.id, keyName: caller.name }, 'an operator signed in to the console')
    reply.header('set-cookie', cookieOf(request, token, sessionMs))
    return answerOf(options, caller, expiresAtMs)
  })

  app.get('/console/session', async request => {
    requireOwnPage(request)
    const session = sessions.find(tokenIn(request) ?? '')
    if (session === undefined) throw new GatewayError('unauthorized', 'nobody is signed in')
    return answerOf(options, session.caller, session.expiresAtMs)
  })

  app.delete('/console/session', async (request, reply) => {
    requireOwnPage(request)
    sessions.end(tokenIn(request) ?? '')
    return await reply.code(204).header('set-cookie', cookieOf(request, '', 0)).send()
  })
}

function identify (
  request: FastifyRequest<{ Body: { apiKey: string } }>, { apiKeys }: ConsoleSessions, wantsCertificate: boolean
): Caller {
  const caller = apiKeys.identify(request.body.apiKey)
  if (wantsCertificate && !(request.raw.socket as TLSSocket).authorized) {
    throw new GatewayError('unauthorized', 'want a client certificate, by an authority in LEDGERLINE_TLS_CLIENT_CA')
  }
  const lacks = scopesWanted.find(scope => !caller.scopes.includes(scope))
  if (lacks !== undefined) {
    throw new GatewayError('forbidden', `the API key ${caller.id} has not the scope ${lacks}; the console wants ${scopesWanted.join(' and ')}`)
  }
  if (caller.app !== '') {
    throw new GatewayError('forbidden', `the API key ${caller.id} is of the app ${caller.app}, and the console shows what is of all apps`)
  }
  return caller
}

function answerOf (
  { nodeId, version, sessions: { apiKeys } }: SessionRoutesOptions, { id, name, scopes }: Caller, expiresAtMs: number
) {
  return { nodeId, version, key: { id, name, scopes, from: id === '' ? apiKeys.source : 'file' }, expiresAtMs }
}
