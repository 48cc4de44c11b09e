import { AvroReader, readLong, readString } from './avro-reader.js'
import { AvroWriter, writeLong, writeString } from './avro-writer.js'
import { opcodes } from './frame-fields.js'
import type { Frame } from './frames.js'

export { opcodes } from './frame-fields.js'
export { decodeFrameJson, encodeFrameJson } from './frame-json.js'

/*
  Frame  => OPCODE BODY
    OPCODE => uint8, see `opcodes`
    BODY   => Avro binary of the record that OPCODE names (frames/<op>.avsc)

  Written by hand, a line per frame, in the order of protocol.md 2. avsc with the same schemas is the tests' oracle: it
  copies payloads and can not be given arrays from outside.
*/

const writer = new AvroWriter()
const reader = new AvroReader('bad-frame')

/**
 * Writes OPCODE and BODY at `pos` of `target`, without any length.
 *
 * @returns the position after the frame; negative when `target` is that many bytes short, and then what stands behind
 *   `pos` is undefined
 */
export function encodeFrame (frame: Frame, target: Uint8Array, pos: number): number {
  writer.open(target, pos + 1)
  target[pos] = opcodes[frame.op]
  writeBody(writer, frame)
  const end = writer.pos
  return end <= target.length ? end : target.length - end
}

/**
 * Reads the frame whose opcode is at `start` and whose body ends before `end`. A `payload` in it is a view on `bytes`.
 *
 * @throws GatewayError `bad-frame`, and nothing else whatever the bytes: unknown opcode, truncated, bytes left over, a
 *   number beyond 2^53, a string that is not UTF-8
 */
export function decodeFrame (bytes: Uint8Array, start: number, end: number): Frame {
  reader.open(bytes, start, end)
  const frame = readBody(reader, reader.byte())
  reader.close()
  return frame
}

function writeBody (to: AvroWriter, frame: Frame): void {
  switch (frame.op) {
    case 'connect':
      to.string(frame.token)
      to.string(frame.deviceId)
      to.string(frame.platform)
      to.string(frame.client)
      to.string(frame.sessionId)
      return to.long(frame.downlinkSeq)
    case 'connected':
      to.string(frame.connectionId)
      to.string(frame.nodeId)
      to.string(frame.userId)
      to.boolean(frame.resumed)
      to.long(frame.uplinkSeq)
      to.long(frame.downlinkSeq)
      to.long(frame.missed)
      to.int(frame.heartbeatMs)
      to.int(frame.uplinkWindow)
      to.int(frame.frameBytesMax)
      return to.long(frame.serverTimeMs)
    case 'uplink':
      to.long(frame.seq)
      to.string(frame.service)
      to.payload(frame.payload)
      to.int(frame.priority)
      return to.string(frame.roomId)
    case 'uplinkAck':
      to.long(frame.seq)
      return to.items(frame.userSeqs, writeLong)
    case 'uplinkRefused':
      to.long(frame.expectedSeq)
      to.string(frame.code)
      return to.int(frame.retryAfterMs)
    case 'downlink':
      to.long(frame.seq)
      to.string(frame.messageId)
      to.string(frame.service)
      to.payload(frame.payload)
      return to.long(frame.requestedAtMs)
    case 'downlinkAck': return to.long(frame.seq)
    case 'ping':
      to.long(frame.downlinkSeq)
      return to.int(frame.silentMs)
    case 'pong': return to.long(frame.uplinkSeq)
    case 'signal':
      to.string(frame.service)
      to.payload(frame.payload)
      return to.string(frame.roomId)
    case 'migrate':
      to.int(frame.withinMs)
      to.items(frame.endpoints, writeString)
      return to.string(frame.reason)
    case 'redirect':
      to.items(frame.endpoints, writeString)
      to.int(frame.retryAfterMs)
      return to.string(frame.code)
    case 'kick':
      to.string(frame.code)
      return to.string(frame.reason)
    case 'error':
      to.string(frame.code)
      to.string(frame.message)
      return to.int(frame.retryAfterMs)
    case 'disconnect': return to.boolean(frame.endSession)
    case 'token': return to.string(frame.token)
    case 'tokenAccepted': return to.long(frame.expiresAtMs)
    case 'downlinkSkipped':
      to.long(frame.seq)
      return to.string(frame.reason)
    case 'join':
      to.string(frame.roomId)
      return to.long(frame.roomSeq)
    case 'joined':
      to.string(frame.roomId)
      to.long(frame.roomSeq)
      return to.long(frame.missed)
    case 'leave': return to.string(frame.roomId)
    case 'left':
      to.string(frame.roomId)
      to.string(frame.code)
      return to.string(frame.reason)
    case 'post':
      to.string(frame.roomId)
      to.long(frame.roomSeq)
      to.string(frame.messageId)
      to.string(frame.from)
      to.string(frame.service)
      to.payload(frame.payload)
      return to.long(frame.postedAtMs)
  }
}

