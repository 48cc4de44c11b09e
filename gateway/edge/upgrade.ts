import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Socket } from 'node:net'
import { GatewayError } from '../../schemas/errors.js'
import type { Door } from './door.js'
import { networkOf } from './network.js'

export const avroProtocol = 'ledgerline.v1.avro'
export const jsonProtocol = 'ledgerline.v1.json'

/** RFC 6455, 4.2.1: 16 bytes in base64. */
const keyRegExp = /^[+/0-9A-Za-z]{22}==$/

/**
 * What is asked of a request before it becomes a WebSocket, answered over HTTP where it is refused.
 *
 * @throws GatewayError `rate-limited`, `not-ready` or `bad-request`; an error with status 426 for another version
 */
export function checkUpgrade (request: FastifyRequest, reply: FastifyReply, door: Door): void {
  const { socket, headers } = request.raw
  const refusal = door.refusal(networkOf(socket.remoteAddress ?? ''), fdOf(socket))
  if (refusal) {
    reply.header('retry-after', String(Math.ceil(refusal.retryAfterMs / 1_000)))
    throw new GatewayError(refusal.code === 'redirected' ? 'not-ready' : refusal.code, refusal.reason)
  }
  if (!request.ws) {
    reply.header('upgrade', 'websocket')
    throw upgradeRequired('this is the address of WebSockets')
  }
  if (headers['sec-websocket-version'] !== '13') {
    reply.header('sec-websocket-version', '13')
    throw upgradeRequired('Sec-WebSocket-Version: want 13')
  }
  if (!keyRegExp.test(headers['sec-websocket-key'] ?? '')) {
    throw new GatewayError('bad-request', 'Sec-WebSocket-Key: want 16 bytes in base64')
  }
  const offered = headers['sec-websocket-protocol']
  if (offered !== undefined && !chooseProtocol(offered.split(',').map(name => name.trim()))) {
    throw new GatewayError('bad-request', `Sec-WebSocket-Protocol: want ${avroProtocol} or ${jsonProtocol}, or no such header`)
  }
}

/** The first that the client names and we know; one that names none speaks JSON. */
export function chooseProtocol (protocols: Iterable<string>): string | false {
  for (const protocol of protocols) if (protocol === avroProtocol || protocol === jsonProtocol) return protocol
  return false
}

/**
 * Since when each HTTP socket has had time to become a WebSocket: since its accept, or since the last answer on it. The
 * clock of the handshake begins then, or the upgrade could be had for as long again.
 */
export class AcceptTimes {
  readonly #ticks = new WeakMap<Socket, number>()

  constructor (app: FastifyInstance, readonly now: () => number) {
    app.server.on('connection', (socket: Socket) => { this.#ticks.set(socket, now()) })
    app.addHook('onResponse', async ({ raw: { socket } }) => { this.#ticks.set(socket, now()) })
  }

  take (socket: Socket): number {
    const ticks = this.#ticks.get(socket) ?? this.now()
    this.#ticks.delete(socket)
    return ticks
  }
}

function upgradeRequired (message: string): Error {
  return Object.assign(new Error(message), { statusCode: 426 })
}

/** Node names the descriptor on the handle alone. */
function fdOf (socket: Socket): number {
  return (socket as Socket & { _handle?: { fd?: number } })._handle?.fd ?? -1
}
