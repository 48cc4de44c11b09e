import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { buildApi } from '../api.js'
import type { HealthRegistry } from '../health.js'
import type { Readiness } from '../http/health.js'
import { acceptBacklog } from '../ports.js'
import { isWildcard } from '../reachable.js'
import type { Base } from './base.js'
import type { Roles } from './roles.js'

/** Where a node listens. */
export interface Servers {
  /** `http://host:port`, or `https` with a certificate. */
  readonly http: string
  /** `tcp://host:port`, or `tls` with a certificate; empty without the role `edge`. */
  readonly tcp: string
  /** Where all is that wants an API key: `http`, unless that has a port of its own. */
  readonly api: string
  /** Where `/metrics` is that wants none; empty without a port of its own. */
  readonly metrics: string
  /** What others tell clients to connect to; both are empty without the role `edge`. */
  readonly wsUrl: string
  readonly tcpUrl: string
}

/** Opens all listeners: from here on clients and services find this node. */
export async function openServers (base: Base, roles: Roles): Promise<Servers> {
  const { config, tls, health, stores, closers } = base
  const { edge } = roles
  const readiness = () => readinessOf(health, closers.signal.aborted, edge?.draining === 100)
  const madeUp = new Set<string>()
  const { app, apiApp, metricsApp } = buildApi({ ...base, ...roles, readiness, madeUp })
  for (const each of [app, apiApp, metricsApp]) {
    each?.addHook('onRequest', async (_request, reply) => {
      if (closers.signal.aborted) reply.header('connection', 'close')
    })
  }
  edge?.routes(app)
  closers.add(async () => {
    // Nothing new comes in; the sockets that are open are what the servers wait for.
    const closed = Promise.all([app.close(), apiApp?.close(), metricsApp?.close()])
    await edge?.stop()
    await closed
    // Who follows the ledger here stops next. What it was not handed waits for another node, and there may be none.
    await stores.delivered()
  })
  const [httpScheme, tcpScheme] = tls ? ['https', 'tls'] : ['http', 'tcp']
  const listen = async (app: FastifyInstance, host: string, port: number) => {
    await app.listen({ host, port, backlog: acceptBacklog })
    return `${httpScheme}://${hostInUrl(host)}:${(app.server.address() as { port: number }).port}`
  }
  const http = await listen(app, config.host, config.httpPort)
  const api = apiApp ? await listen(apiApp, config.apiHost, config.apiPort!) : http
  const metrics = metricsApp ? await listen(metricsApp, config.metricsHost, config.metricsPort!) : ''
  const tcp = edge ? `${tcpScheme}://${hostInUrl(config.host)}:${await edge.listen()}` : ''
  const wsUrl = edge ? config.publicWsUrl ?? `${http.replace('http', 'ws')}/v1/connect` : ''
  const tcpUrl = edge ? config.publicTcpUrl ?? tcp : ''
  if (edge && isWildcard(config.host)) {
    const unnamed = [...config.publicWsUrl ? [] : [wsUrl], ...config.publicTcpUrl ? [] : [tcpUrl]]
    for (const url of unnamed) madeUp.add(url)
    if (stores.shared && unnamed.length > 0) warnOfUrls(base.logger, unnamed)
  }
  return { http, tcp, api, metrics, wsUrl, tcpUrl }
}

/** A node that stops is not in trouble, and takes nobody either. */
function readinessOf (health: HealthRegistry, stopping: boolean, draining: boolean): Readiness {
  const { ready, checks } = health.readiness()
  const reason = stopping ? 'the node is stopping' : draining ? 'the node is draining' : ''
  return { ready: ready && reason === '', checks: { ...checks, node: { ok: reason === '', reason } } }
}

/** Other nodes hand these out, and can't know by which name their askers reach this one. */
function warnOfUrls (logger: Logger, urls: readonly string[]): void {
  const settings = 'LEDGERLINE_PUBLIC_WS_URL and LEDGERLINE_PUBLIC_TCP_URL'
  logger.warn({ urls, settings }, 'clients are told addresses that they can not reach: set what settings names')
}

/** An address that others can use in a URL. */
function hostInUrl (host: string): string {
  if (isWildcard(host)) return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}
