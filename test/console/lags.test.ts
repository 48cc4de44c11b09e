import t from 'tap'
import { lagEveryMs, Lags } from '../../gateway/console/lags.js'
import type { FollowerLag } from '../../gateway/lag.js'

t.test('The lags of followers', async t => {
  t.test('are counted from the first look that found an end which the follower has not reached', async t => {
    const { look } = given()
    t.strictSame(await look([lag('users', 'ledger', [5, 5])]), { users: 0 })
    t.strictSame(await look([lag('users', 'ledger', [5, 9])]), { users: 0 }, 'since now, for all that is known')
    t.strictSame(await look([lag('users', 'ledger', [5, 12])]), { users: lagEveryMs })
    t.strictSame(await look([lag('users', 'ledger', [9, 14])]), { users: lagEveryMs }, 'it has what was there at first')
    t.strictSame(await look([lag('users', 'ledger', [14, 20])]), { users: 0 }, 'busy, and never late')
    t.strictSame(await look([lag('users', 'ledger', [20, 20])]), { users: 0 })
  })

  t.test('are those of the stream and the partition that it is furthest behind', async t => {
    const { look } = given()
    await look([lag('readers crm', 'posts', [1, 2], [1, 1]), lag('readers crm', 'uplinks', [7, 7])])
    t.strictSame(await look([lag('readers crm', 'posts', [1, 2], [1, 3]), lag('readers crm', 'uplinks', [7, 8])]), {
      'readers crm': lagEveryMs,
    })
  })

  t.test('are not told of whom something is not known, and none after a look that failed', async t => {
    const { look } = given()
    t.strictSame(await look([lag('users', 'ledger', [1, 2]), { ...lag('nodes', 'nodes', [1, 2]), unknown: 'Kafka is away' }]), {
      users: 0,
    })
    t.strictSame(await look(new Error('Kafka is away')), {})
    t.strictSame(await look([lag('users', 'ledger', [1, 2])]), { users: 2 * lagEveryMs }, 'what was known stays known')
  })

  t.test('of a follower that stands still cost memory for some ends only', async t => {
    const { look } = given()
    for (let end = 1; end <= 40; end++) await look([lag('users', 'ledger', [0, end])])
    t.strictSame(await look([lag('users', 'ledger', [0, 41])]), { users: 40 * lagEveryMs })
    t.strictSame(await look([lag('users', 'ledger', [16, 41])]), { users: 0 }, 'ends of the first 16 looks are known')
  })

  t.test('are looked at again in time, and nobody waits for a look', async t => {
    let nowMs = 0
    let looks = 0
    const lags = new Lags(async () => {
      looks++
      return [lag('users', 'ledger', [1, 1])]
    }, () => nowMs)
    t.strictSame(lags.latest(), new Map())
    await new Promise(setImmediate)
    nowMs = lagEveryMs - 1
    lags.latest()
    t.equal(looks, 1)
    nowMs = lagEveryMs
    lags.latest()
    t.equal(looks, 2)
  })
})

/** `look` is what is told of the answer that the source gives, one `lagEveryMs` after the look before. */
function given () {
  let nowMs = 0
  let answer: readonly FollowerLag[] | Error = []
  const lags = new Lags(async () => {
    if (answer instanceof Error) throw answer
    return answer
  }, () => nowMs)
  return {
    async look (next: typeof answer) {
      nowMs += lagEveryMs
      answer = next
      lags.latest()
      await new Promise(setImmediate)
      return Object.fromEntries(lags.latest())
    },
  }
}

type Place = readonly [position: number, end: number]

function lag (follower: string, stream: string, ...places: readonly Place[]): FollowerLag {
  const partitions = places.map(([position, end], partition) => ({
    partition, position: String(position), end: String(end), blocks: end - position, gone: 0, entries: null, ms: null,
  }))
  return { follower, stream, partitions, blocks: 0, gone: 0, ms: 0, unknown: '', standing: [] }
}
