import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import { schemeOf } from '../edge/clients.js'
import type { Caller } from '../keys/api-keys.js'
import { isOwnOrigin } from '../origins.js'
import { tokenIn } from './cookie.js'
import type { ConsoleSessions } from './sessions.js'

/** Who asks within a session. */
export interface SignedIn {
  readonly caller: Caller
  /** Whether the session does. */
  readonly goesOn: () => boolean
}

/**
 * Who has signed in to the console that a request without an API key comes from.
 *
 * @returns undefined where the request has no session
 * @throws GatewayError `unauthorized` where its session has ended; `bad-origin` where another page has made it
 */
export function callerOfSession (request: FastifyRequest, sessions: ConsoleSessions): SignedIn | undefined {
  const token = tokenIn(request)
  if (token === undefined) return undefined
  requireOwnPage(request)
  const session = sessions.find(token)
  if (session === undefined) throw new GatewayError('unauthorized', 'the session has ended: sign in again')
  return { caller: session.caller, goesOn: () => sessions.find(token) !== undefined }
}

/**
 * Lets requests of the console's own pages pass alone. A page of another port or of a host beside ours is of the same
 * site, so `SameSite` does not keep it out. Whoever writes must say of which origin his page is; browsers always do.
 *
 * @throws GatewayError `bad-origin`
 */
export function requireOwnPage (request: FastifyRequest): void {
  const { origin, 'sec-fetch-site': site } = request.headers
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  const isOwn = origin === undefined ? isRead : isOwnOrigin(origin, request.host, schemeOf(request.raw))
  const isOfOwnPage = site === undefined || site === 'same-origin' || site === 'none'
  if (isOwn && isOfOwnPage) return
  throw new GatewayError('bad-origin', `a session is for the pages of the console alone; origin: got ${
    origin === undefined ? 'none' : origin.slice(0, 256)}`)
}
