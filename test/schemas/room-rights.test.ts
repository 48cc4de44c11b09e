import t from 'tap'
import { RoomPatterns } from '../../schemas/room-rights.js'

const rights = (claim: unknown, roomId: string) => {
  const patterns = RoomPatterns.of(claim)
  return patterns && (['r', 'w'] as const).filter(right => patterns.may(right, roomId)).join('')
}

t.test('The claim `rooms` of a token', async t => {
  t.test('gives a right in the rooms that its patterns name, and in no other', async t => {
    const claim = { 'chat:*': 'rw', 'news:1': 'r', 'inbox:*': 'w' }
    t.equal(rights(claim, 'chat:7'), 'rw')
    t.equal(rights(claim, 'chat:'), 'rw')
    t.equal(rights(claim, 'news:1'), 'r')
    t.equal(rights(claim, 'news:12'), '')
    t.equal(rights(claim, 'news:'), '')
    t.equal(rights(claim, 'inbox:ann'), 'w')
    t.equal(rights(claim, 'chat'), '')
    t.equal(rights(claim, 'a chat:7'), '')
    t.equal(rights({}, 'chat:7'), '')
    t.equal(rights({ '*': 'r' }, 'anything'), 'r')
  })
  t.test('gives what any of several patterns gives', async t => {
    t.equal(rights({ '*': 'r', 'chat:*': 'w' }, 'chat:7'), 'rw')
    t.equal(rights({ 'chat:7': 'r', 'chat:*': 'w', 'c*': 'w' }, 'chat:7'), 'rw')
  })
  t.test('takes no harm from names of the prototype', async t => {
    t.equal(rights({}, '__proto__'), '')
    t.equal(rights({}, 'constructor'), '')
    t.equal(rights(JSON.parse('{"__proto__":"r"}'), '__proto__'), 'r')
  })
  const wrong: [string, unknown][] = [
    ['no object', 'chat:*'], ['null', null], ['an array', ['chat:*']], ['a number for a right', { a: 1 }],
    ['a right that there is not', { a: 'x' }], ['rights the other way round', { a: 'wr' }], ['no right', { a: '' }],
    ['a pattern without a character', { '': 'r' }], ['a star in the middle', { 'a*b': 'r' }], ['two stars', { 'a**': 'r' }],
    ['a control character', { 'a\n': 'r' }], ['half a surrogate pair', { '\ud800': 'r' }],
    ['a pattern of 257 bytes', { ['x'.repeat(257)]: 'r' }],
    ['65 patterns', Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`room ${i}`, 'r']))],
  ]
  for (const [what, claim] of wrong) t.equal(RoomPatterns.of(claim), undefined, `is refused where it is ${what}`)
  t.ok(RoomPatterns.of(Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`room ${i}`, 'r']))), 'may have 64 patterns')
})
