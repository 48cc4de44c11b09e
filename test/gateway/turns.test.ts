import fc from 'fast-check'
import t from 'tap'
import { Turns } from '../../gateway/turns.js'

async function inOrder (works: ReadonlyArray<() => Promise<void>>): Promise<void> {
  for (const work of works) await work()
}

t.test('Work that names keys', async t => {
  t.test('goes one after the other for each key, in the order of the calls, however long each takes', async t => {
    const work = fc.record({ keys: fc.uniqueArray(fc.constantFrom<string>('a', 'b', 'c', 'd')), ticks: fc.nat(5) })
    await fc.assert(fc.asyncProperty(fc.array(work, { maxLength: 20 }), async works => {
      const turns = new Turns<() => Promise<void>>(inOrder)
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

  t.test('is done together where it waits for its turn, and names one key alone', async t => {
    const done: string[] = []
    const turns = new Turns<string>(async items => {
      done.push(items.join(' '))
      await new Promise(resolve => setImmediate(resolve))
    })
    const first = turns.take(['a'], 'a1')
    await Promise.resolve()
    await Promise.resolve()
    await Promise.all([
      first, turns.take(['a'], 'a2'), turns.take(['b'], 'b1'), turns.take(['a'], 'a3'), turns.take(['a', 'b'], 'ab'),
      turns.take(['a'], 'a4'), turns.take(['a'], 'a5'),
    ])
    t.strictSame(done, ['a1', 'b1', 'a2 a3', 'ab', 'a4 a5'])
  })

  t.test('waits for nobody whose keys are others, or who has ended', async t => {
    const turns = new Turns<() => Promise<void>>(inOrder)
    const done: string[] = []
    const held = turns.take(['a'], () => new Promise(resolve => setTimeout(() => { done.push('held'); resolve() }, 50)))
    await turns.take(['b'], async () => { done.push('b') })
    await turns.take([], async () => { done.push('none') })
    const behind = turns.take(['b', 'a'], async () => { done.push('behind') })
    await Promise.all([held, behind])
    t.strictSame(done, ['b', 'none', 'held', 'behind'])
  })
})
