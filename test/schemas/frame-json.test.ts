import fc from 'fast-check'
import t from 'tap'
import { GatewayError } from '../../schemas/errors.js'
import { decodeFrameJson, encodeFrameJson } from '../../schemas/frame-codec.js'
import { anyFrame, frames } from './frame-samples.js'

t.test('encodeFrameJson', async t => {
  t.test('writes a payload of UTF-8 as a string', async t => {
    t.equal(encodeFrameJson({ op: 'signal', service: 's', payload: Buffer.from('žába'), roomId: '' }),
      '{"op":"signal","service":"s","payload":"žába","roomId":""}')
  })
  t.test('writes any other payload as base64', async t => {
    t.equal(encodeFrameJson({ op: 'signal', service: 's', payload: Buffer.of(0xff, 0xfe), roomId: '' }),
      '{"op":"signal","service":"s","payload":{"base64":"//4="},"roomId":""}')
  })
  t.test('keeps a byte order mark in a payload', async t => {
    t.equal(encodeFrameJson({ op: 'signal', service: '', payload: Buffer.of(0xef, 0xbb, 0xbf, 0x61), roomId: '' }),
      '{"op":"signal","service":"","payload":"\ufeffa","roomId":""}')
  })
})

t.test('decodeFrameJson', async t => {
  t.test('reads back any frame', async t => {
    for (const { frame } of frames) t.strictSame(decodeFrameJson(encodeFrameJson(frame)), frame, frame.op)
    fc.assert(fc.property(anyFrame, frame => { t.strictSame(decodeFrameJson(encodeFrameJson(frame)), frame) }))
  })
  t.test('gives absent fields their defaults', async t => {
    t.strictSame(decodeFrameJson('{"op":"connect","token":"t","deviceId":"d","sessionId":"s"}'), {
      op: 'connect', token: 't', deviceId: 'd', platform: 'unknown', client: '', sessionId: 's', downlinkSeq: 0,
    })
    t.strictSame(decodeFrameJson('{"seq":1,"payload":"x","op":"uplink"}'), {
      op: 'uplink', seq: 1, service: '', payload: Buffer.from('x'), priority: 0, roomId: '',
    })
    t.strictSame(decodeFrameJson('{"op":"join","roomId":"chat:7"}'), { op: 'join', roomId: 'chat:7', roomSeq: -1 })
    t.strictSame(decodeFrameJson('{"op":"disconnect"}'), { op: 'disconnect', endSession: false })
  })
  t.test('ignores fields that it does not know', async t => {
    t.strictSame(decodeFrameJson('{"op":"pong","uplinkSeq":1,"later":{"x":[1]}}'), { op: 'pong', uplinkSeq: 1 })
  })
  t.test('takes no harm from __proto__', async t => {
    const frame = decodeFrameJson('{"op":"ping","__proto__":{"downlinkSeq":9,"polluted":true}}')
    t.strictSame(frame, { op: 'ping', downlinkSeq: 0, silentMs: 0 })
    t.notOk('polluted' in frame || 'polluted' in {})
    t.throws(() => decodeFrameJson('{"__proto__":{"op":"ping"}}'), { code: 'bad-frame' })
  })
  t.test('takes -0 for 0', async t => {
    const pong = decodeFrameJson('{"op":"pong","uplinkSeq":-0}')
    const ack = decodeFrameJson('{"op":"uplinkAck","seq":1,"userSeqs":[-0]}')
    t.ok(pong.op === 'pong' && Object.is(pong.uplinkSeq, 0))
    t.ok(ack.op === 'uplinkAck' && Object.is(ack.userSeqs[0], 0))
  })
  const bad: [string, RegExp][] = [
    ['', /not JSON/],
    ['{', /not JSON/],
    ['null', /not a JSON object/],
    ['[]', /not a JSON object/],
    ['"ping"', /not a JSON object/],
    ['{}', /op/],
    ['{"op":"pang"}', /op "pang"/],
    ['{"op":"toString"}', /op "toString"/],
    ['{"op":7}', /^op is unknown/],
    ['{"op":"pong"}', /pong\.uplinkSeq is absent/],
    ['{"op":"pong","uplinkSeq":"1"}', /uplinkSeq/],
    ['{"op":"pong","uplinkSeq":null}', /uplinkSeq/],
    ['{"op":"pong","uplinkSeq":1.5}', /uplinkSeq/],
    ['{"op":"pong","uplinkSeq":9007199254740992}', /uplinkSeq/],
    ['{"op":"pong","uplinkSeq":1e400}', /uplinkSeq/],
    ['{"op":"uplink","seq":1,"payload":"","priority":2147483648}', /priority/],
    ['{"op":"uplink","seq":1,"payload":"","priority":"1"}', /priority/],
    ['{"op":"uplink","seq":1,"payload":7}', /payload/],
    ['{"op":"uplink","seq":1,"payload":null}', /payload/],
    ['{"op":"uplink","seq":1,"payload":"\\ud800"}', /payload/],
    ['{"op":"uplink","seq":1,"payload":{}}', /payload/],
    ['{"op":"uplink","seq":1,"payload":{"base64":7}}', /payload/],
    ['{"op":"uplink","seq":1,"payload":{"base64":"YQ"}}', /payload/],
    ['{"op":"uplink","seq":1,"payload":{"base64":"YR=="}}', /payload/],
    ['{"op":"uplink","seq":1,"payload":{"base64":"Y Q="}}', /payload/],
    ['{"op":"uplink","seq":1,"payload":{"base64":"_w=="}}', /payload/],
    ['{"op":"uplink","seq":1,"payload":{"base64":"="}}', /payload/],
    ['{"op":"disconnect","endSession":0}', /endSession/],
    ['{"op":"kick","code":"\\udc00","reason":""}', /code/],
    ['{"op":"kick","code":"","reason":["x"]}', /reason/],
    ['{"op":"uplinkAck","seq":1,"userSeqs":[1,"2"]}', /userSeqs/],
    ['{"op":"uplinkAck","seq":1,"userSeqs":{"length":1}}', /userSeqs/],
    ['{"op":"redirect","endpoints":[1],"retryAfterMs":0,"code":""}', /endpoints/],
  ]
  for (const [text, message] of bad) {
    t.throws(() => decodeFrameJson(text), { name: 'GatewayError', code: 'bad-frame', message }, `refuses ${text}`)
  }
  t.test('refuses any other JSON with bad-frame alone', async t => {
    const json = fc.json().chain(inner => fc.constantFrom(inner, `{"op":"uplink","seq":1,"payload":${inner}}`,
      `{"op":"migrate","withinMs":1,"reason":"","endpoints":${inner}}`))
    fc.assert(fc.property(json, text => {
      try {
        decodeFrameJson(text)
        return true
      } catch (err) {
        return err instanceof GatewayError && err.code === 'bad-frame'
      }
    }), { numRuns: 2000 })
  })
})
