import fc from 'fast-check'
import t from 'tap'
import { Quota } from '../../../gateway/keys/quota.js'

t.test('A quota', async t => {
  t.test('gives a second\'s worth at once, then says when there is more', async t => {
    const quota = new Quota(4, 0)
    t.strictSame([1, 1, 1, 1, 1].map(count => quota.take(count, 0)), [0, 0, 0, 0, 250])
    t.equal(quota.take(1, 249), 1)
    t.equal(quota.take(1, 250), 0)
    t.equal(quota.take(1, 250), 250)
  })

  t.test('keeps no more than a second\'s worth', async t => {
    const quota = new Quota(2, 0)
    t.strictSame([1, 1, 1].map(count => quota.take(count, 100_000)), [0, 0, 500])
  })

  t.test('takes nothing when it refuses', async t => {
    const quota = new Quota(10, 0)
    t.equal(quota.take(8, 0), 0)
    t.equal(quota.take(3, 0), 100)
    t.equal(quota.take(2, 0), 0)
  })

  t.test('lets through what is larger than a second\'s worth, and has the next one wait for all of it', async t => {
    const quota = new Quota(10, 0)
    t.equal(quota.take(35, 0), 0)
    t.equal(quota.take(1, 0), 2_600)
    t.equal(quota.take(1, 2_599), 1)
    t.equal(quota.take(1, 2_600), 0)
    t.equal(quota.take(35, 2_600), 1_000, 'all of a second must be there for the next one')
  })

  t.test('never gives more than its rate and a second, and never a wait that is in vain', async t => {
    const asked = fc.array(fc.tuple(fc.nat(3_000), fc.integer({ min: 1, max: 50 })), { maxLength: 50 })
    fc.assert(fc.property(fc.integer({ min: 1, max: 50 }), asked, (perSecond, requests) => {
      const quota = new Quota(perSecond, 0)
      let nowMs = 0
      let before = 0
      for (const [pauseMs, count] of requests) {
        nowMs += pauseMs
        const waitMs = quota.take(count, nowMs)
        if (waitMs > 0) {
          nowMs += waitMs
          if (quota.take(count, nowMs) !== 0) return false
        }
        // Before the one that may be large, everything was within the rate.
        if (before > perSecond * (1 + nowMs / 1_000) + 1e-3) return false
        before += count
      }
      return true
    }))
  })
})
