import avsc from 'avsc'
import fc from 'fast-check'
import t from 'tap'
import { loadSchema } from '../../schemas/avsc-files.js'
import { GatewayError } from '../../schemas/errors.js'
import { decodeFrame, encodeFrame, opcodes } from '../../schemas/frame-codec.js'
import { frameFields, type FieldType } from '../../schemas/frame-fields.js'
import type { Frame } from '../../schemas/frames.js'
import { anyFrame, frames } from './frame-samples.js'
import { mutate } from './mutations.js'

function encoded (frame: Frame): Buffer {
  const target = Buffer.alloc(4096)
  return target.subarray(0, encodeFrame(frame, target, 0))
}

function decoded (bytes: Uint8Array): Frame {
  return decodeFrame(bytes, 0, bytes.length)
}

const avscTypes = new Map(Object.keys(opcodes).map(op =>
  [op, avsc.Type.forSchema(loadSchema(`frames/${op}`) as avsc.Schema)]))

t.test('encodeFrame', async t => {
  for (const { frame, hex } of frames) {
    t.equal(encoded(frame).toString('hex'), hex.replaceAll(' ', ''), `writes ${frame.op} as protocol.md says`)
  }
  t.test('writes what avsc writes by the same schema', async t => {
    fc.assert(fc.property(anyFrame, frame => {
      const { op, ...fields } = frame as any
      if (fields.payload) fields.payload = Buffer.from(fields.payload)
      return encoded(frame).subarray(1).equals(avscTypes.get(op)!.toBuffer(fields))
    }))
  })
  t.test('says how many bytes are missing, and leaves what is before its place alone', async t => {
    for (const { frame } of frames) {
      const whole = encoded(frame)
      for (let room = 0; room < whole.length; room++) {
        const target = Buffer.alloc(3 + room, 0xee)
        t.equal(encodeFrame(frame, target, 3), room - whole.length)
        t.equal(target.readUIntBE(0, 3), 0xeeeeee)
      }
      const target = Buffer.alloc(3 + whole.length)
      t.equal(encodeFrame(frame, target, 3), target.length)
      t.ok(target.subarray(3).equals(whole))
    }
  })
  t.test('writes numbers exactly where doubling them in a number would not', async t => {
    t.equal(encoded({ op: 'pong', uplinkSeq: -4503599627370497 }).toString('hex'), '098180808080808010')
    t.equal(encoded({ op: 'pong', uplinkSeq: Number.MIN_SAFE_INTEGER }).toString('hex'), '09fdffffffffffff1f')
    t.equal(encoded({ op: 'pong', uplinkSeq: Number.MAX_SAFE_INTEGER }).toString('hex'), '09feffffffffffff1f')
  })
  t.test('asserts that its numbers are what the type holds', async t => {
    t.throws(() => encoded({ op: 'pong', uplinkSeq: 2 ** 53 }), RangeError)
    t.throws(() => encoded({ op: 'pong', uplinkSeq: 1.5 }), RangeError)
    t.throws(() => encoded({ op: 'uplink', seq: 1, service: '', payload: Buffer.alloc(0), priority: 2 ** 31, roomId: '' }), RangeError)
  })
})

