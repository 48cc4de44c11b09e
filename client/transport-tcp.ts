import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { decodeFrame, encodeFrame } from '../schemas/frame-codec.js'
import type { ClientFrame } from '../schemas/frames.js'
import type { Address } from './platform.js'
import type { Transport, TransportHandlers } from './transport.js'

/*
  Frame => LENGTH OPCODE BODY
    LENGTH => uint32, big-endian: bytes of OPCODE and BODY
*/

/** A server that announces a longer frame is not one of ours. */
const lengthMax = 16 << 20

/** @param to `tcp://host:port`, or `tls://host:port` */
export function openTcp ({ url, ip }: Address, handlers: TransportHandlers): Transport {
  const { protocol, hostname, port } = new URL(url)
  const name = hostname.replace(/^\[|\]$/g, '')
  const host = ip ?? name
  // The certificate is that of the name, wherever it was resolved.
  const socket = protocol === 'tls:'
    ? connectTls({ host, port: Number(port), servername: name })
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
      const bytes = frameBytes(frame, 4)
      bytes.writeUInt32BE(bytes.length - 4, 0)
      socket.write(bytes)
    },
    close: () => { socket.end() },
    destroy () {
      socket.uncork() // what this turn sent, such as the goodbye before a sleep, goes out first
      socket.destroy()
    },
  }
}

/** OPCODE and BODY, behind `room` bytes for others to fill. */
export function frameBytes (frame: ClientFrame, room: number): Buffer {
  const bytes = Buffer.allocUnsafe(512)
  const end = encodeFrame(frame, bytes, room)
  if (end >= 0) return bytes.subarray(0, end)
  const grown = Buffer.allocUnsafe(bytes.length - end)
  return grown.subarray(0, encodeFrame(frame, grown, room))
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
