import t from 'tap'
import { Overload } from '../../gateway/overload.js'
import type { Health } from '../../schemas/conditions.js'

const waitMsMax = 20

/** Clients of one priority: how many uplinks they would send in a second, and by how many users. */
interface Crowd { readonly priority: number, readonly perSecond: number, readonly users: number }

/**
 * A node without a node: it folds `capacity` uplinks a second, what is more waits, and time is the test's own. Clients
 * that are refused come again after three seconds.
 */
class Model {
  nowMs = 0
  capacity = 10_000
  waiting = 0
  /** In the last second, by priority. */
  admitted = new Map<number, number>()
  told = ''
  /** A wait that does not come from a queue, ms. */
  pausedMs = 0
  /** What those wait that are held back, ms. */
  heldMs = 0
  /** What quiet connections wait, where that is not the same. */
  quietMs: number | undefined
  readonly overload: Overload
  readonly #refusedUntilMs = new Map<string, number>()

  constructor () {
    const health: Health = { begin: (_name, reason) => { this.told = reason }, end: () => { this.told = '' } }
    const waits = () => {
      const ms = this.pausedMs + 1_000 * this.waiting / this.capacity
      return { ms, quietMs: this.quietMs ?? ms, heldMs: this.heldMs, entries: 0 }
    }
    this.overload = new Overload(waitMsMax, waits, health, () => this.nowMs, () => 0)
  }

  /** So many seconds pass. */
  run (seconds: number, crowds: readonly Crowd[]): void {
    for (let s = 0; s < seconds; s++) {
      this.admitted = new Map()
      for (let quarter = 0; quarter < 4; quarter++) this.#quarter(crowds)
    }
  }

  share (priority: number, { perSecond }: Pick<Crowd, 'perSecond'>): number {
    return (this.admitted.get(priority) ?? 0) / perSecond
  }

