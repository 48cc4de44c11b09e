import fc from 'fast-check'
import t from 'tap'
import { offsetAt } from '../../ledger/embedded/stored-times.js'

const startMs = Date.UTC(2026, 5, 1)
const hourMs = 3_600_000
const nowMs = startMs + 400 * hourMs
const yearAhead = startMs + 8_760 * hourMs

/** A block an hour; undefined for one that is damaged. */
function blocks (times: ReadonlyArray<number | undefined>, first = 0) {
  return { first, next: times.length, timeAt: (offset: number) => offset < first ? undefined : times[offset] }
}

const honest = (i: number) => startMs + i * hourMs

t.test('offsetAt', async t => {
  t.test('is the first block at or after the time', async t => {
    await fc.assert(fc.asyncProperty(
      fc.array(fc.nat(3), { maxLength: 60 }), fc.nat(70), fc.nat(10),
      async (steps, wanted, cut) => {
        let hours = 0
        const times = steps.map(step => honest(hours += step))
        const first = Math.min(cut, times.length)
        const found = times.findIndex((time, i) => i >= first && time >= honest(wanted))
        t.equal(offsetAt(blocks(times, first), honest(wanted), nowMs), found === -1 ? times.length : found)
      }))
  })

  const lies = [[150], [100, 200, 299], [0], [298], [0, 299], Array.from({ length: 60 }, (_, i) => 120 + i)]
  for (const lying of lies) {
    for (const lieMs of [yearAhead, 1_000, honest(30), honest(280), undefined]) {
      const isRun = lying.length > 3
      if (isRun && (lieMs === honest(30) || lieMs === honest(280))) continue // nobody can tell
      t.test(`is so with ${lying.length} dated ${lieMs} from ${lying[0]} on`, async t => {
        const times = Array.from({ length: 300 }, (_, i) => lying.includes(i) ? lieMs : honest(i))
        const asked = Array.from(times, (_, i) => i).filter(i => !lying.includes(i) && !lying.includes(i - 1))
        // A time that can be is in doubt until two others contradict it, and at an end there are none.
        const isPlain = lieMs !== honest(30) && lieMs !== honest(280)
        const wrong = asked.filter(i => Math.abs(offsetAt(blocks(times), honest(i), nowMs) - i) > (isPlain ? 0 : 2))
        t.strictSame(wrong, [])
      })
    }
  }

  t.test('takes the times as they are where our own clock is behind all of them', async t => {
    const times = Array.from({ length: 50 }, (_, i) => honest(i))
    t.equal(offsetAt(blocks(times), honest(20), 1_000), 20)
    t.equal(offsetAt(blocks(times.map((_, i) => i)), 20, nowMs), 20)
  })
})
