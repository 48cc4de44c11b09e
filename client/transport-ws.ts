import { WebSocket } from 'ws'
import { decodeFrame, encodeFrame } from '../schemas/frame-codec.js'
import type { ClientFrame } from '../schemas/frames.js'
import type { Transport, TransportHandlers } from './transport.js'

const subprotocol = 'ledgerline.v1.avro'
const path = '/v1/connect'
const payloadBytesMax = 16 << 20

/** @param url `ws://` or `wss://`; the path is `/v1/connect` where it names none */
export function openWebSocket (url: string, handlers: TransportHandlers): Transport {
  const target = new URL(url)
  if (target.pathname === '/') target.pathname = path
  const socket = new WebSocket(target, subprotocol, { perMessageDeflate: false, maxPayload: payloadBytesMax })
  let failure = ''
  let retryAfterMs = 0
  socket.once('open', handlers.opened)
  socket.on('message', (data: Buffer) => {
    try {
      handlers.received(decodeFrame(data, 0, data.length))
    } catch (err) {
      failure = (err as Error).message
      socket.terminate()
    }
  })
  // Before the upgrade a server refuses with HTTP: 429 and how long to stay away (protocol.md 4, `banned`).
  socket.once('unexpected-response', (_request, response) => {
    failure = `HTTP ${response.statusCode} to the WebSocket upgrade`
    retryAfterMs = 1000 * (Number(response.headers['retry-after']) || 0)
    socket.terminate()
  })
  socket.on('error', err => { failure ||= err.message })
  socket.once('close', (closeCode, reason) => {
    handlers.closed({ closeCode, reason: failure || reason.toString(), retryAfterMs })
  })
  return {
    send (frame) { if (socket.readyState === WebSocket.OPEN) socket.send(frameBytes(frame)) },
    close: () => { socket.close(1000) },
    destroy: () => { socket.terminate() },
  }
}

function frameBytes (frame: ClientFrame): Buffer {
  const bytes = Buffer.allocUnsafe(512)
  const end = encodeFrame(frame, bytes, 0)
  if (end >= 0) return bytes.subarray(0, end)
  const grown = Buffer.allocUnsafe(bytes.length - end)
  return grown.subarray(0, encodeFrame(frame, grown, 0))
}
