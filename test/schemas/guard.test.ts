import avsc from 'avsc'
import fc from 'fast-check'
import t from 'tap'
import { GatewayError } from '../../schemas/errors.js'
import { boundedBy } from '../../schemas/guard.js'

function walk (schema: avsc.Schema, hex: string): number {
  const bytes = Buffer.from(hex, 'hex')
  return boundedBy(avsc.Type.forSchema(schema, { wrapUnions: 'always' }))(bytes, 0, bytes.length)
}

const longs: avsc.Schema = { type: 'array', items: 'long' }
const map: avsc.Schema = { type: 'map', values: 'string' }

t.test('a walk', async t => {
  t.test('ends after the value', async t => {
    t.equal(walk(longs, '04020400ff'), 4)
    t.equal(walk(map, '020261026200ffff'), 6)
    t.equal(walk('double', '0000000000000000ff'), 8)
    t.equal(walk('null', ''), 0)
  })
  t.test('takes an array in chunks, with and without their bytes', async t => {
    t.equal(walk(longs, '02020304020200'), 7)
  })
  t.test('refuses the six bytes that end a process through avsc', async t => {
    t.throws(() => walk(longs, 'feffffff0f00'), { code: 'bad-record' })
    t.throws(() => walk(map, 'feffffff0f00'), { code: 'bad-record' })
  })
  t.test('refuses a negative count that is just as large', async t => {
    t.throws(() => walk(longs, 'ffffffff0f0000'), { code: 'bad-record' })
  })
  t.test('refuses a count of items that would need more bytes than are left', async t => {
    t.throws(() => walk({ type: 'array', items: 'double' }, '040000000000000000'), { code: 'bad-record' })
  })
  t.test('refuses a length past the end, or below zero', async t => {
    t.throws(() => walk('string', '0a6161'), { code: 'bad-record' })
    t.throws(() => walk('bytes', '01'), { code: 'bad-record' })
    t.throws(() => walk({ type: 'fixed', name: 'F', size: 4 }, '000000'), { code: 'bad-record' })
  })
  t.test('refuses an index that a union or an enum has not', async t => {
    t.throws(() => walk(['null', 'long'], '04'), { code: 'bad-record' })
    t.throws(() => walk(['null', 'long'], '01'), { code: 'bad-record' })
    t.throws(() => walk({ type: 'enum', name: 'E', symbols: ['A'] }, '02'), { code: 'bad-record' })
  })
  t.test('refuses a varint of more than ten bytes', async t => {
    t.throws(() => walk('long', '80'.repeat(10) + '00'), { code: 'bad-record' })
    t.equal(walk('long', '80'.repeat(9) + '00'), 10)
  })
})

t.test('boundedBy', async t => {
  t.test('refuses schemas that nothing bounds', async t => {
    const empty: avsc.Schema = { type: 'record', name: 'Empty', fields: [] }
    const list: avsc.Schema = { type: 'record', name: 'List', fields: [{ name: 'next', type: ['null', 'List'] }] }
    t.throws(() => walk({ type: 'array', items: 'null' }, '00'), RangeError)
    t.throws(() => walk({ type: 'array', items: empty }, '00'), RangeError)
    t.throws(() => walk(list, '00'), { name: 'RangeError', message: /contains itself/ })
  })
})

t.test('any bytes are refused with a code, or are what avsc reads as well', async t => {
  const type = avsc.Type.forSchema({
    type: 'record',
    name: 'All',
    fields: [
      { name: 'names', type: { type: 'array', items: 'string' } },
      { name: 'byName', type: { type: 'map', values: ['null', 'long'] } },
      { name: 'flag', type: 'boolean' },
    ],
  } as avsc.Schema, { wrapUnions: 'always' })
  const bounds = boundedBy(type)
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 24 }), numbers => {
    const bytes = Buffer.from(numbers)
    let end: number
    try {
      end = bounds(bytes, 0, bytes.length)
    } catch (err) {
      return err instanceof GatewayError && err.code === 'bad-record'
    }
    return type.decode(bytes, 0).offset === end
  }), { numRuns: 20000 })
})
