/* For bare ws: binary messages that begin with their number; the server answers with those four bytes. */
import { out } from '../outgoing.js'
import { clientFrame, mask, overWebSocket, payloadOffset } from '../websocket.js'

const ackBytes = 4

export function bareWs (target, payload) {
  const uplink = clientFrame(2, payload)
  const numberAt = payloadOffset(payload.length)
  const maskWord = Buffer.from(mask).readInt32BE()
  return overWebSocket({
    path: '/',
    start: conn => conn.open(),
    putUplink (conn) {
      out.reserve(uplink.length)
      uplink.copy(out.bytes, out.at)
      out.bytes.writeInt32BE(++conn.sent ^ maskWord, out.at + numberAt)
      out.at += uplink.length
    },
    message (conn, bytes, start, stop) {
      if (stop - start > ackBytes) conn.delivered++
      else if (bytes.readInt32BE(start) === conn.acked + 1) conn.acked++
      else conn.fail('ack out of order')
    },
    readEnd () {},
  })
}
