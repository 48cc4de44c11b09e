import { lookup } from 'node:dns'
import { isIP } from 'node:net'
import type { LookupFunction } from 'node:net'
import { WebSocket } from 'ws'
import { decodeFrame, decodeFrameJson, encodeFrameJson } from '../schemas/frame-codec.js'
import { webSocketUrl } from './platform.js'
import type { Address, Encoding } from './platform.js'
import { frameBytes } from './transport-tcp.js'
import type { Transport, TransportHandlers } from './transport.js'
import { retryAfterMsOf } from './waits.js'

const payloadBytesMax = 16 << 20

/** @param to `ws://` or `wss://` */
export function openWebSocket ({ url, ip }: Address, encoding: Encoding, handlers: TransportHandlers): Transport {
  const socket = new WebSocket(webSocketUrl(url), `ledgerline.v1.${encoding}`, {
    perMessageDeflate: false,
    maxPayload: payloadBytesMax,
    lookup: lookupOf(ip),
  })
  let failure = ''
  let retryAfterMs = 0
  let refusedAs = 0
  socket.once('open', handlers.opened)
  socket.on('message', (data: Buffer, isBinary) => {
    try {
      handlers.received(isBinary ? decodeFrame(data, 0, data.length) : decodeFrameJson(data.toString()))
    } catch (err) {
      failure = (err as Error).message
      socket.terminate()
    }
  })
  // Before the upgrade a server refuses with HTTP: 429 and how long to stay away (protocol.md 4, `rate-limited`).
  socket.once('unexpected-response', (_request, response) => {
    failure = `HTTP ${response.statusCode} to the WebSocket upgrade`
    retryAfterMs = retryAfterMsOf(response.headers['retry-after'])
    if (response.statusCode === 429) refusedAs = 4005
    socket.terminate()
  })
  socket.on('error', err => { failure ||= err.message })
  socket.once('close', (closeCode, reason) => {
    handlers.closed({ closeCode: refusedAs || closeCode, reason: failure || reason.toString(), retryAfterMs })
  })
  return {
    send (frame) {
      if (socket.readyState !== WebSocket.OPEN) return
      socket.send(encoding === 'json' ? encodeFrameJson(frame) : frameBytes(frame, 0))
    },
    close: () => { socket.close(1000) },
    destroy: () => { socket.terminate() },
  }
}

/** Connects to `ip` in the name of the host, whose certificate and Host header stay. */
export function lookupOf (ip: string | undefined): LookupFunction {
  if (ip === undefined) return lookup
  const family = isIP(ip)
  return (_host, options, answer) => {
    if (options.all) answer(null, [{ address: ip, family }])
    else answer(null, ip, family)
  }
}
