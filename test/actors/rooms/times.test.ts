import fc from 'fast-check'
import t from 'tap'
import { PostTimes, timesMax } from '../../../actors/rooms/times.js'

const runs = { numRuns: 50, seed: Number(process.env['SEED'] ?? 19700101) }
const pauseMs = 600_000

t.test('The times of a room\'s posts', async t => {
  t.test('say of each post when one not far before it was posted', async t => {
    const times = new PostTimes()
    t.equal(times.before(1), 0, 'of none that was not posted')
    for (let roomSeq = 1; roomSeq <= 20; roomSeq++) times.add(roomSeq, 1_000 + roomSeq)
    t.strictSame(times.all.map(({ number, roomSeq }) => [number, roomSeq]), [[1, 1], [2, 9], [3, 17]])
    t.strictSame([1, 8, 9, 16, 1_000].map(roomSeq => times.before(roomSeq)), [1_001, 1_001, 1_009, 1_009, 1_017])
    times.add(21, 1_000 + pauseMs + 17)
    t.equal(times.before(21), 1_000 + pauseMs + 17, 'also of one that comes after a pause')
  })
  t.test('begin with the first post, and are no further apart than a quarter of the way to the end', async t => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 20_000 }), count => {
      const times = new PostTimes()
      for (let i = 0; i < count; i++) times.add(i + 1, i * pauseMs)
      const { all } = times
      t.ok(all.length <= timesMax)
      t.match(all[0], { roomSeq: 1, postedAtMs: 0 })
      t.match(all.at(-1), { roomSeq: count })
      for (let i = 2; i < all.length; i++) {
        const [before, after] = [all[i - 1]!.number, all[i]!.number]
        if (after - before > Math.max(1, (count - before) / 4)) t.fail(`after ${before} of ${count} comes ${after}`)
      }
    }), runs)
  })
  t.test('are as many for a room that has had a million posts', async t => {
    const times = new PostTimes()
    for (let i = 1; i <= 1_000_000; i++) times.add(i, i * pauseMs)
    t.ok(times.all.length <= timesMax)
    t.equal(times.before(1), pauseMs)
    t.ok(1_000_000 - times.before(1_000_000) / pauseMs < 1)
    t.ok(500_000 - times.before(500_000) / pauseMs < 125_000)
  })
})
