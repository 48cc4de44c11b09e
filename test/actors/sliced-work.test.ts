import t from 'tap'
import { SlicedWork } from '../../actors/sliced-work.js'

const turn = () => new Promise<void>(resolve => { setImmediate(resolve) })

function * pieces (count: number, done: string[], name: string): Iterator<void> {
  for (let i = 0; i < count; i++) {
    done.push(name)
    yield
  }
}

t.test('Work of many pieces', async t => {
  t.test('is begun at once, and done a little in each turn', async t => {
    const done: string[] = []
    new SlicedWork().add(200, pieces(200, done, 'a'))
    const counts = []
    for (let i = 0; i < 5; i++) {
      counts.push(done.length)
      await turn()
    }
    t.strictSame(counts, [64, 128, 192, 200, 200])
  })

  t.test('waits for what was added before', async t => {
    const done: string[] = []
    const work = new SlicedWork()
    for (const name of ['a', 'b', 'c']) work.add(50, pieces(50, done, name))
    t.equal(done.length, 50, 'the first is small: it is done, and the second begins with the next turn')
    await turn()
    t.equal(done.length, 114)
    await turn()
    t.strictSame(done, ['a', 'b', 'c'].flatMap(name => Array(50).fill(name)))
    await turn()
    work.add(1, pieces(1, done, 'd'))
    t.equal(done.at(-1), 'd', 'and begins again when there was nothing')
  })

  t.test('is done in 256 turns, however many pieces it has', async t => {
    const done: string[] = []
    new SlicedWork().add(100_000, pieces(100_000, done, 'a'))
    t.equal(done.length, 391)
    for (let i = 0; i < 256; i++) await turn()
    t.equal(done.length, 100_000)
  })
})
