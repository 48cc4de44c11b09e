import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { TLSSocket } from 'node:tls'
import { GatewayError } from '../../schemas/errors.js'
import { vouchFor } from './sockets.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** For everybody; without it the route wants an API key. */
    readonly public?: boolean
  }
}

/**
 * An `onRequest` hook that lets nobody without an API key pass, except to public routes.
 *
 * Keys are compared by digest: that makes them equally long, so the time taken tells nothing about them.
 *
 * @param wantsCertificate whoever has a key must have shown a client certificate that the node trusts, too
 */
export function requireApiKey (apiKeys: readonly string[], wantsCertificate = false) {
  const digests = apiKeys.map(digest)
  return async function authorize (request: FastifyRequest): Promise<void> {
    if (request.routeOptions.config.public === true || request.is404) return
    const key = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (key === undefined) throw new GatewayError('unauthorized', 'want the header "authorization: Bearer <API key>"')
    const given = digest(key)
    let known = false
    for (const each of digests) known = timingSafeEqual(given, each) || known
    if (!known) throw new GatewayError('unauthorized', 'this API key is unknown')
    if (wantsCertificate && !(request.raw.socket as TLSSocket).authorized) {
      throw new GatewayError('unauthorized', 'want a client certificate, by an authority in LEDGERLINE_TLS_CLIENT_CA')
    }
    vouchFor(request.raw.socket)
  }
}

function digest (key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
