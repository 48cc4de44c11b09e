import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Socket } from 'node:net'
import { GatewayError } from '../../schemas/errors.js'
import { requireOrigin } from '../http/browsers.js'
import { HttpError } from '../http/errors.js'
import { acceptedSocket } from '../http/sockets.js'
import type { OriginRule } from '../origins.js'
import { clientOf } from './clients.js'
import type { Door } from './door.js'
import { fdOf } from './handle.js'

export const avroProtocol = 'ledgerline.v1.avro'
export const jsonProtocol = 'ledgerline.v1.json'

/** RFC 6455, 4.2.1: 16 bytes in base64. */
const keyRegExp = /^[+/0-9A-Za-z]{22}==$/

/**
 * What is asked of a request before it becomes a WebSocket, answered over HTTP where it is refused.
 *
 * @throws GatewayError `rate-limited`, `not-ready`, `bad-origin` or `bad-request`, with the status and the headers of
 *   its answer
 */
export function checkUpgrade (request: FastifyRequest, door: Door, isAllowedOrigin: OriginRule): void {
  const { socket, headers } = request.raw
  const refusal = door.refusal(clientOf(request.raw).ip, fdOf(socket))
  if (refusal) {
    const [status, code] = refusal.code === 'redirected' ? [503, 'not-ready'] as const : [429, refusal.code] as const
    throw new HttpError(status, code, refusal.reason, { 'retry-after': `${Math.ceil(refusal.retryAfterMs / 1_000)}` })
  }
  requireOrigin(request, isAllowedOrigin, () => { door.refused('bad-origin') })
  if (!request.ws) throw upgradeRequired('this is the address of WebSockets')
  if (headers['sec-websocket-version'] !== '13') throw upgradeRequired('Sec-WebSocket-Version: want 13')
  // Node would hand the body on as if it were the first frames.
  if (headers['transfer-encoding'] !== undefined || !/^0*$/.test(headers['content-length'] ?? '')) {
    throw new GatewayError('bad-request', 'an upgrade has no body')
  }
  if (!keyRegExp.test(headers['sec-websocket-key'] ?? '')) {
    throw new GatewayError('bad-request', 'Sec-WebSocket-Key: want 16 bytes in base64')
  }
  // ws reads both headers again. It takes no list for the first one, and answers with HTML where it does not like one.
  headers.upgrade = 'websocket'
  const offered = headers['sec-websocket-protocol']
  if (offered === undefined) return
  const chosen = chooseProtocol(offered.split(',').map(name => name.trim()))
  if (!chosen) {
    throw new GatewayError('bad-request', `Sec-WebSocket-Protocol: want ${avroProtocol} or ${jsonProtocol}, or no such header`)
  }
  headers['sec-websocket-protocol'] = chosen
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
    app.addHook('onResponse', async ({ raw: { socket } }) => { this.#ticks.set(acceptedSocket(socket), now()) })
  }

  take (socket: Socket): number {
    const accepted = acceptedSocket(socket)
    const ticks = this.#ticks.get(accepted) ?? this.now()
    this.#ticks.delete(accepted)
    return ticks
  }
}

function upgradeRequired (message: string): HttpError {
  return new HttpError(426, 'bad-request', message, { upgrade: 'websocket', 'sec-websocket-version': '13' })
}
