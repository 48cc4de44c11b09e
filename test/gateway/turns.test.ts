import fc from 'fast-check'
import t from 'tap'
import { Turns } from '../../gateway/turns.js'

t.test('Work that names keys', async t => {
  t.test('goes one after the other for each key, in the order of the calls, however long each takes', async t => {
    const work = fc.record({ keys: fc.uniqueArray(fc.constantFrom<string>('a', 'b', 'c', 'd')), ticks: fc.nat(5) })
    await fc.assert(fc.asyncProperty(fc.array(work, { maxLength: 20 }), async works => {
      const turns = new Turns()
      const running = new Map<string, number>()
      const ended = new Map<string, number[]>()
      await Promise.all(works.map(({ keys, ticks }, i) => turns.take(keys, async () => {
        for (const key of keys) {
          t.notOk(running.has(key), 'alone')
          running.set(key, i)
        }
        for (let tick = 0; tick < ticks; tick++) await new Promise(resolve => setImmediate(resolve))
        for (const key of keys) {
          running.delete(key)
          ended.set(key, [...ended.get(key) ?? [], i])
        }
      })))
      for (const [key, order] of ended) {
        t.strictSame(order, works.flatMap(({ keys }, i) => keys.includes(key) ? [i] : []))
      }
    }), { numRuns: 50 })
  })

  t.test('waits for nobody whose keys are others, or who has ended', async t => {
    const turns = new Turns()
    const done: string[] = []
    const held = turns.take(['a'], () => new Promise(resolve => setTimeout(() => { done.push('held'); resolve() }, 50)))
    await turns.take(['b'], async () => { done.push('b') })
    await turns.take([], async () => { done.push('none') })
    const behind = turns.take(['b', 'a'], async () => { done.push('behind') })
    await Promise.all([held, behind])
    t.strictSame(done, ['b', 'none', 'held', 'behind'])
  })
})
