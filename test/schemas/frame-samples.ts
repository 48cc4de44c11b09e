import fc from 'fast-check'
import type { Frame } from '../../schemas/frames.js'

/** Every frame once, with the bytes of its opcode and body. */
export const frames: { frame: Frame, hex: string }[] = [
  {
    frame: {
      op: 'connect',
      token: 't.o.k',
      deviceId: 'phone',
      platform: 'ios',
      client: 'app/1',
      sessionId: 's1',
      downlinkSeq: 300,
    },
    hex: '01 0a742e6f2e6b 0a70686f6e65 06696f73 0a6170702f31 047331 d804',
  },
  {
    frame: {
      op: 'connected',
      connectionId: 'c1',
      nodeId: 'n1',
      userId: 'u1',
      resumed: true,
      uplinkSeq: 7,
      downlinkSeq: 64,
      missed: 0,
      heartbeatMs: 60000,
      uplinkWindow: 256,
      frameBytesMax: 65536,
      serverTimeMs: 1700000000000,
    },
    hex: '02 046331 046e31 047531 01 0e 8001 00 c0a907 8004 808008 80a0abfef962',
  },
  {
    frame: { op: 'uplink', seq: 1, service: 'chat', payload: Buffer.from('hi'), priority: -1 },
    hex: '03 02 0863686174 046869 01',
  },
  {
    frame: { op: 'uplinkAck', seq: 3, userSeqs: [7, 9, 200] },
    hex: '04 06 060e12900300',
  },
  {
    frame: { op: 'uplinkRefused', expectedSeq: 4, code: 'gap', retryAfterMs: 250 },
    hex: '05 08 06676170 f403',
  },
  {
    frame: {
      op: 'downlink',
      seq: 5,
      messageId: 'm1',
      service: '',
      payload: Buffer.of(0xff, 0),
      requestedAtMs: 1700000000000,
    },
    hex: '06 0a 046d31 00 04ff00 80a0abfef962',
  },
  {
    frame: { op: 'downlinkAck', seq: 128 },
    hex: '07 8002',
  },
  {
    frame: { op: 'ping', downlinkSeq: 4 },
    hex: '08 08',
  },
  {
    frame: { op: 'pong', uplinkSeq: 9007199254740990 },
    hex: '09 fcffffffffffff1f',
  },
  {
    frame: { op: 'signal', service: 'typing', payload: Buffer.from('') },
    hex: '0a 0c747970696e67 00',
  },
  {
    frame: { op: 'migrate', withinMs: 30000, endpoints: ['tcp://a:1', 'tcp://b:2'], reason: 'drain' },
    hex: '0b e0d403 04127463703a2f2f613a31127463703a2f2f623a3200 0a647261696e',
  },
  {
    frame: { op: 'redirect', endpoints: [], retryAfterMs: 1000, code: 'redirected' },
    hex: '0c 00 d00f 1472656469726563746564',
  },
  {
    frame: { op: 'kick', code: 'kicked', reason: 'příliš' },
    hex: '0d 0c6b69636b6564 1270c599c3ad6c69c5a1',
  },
  {
    frame: { op: 'error', code: 'bad-frame', message: '' },
    hex: '0e 126261642d6672616d65 00',
  },
  {
    frame: { op: 'disconnect', endSession: true },
    hex: '0f 01',
  },
]

const text = fc.string({ unit: 'binary', maxLength: 80 }).filter(value => !/\p{Surrogate}/u.test(value))
const bytes = fc.uint8Array({ maxLength: 200 }).map(each => Buffer.from(each))
const int = fc.integer()
/** avsc, the oracle, refuses 2^53 - 1 and writes odd numbers below -(2^52) wrong. */
const long = fc.integer({ min: -(2 ** 52), max: Number.MAX_SAFE_INTEGER - 1 })
const flag = fc.boolean()

/** Any frame with any values that its types hold. */
export const anyFrame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    op: fc.constant('connect' as const),
    token: text,
    deviceId: text,
    platform: text,
    client: text,
    sessionId: text,
    downlinkSeq: long,
  }, { noNullPrototype: true }),
  fc.record({
    op: fc.constant('connected' as const),
    connectionId: text,
    nodeId: text,
    userId: text,
    resumed: flag,
    uplinkSeq: long,
    downlinkSeq: long,
    missed: long,
    heartbeatMs: int,
    uplinkWindow: int,
    frameBytesMax: int,
    serverTimeMs: long,
  }, { noNullPrototype: true }),
  fc.record({
    op: fc.constant('uplink' as const), seq: long, service: text, payload: bytes, priority: int,
  }, { noNullPrototype: true }),
  fc.record({ op: fc.constant('uplinkAck' as const), seq: long, userSeqs: fc.array(long) }, { noNullPrototype: true }),
  fc.record({
    op: fc.constant('downlink' as const), seq: long, messageId: text, service: text, payload: bytes, requestedAtMs: long,
  }, { noNullPrototype: true }),
  fc.record({
    op: fc.constant('migrate' as const), withinMs: int, endpoints: fc.array(text), reason: text,
  }, { noNullPrototype: true })
)
