import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { decodeFrame, encodeFrame } from '../schemas/frame-codec.js'
import type { ClientFrame } from '../schemas/frames.js'
import type { Transport, TransportHandlers } from './transport.js'

/*
  Frame => LENGTH OPCODE BODY
    LENGTH => uint32, big-endian: bytes of OPCODE and BODY
*/

/** A server that announces a longer frame is not one of ours. */
const lengthMax = 16 << 20

/** @param url `tcp://host:port`, or `tls://host:port` */
export function openTcp (url: string, handlers: TransportHandlers): Transport {
  const { protocol, hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  const socket = protocol === 'tls:'
    ? connectTls({ host, port: Number(port), servername: host })
    : connect({ host, port: Number(port), noDelay: true })
  let reason = ''
  const reader = new FrameReader(handlers.received)
  socket.once(protocol === 'tls:' ? 'secureConnect' : 'connect', handlers.opened)
  socket.on('data', chunk => {
    try {
      reader.read(chunk)
    } catch (err) {
      socket.destroy(err as Error)
    }
  })
  socket.on('error', err => { reason = err.message })
  socket.once('close', () => handlers.closed({ closeCode: 0, reason, retryAfterMs: 0 }))
  return {
    send (frame) {
      // What one turn sends goes out in one write.
      if (socket.writableCorked === 0) {
        socket.cork()
        process.nextTick(() => socket.uncork())
      }
      socket.write(frameBytes(frame))
    },
    close: () => { socket.end() },
    destroy: () => { socket.destroy() },
  }
}

function frameBytes (frame: ClientFrame): Buffer {
  let bytes = Buffer.allocUnsafe(512)
  let end = encodeFrame(frame, bytes, 4)
  if (end < 0) {
    bytes = Buffer.allocUnsafe(bytes.length - end)
    end = encodeFrame(frame, bytes, 4)
  }
  bytes.writeUInt32BE(end - 4, 0)
  return bytes.subarray(0, end)
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #received: TransportHandlers['received']
  #rest: Buffer = Buffer.alloc(0)

  constructor (received: TransportHandlers['received']) {
    this.#received = received
  }

  /** @throws GatewayError `bad-frame`; RangeError for a length that no frame has */
  read (chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let pos = 0
    while (bytes.length - pos >= 4) {
      const length = bytes.readUInt32BE(pos)
      if (length < 1 || length > lengthMax) throw new RangeError(`a frame of ${length} bytes`)
      const end = pos + 4 + length
      if (end > bytes.length) break
      this.#received(decodeFrame(bytes, pos + 4, end))
      pos = end
    }
    this.#rest = bytes.subarray(pos)
  }
}
