/*
  Ledgerline's protocol (docs/protocol.md) with Avro bodies, by hand: templates of whole frames, one for each length
  that the seq can have, and the seq patched in.
*/
import { createHmac } from 'node:crypto'
import { out } from '../outgoing.js'
import { clientFrame, mask, overWebSocket, payloadOffset } from '../websocket.js'
import { bytesOf, long, readVarint, varintBytes } from './varint.js'

export const op = {
  connect: 1,
  connected: 2,
  uplink: 3,
  uplinkAck: 4,
  uplinkRefused: 5,
  downlink: 6,
  downlinkAck: 7,
  signal: 10,
  redirect: 12,
  kick: 13,
  error: 14,
  join: 18,
  joined: 19,
  left: 21,
  post: 22,
}
const seqBytesMax = 5
const tokenSeconds = 3600
/** The place of a member that wants nothing of what was posted before: -1 as Avro has it. */
const fromNow = Buffer.of(1)
/** Rights in the rooms of a run, for every client. */
const rooms = { 'room-*': 'rw' }

/**
 * What of an uplink is behind its seq.
 *
 * @param {{ namesRooms?: boolean }} target false for a build from before uplinks had the field
 * @param {string} room that it is a post in, too; '' for none
 */
export function uplinkTail (payload, priority, { namesRooms = true }, room = '') {
  return Buffer.concat([bytesOf(''), bytesOf(payload), long(priority), ...namesRooms ? [bytesOf(room)] : []])
}

export function ledgerlineOverTcp (target, payload) {
  const frame = body => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(body.length)
    return Buffer.concat([length, body])
  }
  const inRoom = room => templates(uplinkTail(payload, 0, target, room), frame, () => 4, [0, 0, 0, 0])
  return {
    ...common(target, frame, inRoom),
    read (conn, bytes, end) {
      let at = 0
      while (at + 4 <= end) {
        const stop = at + 4 + bytes.readUInt32BE(at)
        if (stop > end) break
        message(conn, bytes, at + 4, stop)
        at = stop
      }
      return at
    },
  }
}

export function ledgerlineOverWebSocket (target, payload) {
  const frame = body => clientFrame(2, body)
  const inRoom = room => templates(uplinkTail(payload, 0, target, room), frame, payloadOffset, mask)
  return overWebSocket({
    ...common(target, frame, inRoom), path: '/v1/connect', subprotocol: 'ledgerline.v1.avro', message,
  })
}

/** @param inRoom makes the templates of uplinks to a room, '' for none */
function common (target, frame, inRoom) {
  const uplink = inRoom('')
  const posts = new Map()
  return {
    start: conn => out.put(frame(connectBody(conn.index, target))),
    putUplink: conn => uplink(++conn.sent),
    putJoin: (_conn, room) => out.put(frame(Buffer.concat([Buffer.of(op.join), bytesOf(room), fromNow]))),
    /** An uplink that is a post, too. */
    putPost (conn, room) {
      if (!posts.has(room)) posts.set(room, inRoom(room))
      posts.get(room)(++conn.sent)
    },
    /** One cumulative ack for all downlinks of a read. */
    readEnd (conn) {
      if (conn.downlinkSeq === conn.downlinkAckedSeq) return
      conn.downlinkAckedSeq = conn.downlinkSeq
      out.put(frame(Buffer.concat([Buffer.of(op.downlinkAck), long(conn.downlinkSeq)])))
    },
  }
}

/** @returns {(seq: number) => void} puts the uplink with this seq */
function templates (tail, frame, offsetOf, mask) {
  const bySeqBytes = []
  for (let seqBytes = 1; seqBytes <= seqBytesMax; seqBytes++) {
    const body = Buffer.concat([Buffer.of(op.uplink), Buffer.alloc(seqBytes), tail])
    bySeqBytes[seqBytes] = { bytes: frame(body), seqAt: offsetOf(body.length) + 1 }
  }
  return seq => {
    const { bytes, seqAt } = bySeqBytes[varintBytes(seq)]
    out.reserve(bytes.length)
    const buffer = out.bytes
    bytes.copy(buffer, out.at)
    let rest = seq * 2
    // Byte 0 of the body is the opcode, so the seq's first byte is under the mask's second.
    for (let at = out.at + seqAt, i = 1; ; i++) {
      buffer[at++] = (rest >= 128 ? (rest & 0x7f) | 0x80 : rest) ^ mask[i & 3]
      rest >>>= 7
      if (rest === 0) break
    }
    out.at += bytes.length
  }
}

function message (conn, bytes, start, stop) {
  switch (bytes[start]) {
    case op.uplinkAck: conn.acked = readVarint(bytes, start + 1); break
    case op.downlink: conn.downlinkSeq = readVarint(bytes, start + 1); conn.delivered++; break
    case op.signal:
    case op.post: conn.delivered++; break
    case op.joined: conn.joined++; break
    case op.left: conn.fail(`out of a room: ${printable(bytes, start, stop)}`); break
    case op.connected: conn.open(); break
    case op.uplinkRefused: conn.fail(`uplink refused: ${printable(bytes, start, stop)}`); break
    case op.redirect:
    case op.kick:
    case op.error: conn.fail(`told to go: ${printable(bytes, start, stop)}`); break
  }
}

function printable (bytes, start, stop) {
  return bytes.latin1Slice(start, stop).replace(/[^\x20-\x7e]+/g, ' ').trim()
}

/** Each connection is a user of its own; runs on one ledger tell theirs apart by what they are called. */
export function userIdOf (index, users = 'user') {
  return `${users}-${index}`
}

function connectBody (index, { secret, users }) {
  const fields = [token(userIdOf(index, users), secret), 'phone', 'bench', 'ledgerline-bench/1', `session-${index}`]
  return Buffer.concat([Buffer.of(op.connect), ...fields.map(bytesOf), long(0)])
}

export function token (userId, secret) {
  const seconds = Math.floor(Date.now() / 1000)
  const parts = [{ alg: 'HS256', typ: 'JWT' }, { sub: userId, iat: seconds, exp: seconds + tokenSeconds, rooms }]
  const signed = parts.map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
