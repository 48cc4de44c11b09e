import type { FastifyRequest } from 'fastify'
import { schemeOf } from '../edge/clients.js'

/*
  The cookie of a session (RFC 6265): out of reach of scripts, sent with requests of pages of the same site alone, and
  over TLS alone where the browser speaks TLS. Browsers take the prefix `__Host-` from the very host alone.
*/

const name = 'ledgerline-console'

function isSecure ({ raw }: FastifyRequest): boolean { return schemeOf(raw) === 'https' }

function nameFor (request: FastifyRequest): string { return isSecure(request) ? `__Host-${name}` : name }

/** @returns for the header `set-cookie` */
export function cookieOf (request: FastifyRequest, token: string, lifeMs: number): string {
  const secure = isSecure(request) ? '; Secure' : ''
  const seconds = Math.floor(lifeMs / 1_000)
  return `${nameFor(request)}=${token}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`
}

/** @returns the token that the request has a cookie with */
export function tokenIn (request: FastifyRequest): string | undefined {
  const own = `${nameFor(request)}=`
  const pair = request.headers.cookie?.split(';').map(text => text.trim()).find(text => text.startsWith(own))
  return pair?.slice(own.length)
}