  #quarter (crowds: readonly Crowd[]): void {
    for (const { priority, perSecond, users } of crowds) {
      const each = perSecond / 4 / users
      for (let i = 0; i < users; i++) {
        const userId = `p${priority}-${i}`
        if ((this.#refusedUntilMs.get(userId) ?? 0) > this.nowMs) continue
        for (let n = 0; n < each; n++) {
          if (!this.overload.admits(userId, priority, false)) {
            this.#refusedUntilMs.set(userId, this.nowMs + 3_000)
            break
          }
          this.waiting++
          this.admitted.set(priority, (this.admitted.get(priority) ?? 0) + 1)
        }
      }
    }
    this.nowMs += 250
    this.waiting = Math.max(0, this.waiting - this.capacity / 4)
    // What is read waits at most as long as the bound of bytes lets it.
    this.waiting = Math.min(this.waiting, this.capacity)
    this.overload.look()
  }
}

const calm: Crowd = { priority: 0, perSecond: 4_000, users: 500 }
const vip: Crowd = { priority: 5, perSecond: 2_000, users: 250 }
const flood: Crowd = { priority: 0, perSecond: 100_000, users: 2_500 }

t.test('Overload', async t => {
  t.test('refuses nobody while uplinks do not wait', async t => {
    const model = new Model()
    model.run(30, [calm, vip])
    t.equal(model.overload.level, 0)
    t.equal(model.told, '')
  })

  t.test('keeps all of the highest priority, whatever the others send', async t => {
    const model = new Model()
    model.run(5, [calm, vip])
    model.run(30, [flood, vip])
    for (let s = 0; s < 30; s++) {
      model.run(1, [flood, vip])
      t.ok(model.share(5, vip) > 0.99, `${model.share(5, vip)}`)
    }
    t.ok(model.overload.level >= 4, `the level is ${model.overload.level}`)
    t.match(model.told, /^uplinks wait \d+ ms for their turn: those of a priority below 0 are refused, and of 0 those of \d+ of 128/)
  })

  t.test('uses the node all the same, and holds what waits within a multiple of the bound', async t => {
    const model = new Model()
    model.run(40, [flood, vip])
    let admitted = 0
    let waitMs = 0
    for (let s = 0; s < 60; s++) {
      model.run(1, [flood, vip])
      admitted += (model.admitted.get(0) ?? 0) + (model.admitted.get(5) ?? 0)
      waitMs += 1_000 * model.waiting / model.capacity
    }
    t.ok(admitted / 60 > 0.6 * model.capacity, `${admitted / 60} of ${model.capacity}`)
    t.ok(waitMs / 60 < 10 * waitMsMax, `${waitMs / 60} ms`)
  })

  t.test('lets everybody in within 30 windows of its end, and says so', async t => {
    const model = new Model()
    model.run(60, [flood, vip])
    t.ok(model.overload.level > 0)
    model.run(30, [calm, vip])
    t.equal(model.overload.level, 0)
    t.equal(model.told, '')
    t.equal(model.share(0, calm), 1)
  })

  t.test('waits for overload to last before anybody is refused', async t => {
    const model = new Model()
    for (let i = 0; i < 10; i++) {
      model.pausedMs = 500
      model.run(1, [calm])
      model.pausedMs = 0
      model.run(1, [calm])
      t.equal(model.overload.level, 0)
    }
    model.pausedMs = 500
    model.run(1, [calm])
    t.equal(model.overload.level, 0)
    model.run(3, [calm])
    t.ok(model.overload.level > 0)
  })

  t.test('takes a pause of seconds for no more than that', async t => {
    const model = new Model()
    for (let i = 0; i < 5; i++) {
      model.run(2, [calm])
      model.nowMs += 10_000 // the process stands still, and what came meanwhile is read at once
      let isIn = true
      for (let n = 0; n < 40_000; n++) isIn &&= model.overload.admits(`p0-${n % 500}`, 0, false)
      t.ok(isIn)
      model.pausedMs = 5_000
      model.overload.look()
      model.pausedMs = 0
    }
    t.equal(model.overload.level, 0)
  })

  t.test('takes nothing for overload where few uplinks come, however long they wait', async t => {
    const model = new Model()
    model.pausedMs = 5_000
    model.run(60, [{ priority: 0, perSecond: 180, users: 45 }])
    t.equal(model.overload.level, 0)
    t.equal(model.overload.waitMs, 0)
  })

  t.test('refuses connects of whom it would refuse uplinks of no priority', async t => {
    const model = new Model()
    t.equal(model.overload.admitsConnect('p0-1'), true)
    model.quietMs = 21
    model.run(40, [flood, vip])
    const users = Array.from({ length: 200 }, (_, i) => `p0-${i}`)
    for (const user of users) t.equal(model.overload.admitsConnect(user), model.overload.admits(user, 0, false))
    t.ok(users.some(user => !model.overload.admitsConnect(user)))
  })

  t.test('refuses no quiet connection where those do not wait', async t => {
    const model = new Model()
    model.quietMs = 1
    model.run(40, [flood, vip])
    const users = Array.from({ length: 200 }, (_, i) => `p0-${i}`)
    const refused = users.filter(user => !model.overload.admits(user, 0, false))
    t.ok(refused.length > 0)
    t.strictSame(refused.filter(user => !model.overload.admits(user, 0, true)), [])
    t.strictSame(refused.filter(user => !model.overload.admitsConnect(user)), [])
    model.quietMs = 21
    model.run(1, [flood, vip])
    t.ok(refused.some(user => !model.overload.admits(user, 0, true)), 'and where they wait, they are refused')
  })

  t.test('is not looked for where its bound is 0', async t => {
    const overload = new Overload(0, () => { throw new Error('asked') }, { begin () {}, end () {} })
    overload.start()()
    t.equal(overload.admits('ann', -4, false), true)
    t.equal(overload.takeWaitMs(), 0)
  })

  t.test('tells the mean wait since the last report, as soon as there is one', async t => {
    const model = new Model()
    model.pausedMs = 16
    model.run(2, [calm])
    t.equal(Math.round(model.overload.takeWaitMs()), 16)
    t.equal(model.overload.level, 0, 'before anybody is refused')
    t.equal(model.overload.takeWaitMs(), 0)
  })

  t.test('lasts until nobody is refused, nor held back for long, for 10 s', async t => {
    const model = new Model()
    model.run(1, [flood, vip])
    t.notOk(model.overload.lasts, 'it is slow to begin')
    model.run(9, [flood, vip])
    t.ok(model.overload.lasts)
    model.heldMs = 400
    model.run(60, [calm])
    t.equal(model.overload.level, 0)
    t.ok(model.overload.lasts, 'some are held back')
    model.heldMs = 50
    model.run(9, [calm])
    t.ok(model.overload.lasts)
    model.run(3, [calm])
    t.notOk(model.overload.lasts)
  })

  t.test('refuses some where those that are held back wait for more than a second', async t => {
    const model = new Model()
    model.heldMs = 900
    model.run(20, [calm])
    t.equal(model.overload.level, 0)
    model.heldMs = 1_100
    model.run(20, [calm])
    t.ok(model.overload.level > 0)
  })
})
