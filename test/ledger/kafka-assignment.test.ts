import t from 'tap'
import fc from 'fast-check'
import { assign, type Claim } from '../../ledger/kafka/assignment.js'

function claim (memberId: string, partitions: readonly number[] = [], generation = 1): Claim {
  return { memberId, partitions, generation }
}

function given (claims: readonly Claim[], count: number) {
  const { partitions, complete } = assign(claims, count)
  return { ...Object.fromEntries(partitions), complete }
}

t.test('the assignment of a group', async t => {
  await t.test('gives a single member everything at once', async t => {
    t.strictSame(given([claim('a')], 3), { a: [0, 1, 2], complete: true })
  })

  await t.test('withholds what has to move until its member has given it back', async t => {
    t.strictSame(given([claim('a', [0, 1, 2, 3]), claim('b')], 4), { a: [0, 1], b: [], complete: false })
    t.strictSame(given([claim('a', [0, 1]), claim('b')], 4), { a: [0, 1], b: [2, 3], complete: true })
  })

  await t.test('moves nothing while it is balanced', async t => {
    t.strictSame(given([claim('b', [0, 3]), claim('a', [1, 2, 4])], 5), { a: [1, 2, 4], b: [0, 3], complete: true })
  })

  await t.test('gives those of a member that is gone to the others', async t => {
    t.strictSame(given([claim('a', [0, 1]), claim('b', [4, 5])], 6), { a: [0, 1, 2], b: [4, 5, 3], complete: true })
  })

  await t.test('believes the later of two claims', async t => {
    t.strictSame(given([claim('a', [0, 1], 3), claim('b', [0, 1], 2)], 2), { a: [0], b: [], complete: false })
  })

  await t.test('gives each partition to one member, within one of the others, in two rounds', async t => {
    const claims = fc.uniqueArray(fc.record({
      memberId: fc.string({ minLength: 1, maxLength: 3 }),
      partitions: fc.uniqueArray(fc.nat(20)),
      generation: fc.nat(3),
    }), { minLength: 1, maxLength: 6, selector: ({ memberId }) => memberId })
    fc.assert(fc.property(claims, fc.integer({ min: 1, max: 16 }), (claims, count) => {
      const first = assign(claims, count)
      const all = [...first.partitions.values()].flat()
      t.equal(new Set(all).size, all.length)
      for (const { memberId, partitions } of claims) {
        for (const partition of first.partitions.get(memberId)!) {
          // Whoever gets it has it already, or nobody has.
          t.ok(partitions.includes(partition) || !claims.some(other => other.partitions.includes(partition)))
        }
      }
      const second = assign([...first.partitions].map(([memberId, partitions]) => claim(memberId, partitions)), count)
      const sizes = [...second.partitions.values()].map(({ length }) => length)
      t.equal(second.complete, true)
      t.equal(new Set([...second.partitions.values()].flat()).size, count)
      t.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
    }), { numRuns: 100 })
  })
})
