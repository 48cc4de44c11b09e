import t from 'tap'
import { murmur2, partitionOf } from '../../schemas/partitioning.js'

// The vectors of Kafka's own UtilsTest.
const published: [string, number][] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
]

t.test('murmur2', async t => {
  for (const [key, hash] of published) t.equal(murmur2(Buffer.from(key)), hash, `of ${key} is Kafka's`)
})

t.test('partitionOf', async t => {
  t.test('takes the hash without its sign', async t => {
    for (const [key, hash] of published) t.equal(partitionOf(key, 12), (hash & 0x7fffffff) % 12)
  })
  t.test('hashes the UTF-8 of the key, of any length', async t => {
    for (const key of ['', 'žluťoučký', 'é', 'abcž', 'x'.repeat(63), 'x'.repeat(64), 'x'.repeat(65), 'x'.repeat(300)]) {
      t.equal(partitionOf(key, 1000), (murmur2(Buffer.from(key, 'utf8')) & 0x7fffffff) % 1000, key)
    }
  })
  t.test('spreads users evenly', async t => {
    const counts = new Array<number>(16).fill(0)
    for (let user = 0; user < 16000; user++) counts[partitionOf(`user-${user}`, 16)]!++
    t.ok(Math.min(...counts) > 900 && Math.max(...counts) < 1100, counts.join(' '))
  })
})
