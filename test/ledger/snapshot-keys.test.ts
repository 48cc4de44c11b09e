import fc from 'fast-check'
import t from 'tap'
import { olderPartKey, parseSnapshotKey, snapshotKey, snapshotPartKey } from '../../ledger/embedded/snapshot-keys.js'

const hex = (key: Buffer | undefined) => key?.toString('hex')

t.test('keys of saved states', async t => {
  t.equal(hex(snapshotKey(3, 'ann')), '040003616e6e')
  t.equal(hex(snapshotKey(3, 'ann', 'rooms')), '0b0003616e6e')
  t.equal(hex(snapshotPartKey(3, 'ann', '')), '040003616e6eff')
  t.equal(hex(snapshotPartKey(3, 'ann', 's12')), '040003616e6eff733132')
  t.equal(hex(snapshotPartKey(3, 'ann', 'm0')), '040003616e6eff01ffffffffffff6d')
  t.equal(hex(snapshotPartKey(3, 'ann', 'm258')), '040003616e6eff01fffffffffefd6d')
  t.equal(hex(snapshotPartKey(3, 'ann', 'p258')), '040003616e6eff01fffffffffefd70')
  t.equal(hex(snapshotPartKey(3, 'ann', 'r7', 'rooms')), '0b0003616e6eff01ffffffffff0072', 'a chunk as the last of its 32')
  t.equal(hex(olderPartKey(3, 'ann', 'm258')), '040003616e6eff6d323538', 'in the format before')
  t.equal(olderPartKey(3, 'ann', 's12'), undefined, 'which had no other one for this')
})

const letters = fc.constantFrom('m', 'p', 'r', 's', 'c', 'f')
const number = fc.oneof(fc.nat({ max: 2_000 }), fc.nat({ max: 2 ** 31 }))

t.test('a key says whose part it is and which, in either format', async () => {
  const userIds = fc.oneof(fc.constant(''), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }))
  fc.assert(fc.property(userIds, letters, number, (userId, letter, n) => {
    const part = `${letter}${n}`
    const told = (key: Buffer) => JSON.stringify(parseSnapshotKey(Buffer.from(key)))
    const wanted = JSON.stringify({ userId, part })
    const olderKey = olderPartKey(5, userId, part)
    if (olderKey && told(olderKey) !== wanted) return false
    return told(snapshotPartKey(5, userId, part)) === wanted
  }))
})

t.test('a part that came later stands nearer to the head', async () => {
  const ranked = fc.constantFrom<[string, number]>(['m', 1], ['p', 1], ['r', 32])
  fc.assert(fc.property(ranked, number, ranked, number, ([a, perA], n, [b, perB], m) => {
    const [first, second] = [n * perA, m * perB]
    if (Math.abs(first - second) < 32) return
    const keyOf = (letter: string, number: number) => Buffer.from(snapshotPartKey(5, 'ann', `${letter}${number}`))
    const isNearer = Buffer.compare(keyOf(a, n), keyOf(b, m)) < 0
    return isNearer === (first > second)
  }))
})

t.test('the parts of one user stand behind his head and before the next user', async () => {
  fc.assert(fc.property(letters, number, (letter, n) => {
    const key = Buffer.from(snapshotPartKey(5, 'ann', `${letter}${n}`))
    return Buffer.compare(Buffer.from(snapshotKey(5, 'ann')), key) < 0 &&
      Buffer.compare(key, Buffer.from([...snapshotPartKey(5, 'ann', ''), 0xff])) < 0
  }))
})
