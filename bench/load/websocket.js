/*
  The client's side of RFC 6455, as little as a load generator needs: no library, so that a client costs the same and as
  little as can be for every WebSocket server. Frames are masked with one fixed key that is not zero (a server may skip
  the work for a zero key), which lets a whole masked frame be prepared once and patched.
*/
import { out } from './outgoing.js'

export const mask = [0x9a, 0x3c, 0x71, 0xe5]

/** A masked client frame. @param {number} opcode 1 text, 2 binary, 10 pong */
export function clientFrame (opcode, payload) {
  const headerBytes = payload.length < 126 ? 2 : 4
  const frame = Buffer.alloc(headerBytes + 4 + payload.length)
  frame[0] = 0x80 | opcode
  if (headerBytes === 2) {
    frame[1] = 0x80 | payload.length
  } else {
    frame[1] = 0x80 | 126
    frame.writeUInt16BE(payload.length, 2)
  }
  for (let i = 0; i < 4; i++) frame[headerBytes + i] = mask[i]
  for (let i = 0; i < payload.length; i++) frame[headerBytes + 4 + i] = payload[i] ^ mask[i & 3]
  return frame
}

/** Bytes before the payload in `clientFrame(_, payload)`. */
export function payloadOffset (payloadBytes) {
  return payloadBytes < 126 ? 6 : 8
}

/**
 * Speaks `inner`, a protocol over messages, on a WebSocket.
 *
 * @param {import('./connections.js').MessageProtocol} inner
 * @returns {import('./connections.js').Protocol}
 */
export function overWebSocket (inner) {
  const subprotocol = inner.subprotocol ? `Sec-WebSocket-Protocol: ${inner.subprotocol}\r\n` : ''
  const request = Buffer.from(`GET ${inner.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n` +
    'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' +
    `${subprotocol}\r\n`)
  return {
    ...inner,
    start: () => out.put(request),
    read (conn, bytes, end) {
      return conn.upgraded ? readFrames(inner, conn, bytes, 0, end) : readUpgrade(inner, conn, bytes, end)
    },
  }
}

function readUpgrade (inner, conn, bytes, end) {
  const stop = bytes.subarray(0, end).indexOf('\r\n\r\n')
  if (stop < 0) return 0
  const status = bytes.latin1Slice(0, Math.min(stop, 40)).split('\r\n', 1)[0]
  if (!status.includes(' 101 ')) {
    conn.fail(`no upgrade: ${status}`)
    return end
  }
  conn.upgraded = true
  inner.start(conn)
  return readFrames(inner, conn, bytes, stop + 4, end)
}

function readFrames (inner, conn, bytes, at, end) {
  while (at + 2 <= end) {
    let start = at + 2
    let length = bytes[at + 1]
    if (length === 126) {
      if (at + 4 > end) break
      length = bytes.readUInt16BE(at + 2)
      start = at + 4
    } else if (length === 127) {
      if (at + 10 > end) break
      length = Number(bytes.readBigUInt64BE(at + 2))
      start = at + 10
    }
    const stop = start + length
    if (stop > end) break
    const opcode = bytes[at] & 0x0f
    if (opcode === 1 || opcode === 2) {
      inner.message(conn, bytes, start, stop)
    } else if (opcode === 8) {
      conn.fail(`closed with ${length >= 2 ? bytes.readUInt16BE(start) : 'no code'}`)
    } else if (opcode === 9) {
      out.put(clientFrame(10, bytes.subarray(start, stop)))
    }
    at = stop
  }
  return at
}
