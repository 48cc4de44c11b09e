import type { Frame } from './frames.js'

/** The byte that names each frame (protocol.md 2). */
export const opcodes = {
  connect: 0x01,
  connected: 0x02,
  uplink: 0x03,
  uplinkAck: 0x04,
  uplinkRefused: 0x05,
  downlink: 0x06,
  downlinkAck: 0x07,
  ping: 0x08,
  pong: 0x09,
  signal: 0x0a,
  migrate: 0x0b,
  redirect: 0x0c,
  kick: 0x0d,
  error: 0x0e,
  disconnect: 0x0f,
  token: 0x10,
  tokenAccepted: 0x11,
  join: 0x12,
  joined: 0x13,
  leave: 0x14,
  left: 0x15,
  post: 0x16,
  downlinkSkipped: 0x17,
} as const satisfies Record<Frame['op'], number>

/** The types that a frame's field may have. `endpoints` and `userSeqs` are the arrays. */
export type FieldType = 'string' | 'long' | 'int' | 'boolean' | 'bytes' | 'strings' | 'longs'

/** A field of a frame: name, type, and the default of one that may be absent. */
export interface Field {
  readonly name: string
  readonly type: FieldType
  readonly default?: string | number | boolean
}

/** Table of protocol.md 2: what JSON needs to know of each frame. `frames/*.avsc` say the same to other languages. */
export const frameFields: Readonly<Record<Frame['op'], readonly Field[]>> = {
  connect: [
    { name: 'token', type: 'string' },
    { name: 'deviceId', type: 'string' },
    { name: 'platform', type: 'string', default: 'unknown' },
    { name: 'client', type: 'string', default: '' },
    { name: 'sessionId', type: 'string' },
    { name: 'downlinkSeq', type: 'long', default: 0 },
  ],
  connected: [
    { name: 'connectionId', type: 'string' },
    { name: 'nodeId', type: 'string' },
    { name: 'userId', type: 'string' },
    { name: 'resumed', type: 'boolean' },
    { name: 'uplinkSeq', type: 'long' },
    { name: 'downlinkSeq', type: 'long' },
    { name: 'missed', type: 'long' },
    { name: 'heartbeatMs', type: 'int' },
    { name: 'uplinkWindow', type: 'int' },
    { name: 'frameBytesMax', type: 'int' },
    { name: 'serverTimeMs', type: 'long' },
  ],
  uplink: [
    { name: 'seq', type: 'long' },
    { name: 'service', type: 'string', default: '' },
    { name: 'payload', type: 'bytes' },
    { name: 'priority', type: 'int', default: 0 },
    { name: 'roomId', type: 'string', default: '' },
  ],
  uplinkAck: [{ name: 'seq', type: 'long' }, { name: 'userSeqs', type: 'longs' }],
  uplinkRefused: [
    { name: 'expectedSeq', type: 'long' },
    { name: 'code', type: 'string' },
    { name: 'retryAfterMs', type: 'int' },
  ],
  downlink: [
    { name: 'seq', type: 'long' },
    { name: 'messageId', type: 'string' },
    { name: 'service', type: 'string' },
    { name: 'payload', type: 'bytes' },
    { name: 'requestedAtMs', type: 'long' },
  ],
  downlinkAck: [{ name: 'seq', type: 'long' }],
  ping: [{ name: 'downlinkSeq', type: 'long', default: 0 }, { name: 'silentMs', type: 'int', default: 0 }],
  pong: [{ name: 'uplinkSeq', type: 'long' }],
  signal: [
    { name: 'service', type: 'string' },
    { name: 'payload', type: 'bytes' },
    { name: 'roomId', type: 'string' },
  ],
  migrate: [
    { name: 'withinMs', type: 'int' },
    { name: 'endpoints', type: 'strings' },
    { name: 'reason', type: 'string' },
  ],
  redirect: [
    { name: 'endpoints', type: 'strings' },
    { name: 'retryAfterMs', type: 'int' },
    { name: 'code', type: 'string' },
  ],
  kick: [{ name: 'code', type: 'string' }, { name: 'reason', type: 'string' }],
  error: [
    { name: 'code', type: 'string' },
    { name: 'message', type: 'string' },
    { name: 'retryAfterMs', type: 'int' },
  ],
  disconnect: [{ name: 'endSession', type: 'boolean', default: false }],
  token: [{ name: 'token', type: 'string' }],
  tokenAccepted: [{ name: 'expiresAtMs', type: 'long' }],
  join: [{ name: 'roomId', type: 'string' }, { name: 'roomSeq', type: 'long', default: -1 }],
  joined: [{ name: 'roomId', type: 'string' }, { name: 'roomSeq', type: 'long' }, { name: 'missed', type: 'long' }],
  leave: [{ name: 'roomId', type: 'string' }],
  left: [{ name: 'roomId', type: 'string' }, { name: 'code', type: 'string' }, { name: 'reason', type: 'string' }],
  post: [
    { name: 'roomId', type: 'string' },
    { name: 'roomSeq', type: 'long' },
    { name: 'messageId', type: 'string' },
    { name: 'from', type: 'string' },
    { name: 'service', type: 'string' },
    { name: 'payload', type: 'bytes' },
    { name: 'postedAtMs', type: 'long' },
  ],
  downlinkSkipped: [{ name: 'seq', type: 'long' }, { name: 'reason', type: 'string', default: '' }],
}
