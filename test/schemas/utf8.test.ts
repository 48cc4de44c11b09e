import fc from 'fast-check'
import t from 'tap'
import { decodeByHand, encodeByHand } from '../../schemas/utf8.js'

t.test('UTF-8 by hand', async t => {
  const encoder = new TextEncoder()
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

  t.test('writes any text as TextEncoder does, half surrogate pairs too', async t => {
    fc.assert(fc.property(fc.array(fc.nat(0xffff)), units => {
      const text = String.fromCharCode(...units)
      t.strictSame(encodeByHand(text), encoder.encode(text))
    }))
    fc.assert(fc.property(fc.string({ unit: 'binary' }), text => {
      t.strictSame(encodeByHand(text), encoder.encode(text))
      t.equal(decodeByHand(encoder.encode(text)), text)
    }))
  })

  t.test('takes and refuses what TextDecoder does', async t => {
    const outcome = (decode: (bytes: Uint8Array) => string, bytes: Uint8Array) => {
      try {
        return decode(bytes)
      } catch (err) {
        return (err as Error).name
      }
    }
    const pieces = ['61', 'c3a9', 'e29883', 'f09f90b8', 'efbbbf', 'c0af', 'c3', 'e080af', 'eda080', 'f0808080', 'f48fbfbf',
      'f4908080', 'f8888080', '80', 'ff', '00']
    const near = fc.array(fc.constantFrom(...pieces)).map(hex => Uint8Array.from(Buffer.from(hex.join(''), 'hex')))
    fc.assert(fc.property(fc.oneof(near, fc.uint8Array({ maxLength: 6 })), bytes => {
      t.equal(outcome(decodeByHand, bytes), outcome(each => decoder.decode(each), bytes))
    }), { numRuns: 2000 })
  })
})
