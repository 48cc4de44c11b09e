import t from 'tap'
import { RowCache } from '../../projections/tables/row-cache.js'

t.test('RowCache', async t => {
  const row = (bytes: number) => new Map([['f', 'x'.repeat(bytes)]])

  t.test('keeps rows up to its bytes, and drops those that came first', async t => {
    const cache = new RowCache(40_000)
    for (const name of ['a', 'b', 'c']) cache.set(name, row(10_000))
    t.ok(cache.get('a'))
    cache.set('d', row(10_000))
    t.strictSame(['a', 'b', 'c', 'd'].map(name => cache.get(name) !== undefined), [false, true, true, true])
    t.ok(cache.bytes <= 40_000)
  })

  t.test('counts a row once, however often it is set', async t => {
    const cache = new RowCache(40_000)
    cache.set('a', row(10_000))
    const { bytes } = cache
    cache.set('a', row(10_000))
    t.equal(cache.bytes, bytes)
    cache.delete('a')
    t.equal(cache.bytes, 0)
  })

  t.test('takes no row that is larger than all that it may keep', async t => {
    const cache = new RowCache(40_000)
    cache.set('a', row(10_000))
    cache.set('huge', row(50_000))
    t.equal(cache.get('huge'), undefined)
    t.ok(cache.get('a'))
  })
})
