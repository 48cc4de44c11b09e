import fc from 'fast-check'
import t from 'tap'
import { Backoff } from '../../client/backoff.js'

const halves = { baseMs: 1000, capMs: 60_000, random: () => 0.5 }

t.test('Backoff', async t => {
  t.test('waits within an interval that doubles up to the cap', async t => {
    const backoff = new Backoff(halves)
    const waits = Array.from({ length: 9 }, () => backoff.nextMs())
    t.strictSame(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  })

  t.test('begins anew after a success', async t => {
    const backoff = new Backoff(halves)
    for (let i = 0; i < 5; i++) backoff.nextMs()
    backoff.reset()
    t.equal(backoff.nextMs(), 500)
  })

  t.test('has its jitter over the whole interval', async t => {
    for (const [random, waitMs] of [[0, 0], [0.25, 250], [0.999, 999]] as const) {
      t.equal(new Backoff({ ...halves, random: () => random }).nextMs(), waitMs)
    }
  })

  t.test('never waits for longer than the cap, however often it was asked', async t => {
    fc.assert(fc.property(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.nat(2000), (random, count) => {
      const backoff = new Backoff({ ...halves, random: () => random })
      for (let i = 0; i < count; i++) backoff.nextMs()
      const waitMs = backoff.nextMs()
      return waitMs >= 0 && waitMs <= 60_000
    }))
  })
})