t.test('decodeFrame', async t => {
  for (const { frame, hex } of frames) {
    t.strictSame(decoded(Buffer.from(hex.replaceAll(' ', ''), 'hex')), frame, `reads ${frame.op}`)
  }
  t.test('reads back any frame', async t => {
    fc.assert(fc.property(anyFrame, frame => { t.strictSame(decoded(encoded(frame)), frame) }), { numRuns: 1000 })
  })
  t.test('reads the same from bytes that are no Buffer, as a browser has them', async t => {
    for (const { frame } of frames) {
      const bytes = Uint8Array.from(encoded(frame))
      t.same(decoded(bytes), frame)
    }
  })
  t.test('gives a payload as a view on the input', async t => {
    const bytes = Buffer.from('0a000661626300', 'hex')
    const frame = decoded(bytes)
    bytes[3] = 0x7a
    t.equal(frame.op === 'signal' && Buffer.from(frame.payload).toString(), 'zbc')
  })
  t.test('reads only between start and end', async t => {
    const bytes = Buffer.from('070208080009', 'hex')
    t.strictSame(decodeFrame(bytes, 2, 5), { op: 'ping', downlinkSeq: 4, silentMs: 0 })
    t.throws(() => decodeFrame(bytes, 2, 3), { code: 'bad-frame' })
    t.throws(() => decodeFrame(bytes, 2, 6), { code: 'bad-frame' })
    t.throws(() => decodeFrame(bytes, 4, 7), { code: 'bad-frame' })
    t.throws(() => decodeFrame(bytes, 2, 2), { code: 'bad-frame' })
  })
  const bad: [string, string][] = [
    ['an unknown opcode', '00'],
    ['an opcode of a later version', '7f02'],
    ['a body cut short', '0e0467'],
    ['bytes after the body', '08000000'],
    ['a long beyond 2^53', '0980808080808080' + '8080' + '01'],
    ['the first long beyond 2^53', '0980808080808080' + '20'],
    ['a long of more than ten bytes', '09' + '80'.repeat(10) + '00'],
    ['an int of more than 32 bits', '0302000080808080' + '10'],
    ['a negative length', '0e01'],
    ['a length past the end', '0efeffffff0f'],
    ['a string that is not UTF-8', '0e02ff00'],
    ['a boolean of 2', '0f02'],
    ['an array of more items than bytes', '0402feffffff0f00'],
    ['an array of as many items, counted below zero', '0402ffffffff0f0000'],
    ['an array without an end', '04020202'],
  ]
  for (const [what, hex] of bad) {
    t.throws(() => decoded(Buffer.from(hex, 'hex')), { name: 'GatewayError', code: 'bad-frame' }, `refuses ${what}`)
  }
  t.test('holds every number within 2^53 exactly, and no other', async t => {
    for (const value of [0, -1, 63, 64, -64, -65, 2 ** 27, 2 ** 28, -(2 ** 28) - 1, 2 ** 31 - 1, -(2 ** 31), 2 ** 31,
      2 ** 35, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
      t.strictSame(decoded(encoded({ op: 'pong', uplinkSeq: value })), { op: 'pong', uplinkSeq: value })
    }
  })
  t.test('reads strings of any length and alphabet as they were written', async t => {
    for (const letter of ['x', 'é', 'ž', '☃', '🐸', '\0', '\ufeff']) {
      for (const length of [1, 2, 13, 31, 32, 40, 41, 62, 63, 64, 65, 66, 300]) {
        const text = letter.repeat(length)
        const frame: Frame = { op: 'kick', code: text, reason: text }
        const bytes = encoded(frame)
        t.strictSame(decoded(bytes), frame)
        t.equal(bytes.length, 1 + 2 * ((length * Buffer.byteLength(letter) > 63 ? 2 : 1) + Buffer.byteLength(text)))
      }
    }
  })
  t.test('never takes one string for another that it has read before', async t => {
    const read = (bytes: Buffer) => decoded(Buffer.concat([Buffer.of(0x0d, 2 * bytes.length), bytes, Buffer.of(0)]))
    // Pairs where the characters of one are the bytes of the other, enough of them to share places by chance.
    for (let i = 0; i < 1 << 17; i++) {
      const latin1 = Buffer.from([i & 0x7f, (i >> 7) & 0x7f, 0xc3, 0x80 + (i >> 14)])
      for (const bytes of [Buffer.from(latin1.toString('latin1')), latin1]) {
        const frame = read(bytes)
        if (frame.op !== 'kick' || frame.code !== bytes.toString()) return t.fail(bytes.toString('hex'))
      }
    }
  })
  t.test('refuses mutated frames with bad-frame alone, if at all', async t => {
    const seed = Number(process.env['SEED'] ?? 20240229)
    const random = mutate(seed)
    const originals = frames.map(({ frame }) => encoded(frame))
    let refused = 0
    for (let i = 0; i < 200_000; i++) {
      const bytes = random(originals[i % originals.length]!)
      try {
        decoded(bytes)
      } catch (err) {
        refused++
        if (!(err instanceof GatewayError) || err.code !== 'bad-frame') {
          t.fail(`seed ${seed}: ${bytes.toString('hex')}: ${err}`)
          break
        }
      }
    }
    t.ok(refused > 10_000 && refused < 190_000, `${refused} refused`)
  })
})

t.test('frames/*.avsc', async t => {
  const avroTypes: Record<FieldType, unknown> = {
    string: 'string',
    long: 'long',
    int: 'int',
    boolean: 'boolean',
    bytes: 'bytes',
    strings: { type: 'array', items: 'string' },
    longs: { type: 'array', items: 'long' },
  }
  for (const [op, fields] of Object.entries(frameFields)) {
    const schema = loadSchema(`frames/${op}`) as { fields: { name: string, type: unknown, default?: unknown }[] }
    t.strictSame(
      schema.fields.map(({ name, type, default: value }) => ({ name, type, default: value })),
      fields.map(({ name, type, default: value }) => ({ name, type: avroTypes[type], default: value })),
      `${op} has the fields of the table`)
  }
})
