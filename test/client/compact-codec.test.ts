import fc from 'fast-check'
import t from 'tap'
import { decodeMessage, encodeMessage } from '../../client/compact-codec.js'
import { codeOf, isTerminal } from '../../client/end-codes.js'
import { errors } from '../../schemas/errors.js'
import { decodeFrame, encodeFrame, encodeFrameJson } from '../../schemas/frame-codec.js'
import type { ClientFrame } from '../../schemas/frames.js'
import { anyFrame, frames } from '../schemas/frame-samples.js'
import { mutate } from '../schemas/mutations.js'

t.test('The codec of the bundle', async t => {
  t.test('writes and reads any frame as the server\'s does, in Avro and in JSON', async t => {
    fc.assert(fc.property(anyFrame, frame => {
      const target = Buffer.alloc(8192)
      const bytes = target.subarray(0, encodeFrame(frame, target, 0))
      t.ok(bytes.equals(encodeMessage(frame as ClientFrame, 'avro') as Uint8Array))
      t.same(decodeMessage(Uint8Array.from(bytes)), frame)
      t.equal(encodeMessage(frame as ClientFrame, 'json'), encodeFrameJson(frame))
      t.same(decodeMessage(encodeFrameJson(frame)), frame)
    }), { numRuns: 200 })
  })

  t.test('reads no frame where the server\'s does not, and takes no harm', async t => {
    const random = mutate(20240229)
    for (let i = 0; i < 20_000; i++) {
      const bytes = Uint8Array.from(random(Buffer.from(frames[i % frames.length]!.hex, 'hex')))
      const theirs = outcome(() => decodeFrame(bytes, 0, bytes.length))
      const ours = outcome(() => decodeMessage(bytes))
      if (theirs !== undefined) t.same(ours, theirs)
    }
  })

  for (const message of ['', 'null', '{}', '{"op":"pang"}', '{"op":"pong"}', '{"op":"signal","service":"","payload":1}',
    new Uint8Array(0), Uint8Array.of(0), Uint8Array.of(0x10, 2), Uint8Array.of(9), Uint8Array.of(9, 0, 0)]) {
    t.test(`refuses ${typeof message === 'string' ? message : `bytes ${Buffer.from(message).toString('hex')}`}`, async t => {
      t.throws(() => decodeMessage(message))
    })
  }
})

t.test('The codes of the bundle', async t => {
  t.test('are those of the table, and say whether to come back as it does', async t => {
    for (const [code, { close }] of Object.entries(errors)) {
      if (close !== null) t.equal(codeOf(close), code)
      t.equal(isTerminal(code, 0), (close ?? 0) >= 4500, code)
    }
  })

  t.test('take an unknown code for what its close code says', async t => {
    t.equal(codeOf(4900), 'close-4900')
    t.equal(isTerminal('from-the-future', 4900), true)
    t.equal(isTerminal('from-the-future', 4100), false)
    t.equal(isTerminal('from-the-future', 0), false)
  })
})

function outcome<T> (run: () => T): T | undefined {
  try {
    return run()
  } catch {
    return undefined
  }
}
