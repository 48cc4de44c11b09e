/*
  Engine.IO 4 and Socket.IO 5 packets by hand, over a WebSocket: `42<id>["m","<payload>"]` and its ack `43<id>[]`.
  Ack ids run over 900 values of three digits, so that a frame is a template with three patched bytes.
*/
import { out } from '../outgoing.js'
import { clientFrame, mask, overWebSocket, payloadOffset } from '../websocket.js'

const firstId = 100
const ids = 900
const joinId = 0
const digit = { 0: 0x30, 1: 0x31, 2: 0x32, 3: 0x33, 4: 0x34, 9: 0x39 }
const connectPacket = clientFrame(1, Buffer.from('40'))
const pong = clientFrame(1, Buffer.from('3'))

export function socketIo (target, payload) {
  const packet = Buffer.from(`42${firstId}["m","${payload.latin1Slice()}"]`)
  const uplink = clientFrame(1, packet)
  const idAt = payloadOffset(packet.length) + 2
  const posts = new Map()
  return overWebSocket({
    path: '/socket.io/?EIO=4&transport=websocket',
    /** The server speaks first: `0{...}`. */
    start () {},
    putUplink (conn) {
      out.reserve(uplink.length)
      const buffer = out.bytes
      const at = out.at + idAt
      uplink.copy(buffer, out.at)
      const id = firstId + conn.sent++ % ids
      // The id's first digit is byte 2 of the packet.
      buffer[at] = (digit[0] + (id / 100 | 0)) ^ mask[2]
      buffer[at + 1] = (digit[0] + (id / 10 | 0) % 10) ^ mask[3]
      buffer[at + 2] = (digit[0] + id % 10) ^ mask[0]
      out.at += uplink.length
    },
    /** Acked, so with an id. */
    putJoin: (_conn, room) => out.put(clientFrame(1, Buffer.from(`42${joinId}["join","${room}"]`))),
    putPost (_conn, room) {
      let packet = posts.get(room)
      if (!packet) {
        packet = clientFrame(1, Buffer.from(`42["post","${room}","${payload.latin1Slice()}"]`))
        posts.set(room, packet)
      }
      out.put(packet)
    },
    message,
    readEnd () {},
  })
}

function message (conn, bytes, start, stop) {
  const engineType = bytes[start]
  if (engineType === digit[4]) {
    const type = bytes[start + 1]
    if (type === digit[3]) ack(conn, bytes, start + 2)
    else if (type === digit[2]) event(conn, bytes, start + 2)
    else if (type === digit[0]) conn.open()
    else conn.fail(`refused: ${bytes.latin1Slice(start, stop)}`)
  } else if (engineType === digit[0]) {
    out.put(connectPacket)
  } else if (engineType === digit[2]) {
    out.put(pong)
  } else {
    conn.fail(`unexpected packet: ${bytes.latin1Slice(start, stop)}`)
  }
}

function ack (conn, bytes, at) {
  if (bytes[at + 1] === 0x5b) { // the id of all joins has one digit
    conn.joined++
    return
  }
  const id = bytes[at] * 100 + bytes[at + 1] * 10 + bytes[at + 2] - 111 * digit[0]
  if (id !== firstId + conn.acked % ids) return conn.fail(`ack ${id} out of order`)
  conn.acked++
}

/** Counts an event, and acks it where the server gave it an id. */
function event (conn, bytes, at) {
  conn.delivered++
  let stop = at
  while (bytes[stop] >= digit[0] && bytes[stop] <= digit[9]) stop++
  if (stop > at) out.put(clientFrame(1, Buffer.from(`43${bytes.latin1Slice(at, stop)}[]`)))
}