function readBody (r: AvroReader, opcode: number): Frame {
  switch (opcode) {
    case opcodes.connect: return {
      op: 'connect',
      token: r.string(),
      deviceId: r.string(),
      platform: r.sharedString(),
      client: r.sharedString(),
      sessionId: r.string(),
      downlinkSeq: r.long(),
    }
    case opcodes.connected: return {
      op: 'connected',
      connectionId: r.string(),
      nodeId: r.string(),
      userId: r.string(),
      resumed: r.boolean(),
      uplinkSeq: r.long(),
      downlinkSeq: r.long(),
      missed: r.long(),
      heartbeatMs: r.int(),
      uplinkWindow: r.int(),
      frameBytesMax: r.int(),
      serverTimeMs: r.long(),
    }
    case opcodes.uplink: return {
      op: 'uplink',
      seq: r.long(),
      service: r.sharedString(),
      payload: r.payload(),
      priority: r.int(),
      roomId: r.sharedString(),
    }
    case opcodes.uplinkAck: return { op: 'uplinkAck', seq: r.long(), userSeqs: r.items(readLong) }
    case opcodes.uplinkRefused:
      return { op: 'uplinkRefused', expectedSeq: r.long(), code: r.sharedString(), retryAfterMs: r.int() }
    case opcodes.downlink: return {
      op: 'downlink',
      seq: r.long(),
      messageId: r.string(),
      service: r.sharedString(),
      payload: r.payload(),
      requestedAtMs: r.long(),
    }
    case opcodes.downlinkAck: return { op: 'downlinkAck', seq: r.long() }
    case opcodes.ping: return { op: 'ping', downlinkSeq: r.long(), silentMs: r.int() }
    case opcodes.pong: return { op: 'pong', uplinkSeq: r.long() }
    case opcodes.signal:
      return { op: 'signal', service: r.sharedString(), payload: r.payload(), roomId: r.sharedString() }
    case opcodes.migrate:
      return { op: 'migrate', withinMs: r.int(), endpoints: r.items(readString), reason: r.string() }
    case opcodes.redirect:
      return { op: 'redirect', endpoints: r.items(readString), retryAfterMs: r.int(), code: r.sharedString() }
    case opcodes.kick: return { op: 'kick', code: r.sharedString(), reason: r.string() }
    case opcodes.error:
      return { op: 'error', code: r.sharedString(), message: r.string(), retryAfterMs: r.int() }
    case opcodes.disconnect: return { op: 'disconnect', endSession: r.boolean() }
    case opcodes.token: return { op: 'token', token: r.string() }
    case opcodes.tokenAccepted: return { op: 'tokenAccepted', expiresAtMs: r.long() }
    case opcodes.downlinkSkipped: return { op: 'downlinkSkipped', seq: r.long(), reason: r.string() }
    case opcodes.join: return { op: 'join', roomId: r.sharedString(), roomSeq: r.long() }
    case opcodes.joined: return { op: 'joined', roomId: r.sharedString(), roomSeq: r.long(), missed: r.long() }
    case opcodes.leave: return { op: 'leave', roomId: r.sharedString() }
    case opcodes.left: return { op: 'left', roomId: r.sharedString(), code: r.sharedString(), reason: r.string() }
    case opcodes.post: return {
      op: 'post',
      roomId: r.sharedString(),
      roomSeq: r.long(),
      messageId: r.string(),
      from: r.string(),
      service: r.sharedString(),
      payload: r.payload(),
      postedAtMs: r.long(),
    }
    default: throw r.bad(`opcode 0x${opcode.toString(16).padStart(2, '0')} is unknown`)
  }
}
