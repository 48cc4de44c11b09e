import t from 'tap'
import { AppendQueue, lightBytesMax } from '../../ledger/embedded/append-queue.js'
import type { Append } from '../../ledger/embedded/partition.js'
import fc from 'fast-check'

/** Of this source that takes so many bytes; '' for none. */
function append (source: string, bytes: number, { own = false } = {}): Append {
  return { items: [], bytes, own, source, derivedFrom: -1, resolve () {}, reject () {} }
}

function fill (appends: Append[], { apart = true } = {}): AppendQueue {
  const filled = new AppendQueue()
  for (const one of appends) filled.push(one)
  if (apart) filled.tellApart()
  return filled
}

const times = (count: number, make: (i: number) => Append) => Array.from({ length: count }, (_, i) => make(i))
const sourcesOf = (appends: Append[]) => appends.map(({ source }) => source)
const bytesOf = (appends: Append[]) => appends.reduce((sum, { bytes }) => sum + bytes, 0)

t.test('keeps the order of arrival until sources are told apart', async t => {
  const appends = [append('a', 9_000), append('b', 100), append('a', 9_000), append('', 100, { own: true })]
  const waiting = fill(appends, { apart: false })
  t.strictSame(sourcesOf(waiting.take(65_536)), ['a', 'b', 'a', ''])
  t.equal(waiting.bytes, 0)
})

t.test('a source that has little goes ahead of one who has much', async t => {
  const waiting = fill([...times(20, () => append('greedy', 60_000)), append('quiet', 300), append('quiet', 300)])
  t.equal(waiting.lightBytes, 600)
  t.strictSame(sourcesOf(waiting.take(100_000)), ['quiet', 'quiet', 'greedy'])
})

t.test('those who have much take turns by bytes, whatever one append has', async t => {
  const waiting = fill([
    ...times(100, () => append('long', 60_000)), ...times(600, () => append('short', 10_000)),
    ...times(30, () => append('huge', 200_000)),
  ])
  const taken: Append[] = []
  for (let i = 0; i < 30; i++) taken.push(...waiting.take(131_072))
  const shares = ['long', 'short', 'huge'].map(source => bytesOf(taken.filter(one => one.source === source)))
  t.ok(Math.max(...shares) - Math.min(...shares) <= 300_000, shares.join())
})

t.test('those who have little leave half of the room to the others', async t => {
  const waiting = fill([
    ...times(20, () => append('greedy', 20_000)), ...times(100, i => append(`quiet-${i}`, lightBytesMax)),
  ])
  const taken = waiting.take(131_072)
  t.equal(sourcesOf(taken).filter(source => source === 'greedy').length, 3)
  t.ok(bytesOf(taken) <= 131_072)
})

t.test('takes nothing of those whose turn it is not', async t => {
  const waiting = fill([...times(3, () => append('greedy', 60_000)), append('quiet', 300)])
  t.strictSame(sourcesOf(waiting.take(100_000, false)), ['quiet'])
  t.equal(waiting.headBytes, 60_000)
  t.equal(waiting.lightBytes, 0)
})

t.test('takes one append that is more than the room', async t => {
  t.strictSame(bytesOf(fill(times(3, () => append('greedy', 300_000))).take(1_000)), 300_000)
})

t.test('what is reserved and nobody\'s goes first, and nothing overtakes it', async t => {
  const waiting = fill([
    ...times(3, () => append('a', 60_000)), ...times(2, () => append('', 20_000, { own: true })),
    append('b', 100, { own: true }),
  ])
  t.strictSame(sourcesOf(waiting.take(30_000)), [''])
  t.strictSame(sourcesOf(waiting.take(30_000)), ['', 'b', 'a'])
})

t.test('without any source all keep their order', async t => {
  const appends = times(40, i => append('', i % 7 === 0 ? 50_000 : 100, { own: i % 3 === 0 }))
  const waiting = fill(appends)
  const taken: Append[] = []
  while (waiting.bytes > 0) taken.push(...waiting.take(10_000))
  t.ok(taken.every((one, i) => one === appends[i]))
  t.equal(taken.length, appends.length)
})

t.test('gives back each append once, and those of one source in their order', async t => {
  const appends = fc.array(fc.record({
    source: fc.constantFrom('', 'a', 'b', 'c'), bytes: fc.constantFrom(10, 500, 5_000, 20_000, 90_000, 300_000),
  }), { maxLength: 60 })
  const steps = fc.array(fc.record({ appends, bytesMax: fc.integer({ min: 100, max: 400_000 }), isTurn: fc.boolean() }))
  fc.assert(fc.property(steps, steps => {
    const waiting = new AppendQueue()
    const [given, taken]: [Append[], Append[]] = [[], []]
    const take = (bytesMax: number, isTurn: boolean) => {
      const before = waiting.bytes
      const these = waiting.take(bytesMax, isTurn)
      if (before > 0 && isTurn && these.length === 0) throw new Error('took nothing')
      if (waiting.bytes !== before - bytesOf(these)) throw new Error('counts wrong')
      taken.push(...these)
    }
    for (const { appends, bytesMax, isTurn } of steps) {
      for (const { source, bytes } of appends) {
        const one = append(source, bytes)
        given.push(one)
        waiting.push(one)
      }
      take(bytesMax, isTurn)
    }
    while (waiting.bytes > 0) take(50_000, true)
    for (const source of ['', 'a', 'b', 'c']) {
      const of = (appends: Append[]) => appends.filter(one => one.source === source)
      const [was, is] = [of(given), of(taken)]
      if (was.length !== is.length || was.some((one, i) => one !== is[i])) throw new Error(`order of ${source}`)
    }
    return waiting.lightBytes === 0 && waiting.headBytes === 0
  }))
})
