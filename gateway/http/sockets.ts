import { createServer, IncomingMessage } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import type { Socket } from 'node:net'
import { networkOf } from '../edge/network.js'
import { endWithError, HttpError } from './errors.js'

/** What a socket of the HTTP port may hold. Most of it is open to everybody, so nothing here asks for a key. */
export interface SocketLimits {
  /** For a whole request to come in, from accept or from its first byte; also how long a stranger's socket may idle. */
  readonly requestMs: number
  /** How long the socket of somebody with an API key may idle: longer than load balancers keep theirs. */
  readonly keptAliveMs: number
  /** Whoever takes nothing of an answer for so long is cut off. */
  readonly unreadMs: number
  /** Requests of one socket that are not answered yet. */
  readonly pipelinedMax: number
  /** Sockets of one address that are no WebSockets and have shown no API key. */
  readonly strangersMax: number
}

export const socketLimits: SocketLimits = {
  requestMs: 10_000,
  keptAliveMs: 72_000,
  unreadMs: 30_000,
  pipelinedMax: 64,
  strangersMax: 1_000,
}

/** Where WebSockets are opened. */
export const connectPath = '/v1/connect'

/** Whoever is behind a socket. */
interface Visitor {
  /** Requests that are not answered yet. */
  underWay: number
  /** Those of its address that are strangers, while it is one. */
  strangers: Set<Socket> | undefined
  /** How long a stranger may idle. */
  readonly idleMs: number
}

const visitors = new WeakMap<Socket, Visitor>()
/** By address. */
const strangersOf = new WeakMap<Server, ReadonlyMap<string, ReadonlySet<Socket>>>()

/** It has shown an API key, or is a WebSocket, which has bounds of its own. */
export function vouchFor (socket: Socket): void {
  const visitor = visitors.get(socket)
  if (visitor?.strangers === undefined) return
  visitor.strangers.delete(socket)
  visitor.strangers = undefined
  socket.removeListener('timeout', destroyThis)
}

/** How long `socket` may idle if it is a stranger's. */
export function strangersIdleMs (socket: Socket): number | undefined {
  const visitor = visitors.get(socket)
  return visitor?.strangers && visitor.idleMs
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

/** A server whose sockets keep within `limits`, whatever their peers do. */
export function boundedServer (handler: RequestListener, limits: SocketLimits): Server {
  const { requestMs, keptAliveMs, unreadMs, pipelinedMax, strangersMax } = limits
  const byAddress = new Map<string, Set<Socket>>()

  const server = createServer({
    IncomingMessage: Request,
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    keepAliveTimeout: keptAliveMs,
    connectionsCheckingInterval: Math.max(50, requestMs / 10),
    requireHostHeader: false, // that answer would not be JSON; requireHttp11 gives it
  }, (request, response) => {
    const { socket } = request
    const visitor = visitors.get(socket)!
    // The parser hands out every request of one read at once, and keeps each until it is answered.
    if (socket.destroyed || visitor.underWay >= pipelinedMax) {
      socket.destroy()
      return
    }
    visitor.underWay++
    response.once('close', () => {
      visitor.underWay--
      if (visitor.underWay === 0 && visitor.strangers !== undefined && !socket.destroyed) socket.setTimeout(requestMs)
    })
    if (asksForWebSocket(request.headers.upgrade)) response.shouldKeepAlive = false
    handler(request, response)
  })

  strangersOf.set(server, byAddress)
  server.on('connection', socket => {
    const address = networkOf(socket.remoteAddress ?? '')
    const strangers = byAddress.get(address) ?? new Set()
    byAddress.set(address, strangers)
    visitors.set(socket, { underWay: 0, strangers, idleMs: requestMs })
    strangers.add(socket)
    socket.once('close', () => {
      strangers.delete(socket)
      if (strangers.size === 0 && byAddress.get(address) === strangers) byAddress.delete(address)
    })
    if (strangers.size > strangersMax) oldestIdle(strangers).destroy()
  })

  server.setTimeout(unreadMs, socket => {
    // An answer may take its time to be made, and a follower's may have nothing to say.
    if (socket.writableLength > 0 || visitors.get(socket)?.underWay === 0) socket.destroy()
  })

  // Node lets go of a socket that is to be upgraded, so its clocks are off until it is a WebSocket.
  server.on('upgrade', ({ socket }) => {
    socket.setTimeout(requestMs)
    socket.on('timeout', destroyThis)
  })

  server.on('connect', (_request, socket) => {
    endWithError(socket, new HttpError(405, 'method-not-allowed', 'this is no proxy'))
  })
  return server
}

/** Ends strangers that wait for no answer, of a server that is closing: its clocks for requests stop then. */
export function endStrangers (server: Server): void {
  for (const strangers of strangersOf.get(server)?.values() ?? []) {
    for (const socket of strangers) if (visitors.get(socket)!.underWay === 0) socket.destroy()
  }
}

/** The one that came first of those that wait for no answer, else the last one. */
function oldestIdle (strangers: ReadonlySet<Socket>): Socket {
  let last: Socket | undefined
  for (const socket of strangers) {
    if (visitors.get(socket)!.underWay === 0) return socket
    last = socket
  }
  return last!
}

function destroyThis (this: Socket): void { this.destroy() }
