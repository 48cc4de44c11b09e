/* MQTT 3.1.1 by hand: QoS 1 both ways, packet ids in order. */
import { out } from '../outgoing.js'

const ids = 65_535
const keepAliveSeconds = 600
const type = { connect: 0x10, connack: 0x20, publish: 0x30, puback: 0x40, subscribe: 0x82, suback: 0x90 }
const qos1 = 0x02

/** @param {{ publishTo?: string, subscribeTo?: string }} topics */
export function mqtt (target, payload, { publishTo = 'up', subscribeTo }) {
  const uplink = packet(type.publish | qos1, Buffer.concat([text(publishTo), Buffer.alloc(2), payload]))
  const idAt = uplink.length - payload.length - 2
  return {
    start: conn => out.put(connect(`${subscribeTo ? 'subscriber' : 'publisher'}-${conn.index}`)),
    putUplink (conn) {
      out.reserve(uplink.length)
      uplink.copy(out.bytes, out.at)
      writeId(out.bytes, out.at + idAt, conn.sent++)
      out.at += uplink.length
    },
    read (conn, bytes, end) {
      let at = 0
      while (at + 2 <= end) {
        let length = bytes[at + 1]
        let start = at + 2
        if (length >= 128) {
          if (at + 3 > end) break
          length = (length & 0x7f) + bytes[at + 2] * 128
          start = at + 3
        }
        const stop = start + length
        if (stop > end) break
        received(conn, bytes, at, start, subscribeTo)
        at = stop
      }
      return at
    },
    readEnd () {},
  }
}

function received (conn, bytes, at, start, subscribeTo) {
  switch (bytes[at] & 0xf0) {
    case type.puback:
      if (bytes.readUInt16BE(start) !== 1 + conn.acked % ids) return conn.fail('puback out of order')
      conn.acked++
      break
    case type.publish: {
      conn.delivered++
      const idAt = start + 2 + bytes.readUInt16BE(start)
      if (bytes[at] & qos1) out.put(Buffer.of(type.puback, 2, bytes[idAt], bytes[idAt + 1]))
      break
    }
    case type.connack:
      if (bytes[start + 1] !== 0) conn.fail(`connect refused with ${bytes[start + 1]}`)
      else if (subscribeTo) out.put(subscribe(subscribeTo))
      else conn.open()
      break
    case type.suback & 0xf0: conn.open(); break
  }
}

function connect (clientId) {
  const header = Buffer.concat([text('MQTT'), Buffer.of(4, 0x02, keepAliveSeconds >> 8, keepAliveSeconds & 0xff)])
  return packet(type.connect, Buffer.concat([header, text(clientId)]))
}

function subscribe (topic) {
  return packet(type.subscribe, Buffer.concat([Buffer.of(0, 1), text(topic), Buffer.of(1)]))
}

/** Packet ids run from 1; 0 is not allowed. */
function writeId (bytes, at, sent) {
  const id = 1 + sent % ids
  bytes[at] = id >> 8
  bytes[at + 1] = id & 0xff
}

function packet (first, body) {
  const length = body.length < 128 ? Buffer.of(body.length) : Buffer.of((body.length & 0x7f) | 0x80, body.length >> 7)
  return Buffer.concat([Buffer.of(first), length, body])
}

function text (value) {
  const content = Buffer.from(value)
  return Buffer.concat([Buffer.of(content.length >> 8, content.length & 0xff), content])
}
