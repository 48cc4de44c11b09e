import { createServer, IncomingMessage } from 'node:http'
import type { RequestListener, Server, ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { clientOfSocket } from '../edge/clients.js'
import { openFilesMax } from '../edge/descriptors.js'
import { networkOf } from '../edge/network.js'
import { Newcomers } from '../edge/newcomers.js'
import type { ServerTls } from '../server-tls.js'
import { endWithError, HttpError } from './errors.js'
import { Incoming } from './incoming.js'
import { type Proxied, takeProxyHeaders } from './proxied.js'

/** What a socket of the HTTP port may hold. Most of it is open to everybody, so nothing here asks for a key. */
export interface SocketLimits {
  /**
   * For the head of a request to come in, from accept or from its first byte, and for its body from then on; also how
   * long a stranger's socket may idle.
   */
  readonly requestMs: number
  /** How long the socket of somebody with an API key may idle: longer than load balancers keep theirs. */
  readonly keptAliveMs: number
  /** Whoever takes nothing of an answer for so long is cut off. */
  readonly unreadMs: number
  /** Requests of one socket that are not answered yet. */
  readonly pipelinedMax: number
  /** Sockets that are no WebSockets and have shown no API key: of one address, and of all. */
  readonly strangersMax: number
  readonly strangersTotalMax: number
}

export const socketLimits: SocketLimits = {
  requestMs: 10_000,
  keptAliveMs: 72_000,
  unreadMs: 30_000,
  pipelinedMax: 64,
  strangersMax: 1_000,
  // As many clients may come back at once, each with an upgrade.
  strangersTotalMax: Math.min(8_192, Math.floor(openFilesMax() / 2)),
}

/** Where WebSockets are opened. */
export const connectPath = '/v1/connect'

/** Whoever is behind a socket. */
interface Visitor {
  /** Requests that are not answered yet. */
  underWay: number
  readonly incoming: Incoming
  /** Where it is counted while it is one. */
  readonly strangers: Newcomers<Socket>
  /** What it counts for by an address; undefined for none. */
  countsAs (ip: string): string | undefined
  /** How long a stranger may idle. */
  readonly idleMs: number
  /** It asked to become a WebSocket. */
  isUpgraded: boolean
}

const visitors = new WeakMap<Socket, Visitor>()
const socketsOf = new WeakMap<Server, ReadonlySet<Socket>>()
/** Servers that take nobody any more. */
const closing = new WeakSet<Server>()

/** It has shown an API key, or is a WebSocket, which has bounds of its own. */
export function vouchFor (socket: Socket): void {
  if (visitors.get(socket)?.strangers.delete(socket)) socket.removeListener('timeout', destroyThis)
}

/** It turned out to be a client's at `ip`. */
export function countFor (socket: Socket, ip: string): void {
  const { strangers, countsAs } = visitors.get(socket)!
  strangers.move(socket, countsAs(ip))
}

/** For a route that reads a body as it deals with it: the clock for all of it stops, and the route has its own. */
export function takesItsTime (request: IncomingMessage): void { visitors.get(request.socket)?.incoming.end(request) }

/** Such a route reads no further: what is left of the body is dropped, and has the time of a whole one. */
export function dropRest (request: IncomingMessage): void {
  if (request.complete) return
  visitors.get(request.socket)?.incoming.begin(request)
  request.resume()
}

/** Whether Node took the socket of `request` away from its parser. */
export function isUpgrade (request: IncomingMessage): boolean {
  return (request as Request).upgrade === true
}

/** For a socket that asked to become a WebSocket, once that is answered. */
export function endIfNoWebSocket (socket: Socket): void {
  if (visitors.get(socket)?.strangers !== undefined) socket.destroySoon()
}

/** How long `socket` may idle if it is a stranger's. */
export function strangersIdleMs (socket: Socket): number | undefined {
  const visitor = visitors.get(socket)
  return visitor?.strangers.has(socket) ? visitor.idleMs : undefined
}

/**
 * Asks for an upgrade only where there is one: a WebSocket at its path. Node takes every request with an `upgrade`
 * header away from the routes once anybody listens for upgrades, and with it those that offer `h2c` beside a body. All
 * others are answered as if they had not asked, as RFC 9110 7.8 has it.
 */
class Request extends IncomingMessage {
  declare private asksForUpgrade: boolean | null

  get upgrade (): boolean | null {
    return this.asksForUpgrade === true ? this.method === 'CONNECT' || isWebSocket(this) : this.asksForUpgrade
  }

  set upgrade (asks: boolean | null) { this.asksForUpgrade = asks }
}

function isWebSocket ({ method, url = '', headers }: IncomingMessage): boolean {
  return method === 'GET' && asksForWebSocket(headers.upgrade) && url.split('?', 1)[0] === connectPath
}

function asksForWebSocket (upgrade: string | undefined): boolean {
  return upgrade !== undefined && /(?:^|,)\s*websocket\s*(?:,|$)/i.test(upgrade)
}

/** The socket that was accepted: with TLS, the one below that of the requests. */
export function acceptedSocket (socket: Socket): Socket {
  return (socket as Socket & { _parent?: Socket | null })._parent ?? socket
}

export interface BoundedServerOptions {
  readonly limits: SocketLimits
  /** Undefined for plain HTTP. */
  readonly tls: HttpTls | undefined
  /** Whose sockets begin with a PROXY header, and count for no address themselves. */
  readonly proxied: Proxied | undefined
}

export interface HttpTls {
  readonly certificate: ServerTls
  /** Clients are asked for one of their own, and may have none. */
  readonly wantsCertificate: boolean
  /** Told of each client that did not get through its handshake. */
  failed (error: Error): void
}

/** A server whose sockets keep within `limits`, whatever their peers do. */
export function boundedServer (
  handler: RequestListener, { limits, tls, proxied }: BoundedServerOptions
): Server {
  const { requestMs, keptAliveMs, unreadMs, pipelinedMax, strangersMax, strangersTotalMax } = limits
  const sockets = new Set<Socket>()
  const strangers = new Newcomers<Socket>({
    max: strangersTotalMax,
    networkMax: strangersMax,
    isYoung: () => false, // its request comes with the next read, and has it wait for an answer
    putOut: socket => { socket.destroy() },
  })
  const countsAs = (ip: string): string | undefined =>
    proxied?.proxies?.has(ip) || proxied?.uncounted?.has(ip) ? undefined : networkOf(ip)

  const options = {
    IncomingMessage: Request,
    headersTimeout: requestMs,
    requestTimeout: 0, // see `Incoming`
    keepAliveTimeout: keptAliveMs,
    connectionsCheckingInterval: Math.max(50, requestMs / 10),
    requireHostHeader: false, // that answer would not be JSON; requireHttp11 gives it
  }
  const onRequest: RequestListener = (request, response) => {
    const { socket } = request
    const visitor = visitors.get(socket)!
    // The parser hands out every request of one read at once, and keeps each until it is answered.
    if (socket.destroyed || visitor.underWay >= pipelinedMax) {
      socket.destroy()
      return
    }
    if (visitor.underWay++ === 0) strangers.setIdle(socket, false)
    incoming.begin(request)
    response.once('close', () => {
      if (request.complete) incoming.end(request) // else its rest is still coming, answered or not
      if (--visitor.underWay > 0 || socket.destroyed) return
      strangers.setIdle(socket, true)
      if (closing.has(server)) socket.destroySoon()
      else if (strangers.has(socket)) socket.setTimeout(requestMs)
    })
    if (asksForWebSocket(request.headers.upgrade)) response.shouldKeepAlive = false
    handler(request, response)
  }
  const server = tls ? tlsServer(options, requestMs, tls, onRequest) : createServer(options, onRequest)
  // Node would leave out all behind the 2,000th, and nobody would see that one came twice. Their bytes are bounded.
  server.maxHeadersCount = 0
  const incoming = new Incoming(server, requestMs)
  server.on('checkExpectation', onRequest) // Node's answer would not be JSON; requireHttp11 gives it

  socketsOf.set(server, sockets)
  const forget = (socket: Socket): void => {
    sockets.delete(socket)
    strangers.delete(socket)
  }
  const admit = (socket: Socket): void => {
    visitors.set(socket, { underWay: 0, incoming, strangers, countsAs, idleMs: requestMs, isUpgraded: false })
    sockets.add(socket)
    socket.once('close', () => { forget(socket) })
    strangers.add(socket, countsAs(clientOfSocket(socket).ip))
    if (closing.has(server)) socket.setTimeout(requestMs) // Node's own clock has stopped
  }
  if (proxied?.proxies) takeProxyHeaders(server, proxied.proxies, proxied.headerRefused, requestMs, countFor)
  server.prependListener('connection', admit)
  if (tls) {
    server.on('secureConnection', (socket: TLSSocket) => {
      // It stands for the one below it from now on.
      forget(acceptedSocket(socket))
      admit(socket)
    })
  }

  server.setTimeout(unreadMs, socket => {
    // An answer may take its time to be made, and a follower's may have nothing to say.
    if (socket.writableLength > 0 || visitors.get(socket)?.underWay === 0) socket.destroy()
  })

  server.on('connect', (_request, socket) => {
    endWithError(socket, new HttpError(405, 'method-not-allowed', 'this is no proxy'))
  })
  return server
}

/** Node lets go of a socket that is to be upgraded, so its clocks are off until it is a WebSocket. */
export function boundUpgrades (server: Server): void {
  server.prependListener('upgrade', ({ socket }) => {
    const visitor = visitors.get(socket)!
    visitor.isUpgraded = true
    socket.setTimeout(visitor.idleMs)
    socket.on('timeout', destroyThis)
  })
}

function tlsServer (
  options: ServerOptions, handshakeTimeout: number, { certificate, wantsCertificate, failed }: HttpTls,
  onRequest: RequestListener
): Server {
  const client = wantsCertificate ? { requestCert: true, rejectUnauthorized: false } : {}
  const server = createTlsServer({ ...options, ...certificate.options, ...client, handshakeTimeout }, onRequest)
  certificate.onRenewal(renewed => { server.setSecureContext(renewed) })
  // By default it would be answered as a request that can't be read.
  server.removeAllListeners('tlsClientError')
  server.on('tlsClientError', (error, socket) => {
    failed(error)
    socket.destroy()
  })
  return server
}

/**
 * Ends sockets that wait for no answer, and the others once they have it: of a server that is closing, which waits for
 * all of them and whose clocks for requests have stopped. WebSockets are ended by the edge.
 */
export function endIdle (server: Server): void {
  closing.add(server)
  for (const socket of socketsOf.get(server) ?? []) {
    const { underWay, isUpgraded, strangers } = visitors.get(socket)!
    const isWebSocket = isUpgraded && !strangers.has(socket)
    if (underWay === 0 && !isWebSocket) socket.destroy()
  }
}

function destroyThis (this: Socket): void { this.destroy() }
