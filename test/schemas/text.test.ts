import fc from 'fast-check'
import t from 'tap'
import { idBytesMax, isId, isText, isTextWithin, utf8Bytes, utf8Fits } from '../../schemas/text.js'

t.test('isId', async t => {
  t.test('counts bytes of UTF-8', async t => {
    t.ok(isId('a'.repeat(256)))
    t.notOk(isId('a'.repeat(257)))
    t.ok(isId('😀'.repeat(64)))
    t.notOk(isId('😀'.repeat(65)))
    t.ok(isId('é'.repeat(128)))
    t.notOk(isId('é'.repeat(129)))
  })
  t.test('takes no nothing, no control character, no half of a surrogate pair and no other type', async t => {
    for (const value of ['', 'a\nb', 'a\x1bb', '\x7f', '\x85', '\ud83d', 'a\ude00', undefined, null, 7, ['a']]) {
      t.notOk(isId(value), JSON.stringify(value))
    }
  })
})

t.test('isTextWithin takes control characters and nothing, and counts bytes', async t => {
  t.ok(isTextWithin('', 0))
  t.ok(isTextWithin('a\n', 2))
  t.notOk(isTextWithin('😀', 3))
  t.notOk(isTextWithin('\ud83d', 100))
  t.notOk(isTextWithin(1, 100))
})

t.test('utf8Bytes and utf8Fits say what an encoder says of any text', async t => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }).filter(isText), text => {
    const bytes = Buffer.byteLength(text)
    return utf8Bytes(text) === bytes && utf8Fits(text, bytes) && !utf8Fits(text, bytes - 1) &&
      utf8Fits(text, idBytesMax) === (bytes <= idBytesMax)
  }), { numRuns: 2000 })
})
