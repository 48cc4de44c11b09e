import fc from 'fast-check'
import t from 'tap'
import { priorities, ranksMax } from '../../actors/connection/priority.js'
import { AdmissionLevel, userParts } from '../../gateway/admission-level.js'

const hourMs = 3_600_000

function given (atMs = () => 0): AdmissionLevel { return new AdmissionLevel(atMs) }

/** Many users, each with one uplink of this priority. */
function countMany (level: AdmissionLevel, priority: number, users = 4_000): number {
  let isIn = 0
  for (let i = 0; i < users; i++) if (level.count(`user-${i}`, priority)) isIn++
  return isIn / users
}

t.test('AdmissionLevel', async t => {
  t.test('lets everybody in at first', async t => {
    const level = given()
    t.equal(level.height, 0)
    t.equal(countMany(level, -100), 1)
    t.equal(countMany(level, 0), 1)
  })

  t.test('lets in less by the share that is wanted, within one part of the users', async t => {
    const level = given()
    countMany(level, 0)
    level.lower(0.05)
    t.ok(Math.abs(countMany(level, 0) - 0.95) < 0.03, `${level.height}`)
    t.equal(Math.floor(level.height), -priorities.min, 'in the priority that there is')
    t.equal(countMany(level, 1), 1, 'and none of what is more important')
    t.equal(countMany(level, -1), 0)
  })

  t.test('takes the lowest priority first', async t => {
    const level = given()
    countMany(level, 0, 1_000)
    countMany(level, -2, 1_000)
    level.lower(0.25)
    t.ok(Math.abs(countMany(level, -2) - 0.5) < 0.05)
    t.equal(countMany(level, 0), 1)
  })

  t.test('never keeps the highest out that came, be it all of it', async t => {
    const level = given()
    for (let i = 0; i < 1_000; i++) level.count('ann', 3)
    for (let i = 0; i < 50; i++) level.lower(0.25)
    t.equal(level.isIn('ann', 3), true)
    t.equal(level.isIn('bob', 2), false)
    for (let i = 0; i < 10; i++) level.count('vip', 100)
    for (let i = 0; i < 50; i++) level.lower(0.25)
    t.equal(level.isIn('vip', 100), true)
    t.equal(level.isIn('vip', priorities.max), true, 'which is as high as any')
  })

  t.test('lets in more again, and everybody where nobody is kept out any more', async t => {
    const level = given()
    countMany(level, 0)
    level.lower(0.5)
    const before = countMany(level, 0)
    level.raise(0.01)
    const after = countMany(level, 0)
    t.ok(after > before && after - before < 0.05, `${before} to ${after}`)
    level.fade(60_000)
    level.raise(0.01)
    t.ok(level.height > 0, 'who waits is expected to come as before')
    for (let share = 1, i = 0; i < 20; i++, share *= 2) level.raise(share)
    t.equal(level.height, 0)
  })

  t.test('deals users into other parts each hour, and keeps as many out', async t => {
    let nowMs = 0
    const level = given(() => nowMs)
    countMany(level, 0)
    level.lower(0.5)
    const users = Array.from({ length: 1_000 }, (_, i) => `user-${i}`)
    const before = users.filter(user => level.isIn(user, 0))
    nowMs = hourMs
    level.fade(1_000)
    const after = users.filter(user => level.isIn(user, 0))
    t.ok(Math.abs(after.length - before.length) < 150, `${before.length} and ${after.length}`)
    const both = after.filter(user => before.includes(user)).length
    t.ok(both < 0.75 * after.length, `${both} of ${after.length} stayed`)
  })

  t.test('does the same on every node', async t => {
    const [one, other] = [given(), given()]
    for (const level of [one, other]) {
      countMany(level, 0)
      level.lower(0.5)
    }
    for (let i = 0; i < 100; i++) t.equal(one.isIn(`u${i}`, 0), other.isIn(`u${i}`, 0))
  })

  t.test('keeps nobody out for whom a lower priority would be let in, whatever came and however it moved', async t => {
    const steps = fc.array(fc.record({
      counts: fc.array(fc.tuple(fc.nat(30), fc.integer({ min: -6, max: 14 }), fc.nat(50)), { maxLength: 20 }),
      lower: fc.boolean(),
      share: fc.double({ min: 0.01, max: 0.25, noNaN: true }),
      fadeMs: fc.nat(3_000),
    }), { maxLength: 20 })
    fc.assert(fc.property(steps, steps => {
      const level = given()
      for (const { counts, lower, share, fadeMs } of steps) {
        let highest = -Infinity
        for (const [user, priority, times] of counts) {
          for (let i = 0; i < times; i++) level.count(`u${user}`, priority)
          if (times > 0) highest = Math.max(highest, priority)
        }
        const before = level.level
        if (lower) level.lower(share)
        else level.raise(share)
        if (lower ? level.level < before : level.level > before) return false
        for (let user = 0; user <= 30; user++) {
          let wasIn = false
          for (let priority = -6; priority <= 14; priority++) {
            const isIn = level.isIn(`u${user}`, priority)
            if (wasIn && !isIn) return false
            wasIn = isIn
          }
        }
        level.fade(fadeMs)
      }
      return level.height >= 0 && level.level < ranksMax * userParts
    }), { numRuns: 200 })
  })
})
