import t from 'tap'
import { AppendQueue, lightBytesMax } from '../../ledger/embedded/append-queue.js'
import type { Append } from '../../ledger/embedded/partition.js'
import fc from 'fast-check'

interface Item { readonly userId: string }

const queue = () => new AppendQueue({ key: ({ userId }: Item) => userId })

/** An append about those users, in their order, that takes so many bytes. */
function append (users: string | string[], bytes: number, { own = false, derivedFrom = -1 } = {}): Append {
  const items = [users].flat().map(userId => ({ userId }))
  return { items, bytes, own, derivedFrom, resolve () {}, reject () {} }
}

function fill (appends: Append[]): AppendQueue {
  const filled = queue()
  for (const one of appends) filled.push(one)
  return filled
}

const times = (count: number, make: (i: number) => Append) => Array.from({ length: count }, (_, i) => make(i))
const usersOf = (appends: Append[]) => appends.map(({ items }) => (items as Item[]).map(({ userId }) => userId).join('+'))
const bytesOf = (appends: Append[]) => appends.reduce((sum, { bytes }) => sum + bytes, 0)

t.test('keeps the order of arrival while there is little', async t => {
  const waiting = fill([append('a', 9_000), append('b', 100), append('a', 9_000), append(['a', 'b'], 100, { own: true })])
  t.equal(waiting.lightBytes, waiting.bytes)
  t.strictSame(usersOf(waiting.take(65_536)), ['a', 'b', 'a', 'a+b'])
  t.equal(waiting.bytes, 0)
})

t.test('a user who has little goes ahead of one who has much', async t => {
  const waiting = fill([...times(20, () => append('greedy', 60_000)), append('quiet', 300), append('quiet', 300)])
  t.equal(waiting.lightBytes, 600)
  t.strictSame(usersOf(waiting.take(100_000)), ['quiet', 'quiet', 'greedy'])
})

t.test('those who have much take turns by bytes, whatever one append has', async t => {
  const waiting = fill([
    ...times(100, () => append('long', 60_000)), ...times(600, () => append('short', 10_000)),
    ...times(30, () => append('huge', 200_000)),
  ])
  const taken: Append[] = []
  for (let i = 0; i < 30; i++) taken.push(...waiting.take(131_072))
  const shares = ['long', 'short', 'huge'].map(user => bytesOf(taken.filter(one => usersOf([one])[0] === user)))
  t.ok(Math.max(...shares) - Math.min(...shares) <= 300_000, shares.join())
})

t.test('those who have little leave half of the room to the others', async t => {
  const waiting = fill([
    ...times(20, () => append('greedy', 20_000)), ...times(100, i => append(`quiet-${i}`, lightBytesMax)),
  ])
  const taken = waiting.take(131_072)
  t.equal(usersOf(taken).filter(user => user === 'greedy').length, 3)
  t.ok(bytesOf(taken) <= 131_072)
})

t.test('takes nothing of those whose turn it is not', async t => {
  const waiting = fill([...times(3, () => append('greedy', 60_000)), append('quiet', 300)])
  t.strictSame(usersOf(waiting.take(100_000, false)), ['quiet'])
  t.equal(waiting.headBytes, 60_000)
  t.equal(waiting.lightBytes, 0)
})

t.test('takes one append that is more than the room', async t => {
  t.strictSame(bytesOf(fill(times(3, () => append('greedy', 300_000))).take(1_000)), 300_000)
})

t.test('what we tell of several users goes first, and nothing about them overtakes it', async t => {
  const waiting = fill([
    ...times(3, () => append('a', 60_000)), ...times(2, () => append(['a', 'b'], 20_000, { own: true })),
    append('b', 100, { own: true }),
  ])
  t.strictSame(usersOf(waiting.take(30_000)), ['a+b'])
  t.strictSame(usersOf(waiting.take(30_000)), ['a+b', 'b', 'a'])
})

t.test('what is derived keeps its order', async t => {
  const derived = times(10, i => append(i % 2 ? 'a' : ['a', 'b'], i === 0 ? 100_000 : 100, { own: true, derivedFrom: i }))
  const waiting = fill(derived)
  const taken: Append[] = []
  while (waiting.bytes > 0) taken.push(...waiting.take(1_000))
  t.strictSame(taken.map(({ derivedFrom }) => derivedFrom), derived.map(({ derivedFrom }) => derivedFrom))
})

t.test('gives back each append once, and those of one user in their order', async t => {
  const appends = fc.array(fc.record({
    user: fc.constantFrom('a', 'b', 'c', 'd'), bytes: fc.constantFrom(10, 500, 5_000, 20_000, 90_000, 300_000),
  }), { maxLength: 60 })
  const steps = fc.array(fc.record({ appends, bytesMax: fc.integer({ min: 100, max: 400_000 }), isTurn: fc.boolean() }))
  fc.assert(fc.property(steps, steps => {
    const waiting = queue()
    const [given, taken]: [Append[], Append[]] = [[], []]
    const take = (bytesMax: number, isTurn: boolean) => {
      const before = waiting.bytes
      const these = waiting.take(bytesMax, isTurn)
      if (before > 0 && isTurn && these.length === 0) throw new Error('took nothing')
      if (waiting.bytes !== before - bytesOf(these)) throw new Error('counts wrong')
      taken.push(...these)
    }
    for (const { appends, bytesMax, isTurn } of steps) {
      for (const { user, bytes } of appends) {
        const one = append(user, bytes)
        given.push(one)
        waiting.push(one)
      }
      take(bytesMax, isTurn)
    }
    while (waiting.bytes > 0) take(50_000, true)
    for (const user of ['a', 'b', 'c', 'd']) {
      const of = (appends: Append[]) => appends.filter(one => usersOf([one])[0] === user)
      const [was, is] = [of(given), of(taken)]
      if (was.length !== is.length || was.some((one, i) => one !== is[i])) throw new Error(`order of ${user}`)
    }
    return waiting.lightBytes === 0 && waiting.headBytes === 0
  }))
})
