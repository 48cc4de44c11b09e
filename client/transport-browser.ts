import { decodeMessage, encodeMessage } from './compact-codec.js'
import { urlByIp, webSocketUrl } from './platform.js'
import type { Address, Encoding } from './platform.js'
import type { Transport, TransportHandlers } from './transport.js'

/** @param to `ws://` or `wss://` */
export function openWebSocket (to: Address, encoding: Encoding, handlers: TransportHandlers): Transport {
  const socket = new WebSocket(webSocketUrl(urlByIp(to)), `ledgerline.v1.${encoding}`)
  socket.binaryType = 'arraybuffer'
  let hasClosed = false
  function closed (closeCode: number, reason: string): void {
    if (hasClosed) return
    hasClosed = true
    handlers.closed({ closeCode, reason, retryAfterMs: 0 })
  }
  /** A browser takes its time to close a socket whose other end is gone: for us it is closed now. */
  function destroy (reason: string): void {
    socket.close()
    closed(0, reason)
  }
  socket.onopen = handlers.opened
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
    if (hasClosed) return
    try {
      handlers.received(decodeMessage(typeof data === 'string' ? data : new Uint8Array(data)))
    } catch (err) {
      destroy((err as Error).message)
    }
  }
  // A browser does not say why an attempt failed.
  socket.onclose = ({ code, reason }) => closed(code, reason)
  return {
    send (frame) { if (socket.readyState === WebSocket.OPEN) socket.send(encodeMessage(frame, encoding)) },
    close: () => { socket.close(1000) },
    destroy: () => destroy(''),
  }
}
