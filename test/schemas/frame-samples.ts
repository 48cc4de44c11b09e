import fc from 'fast-check'
import type { Frame } from '../../schemas/frames.js'
import { frameOf, frameVectors } from '../vectors/vectors.js'

/** Every frame, with the bytes of its opcode and body: the vectors that writers of other clients get. */
export const frames: { frame: Frame, hex: string }[] =
  frameVectors.map(({ frame, webSocketAvro }) => ({ frame: frameOf(frame), hex: webSocketAvro }))

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
    op: fc.constant('uplink' as const), seq: long, service: text, payload: bytes, priority: int, roomId: text,
  }, { noNullPrototype: true }),
  fc.record({ op: fc.constant('uplinkAck' as const), seq: long, userSeqs: fc.array(long) }, { noNullPrototype: true }),
  fc.record({
    op: fc.constant('downlink' as const), seq: long, messageId: text, service: text, payload: bytes, requestedAtMs: long,
  }, { noNullPrototype: true }),
  fc.record({
    op: fc.constant('migrate' as const), withinMs: int, endpoints: fc.array(text), reason: text,
  }, { noNullPrototype: true }),
  fc.record({
    op: fc.constant('post' as const),
    roomId: text,
    roomSeq: long,
    messageId: text,
    from: text,
    service: text,
    payload: bytes,
    postedAtMs: long,
  }, { noNullPrototype: true }),
  fc.record({
    op: fc.constant('joined' as const), roomId: text, roomSeq: long, missed: long,
  }, { noNullPrototype: true })
)
