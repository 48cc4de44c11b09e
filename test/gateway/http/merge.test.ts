import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { merge } from '../../../gateway/streams/merge.js'

async function * source (...items: Array<number | Error>) {
  for (const item of items) {
    await setImmediate()
    if (item instanceof Error) throw item
    yield item
  }
}

async function collect (items: AsyncIterable<number>) {
  const all: number[] = []
  for await (const item of items) all.push(item)
  return all
}

t.test('merge', async t => {
  t.test('gives the items of all sources, each in its own order', async t => {
    const all = await collect(merge([source(1, 2, 3), source(), source(11, 12)]))
    t.strictSame(all.filter(item => item < 10), [1, 2, 3])
    t.strictSame(all.filter(item => item > 10), [11, 12])
  })

  t.test('ends at once without sources', async t => {
    t.strictSame(await collect(merge([])), [])
  })

  t.test('fails with the first source that fails', async t => {
    await t.rejects(collect(merge([source(1, 2, 3, 4), source(11, new Error('broken'))])), { message: 'broken' })
  })

  t.test('asks a source for the next item only after the last one was taken', async t => {
    let asked = 0
    const next = async () => ({ done: false as const, value: ++asked })
    const counting = { [Symbol.asyncIterator]: () => ({ next }) }
    const merged = merge([counting])
    await merged.next()
    await setImmediate()
    t.equal(asked, 1)
    await merged.next()
    t.equal(asked, 2)
  })

  t.test('ends its sources when it is left', async t => {
    let ended = 0
    async function * endless () {
      try {
        for (let i = 0; ; i++) yield i
      } finally {
        ended++
      }
    }
    for await (const item of merge([endless(), endless()])) if (item === 3) break
    await setImmediate()
    t.equal(ended, 2)
  })
})
