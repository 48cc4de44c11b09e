import t from 'tap'
import { lagEveryMs, Lags } from '../../gateway/console/lags.js'
import type { FollowerLag } from '../../gateway/lag.js'

const lag = (follower: string, stream: string, ms: number, unknown = ''): FollowerLag =>
  ({ follower, stream, ms, unknown, partitions: [], blocks: 0, gone: 0, standing: [] })

t.test('The lags of followers', async t => {
  t.test('are those of the last look, of each follower that of the stream that it is furthest behind', async t => {
    let looks = 0
    const lags = new Lags(async () => {
      looks++
      return [lag('users', 'ledger', 5), lag('readers crm', 'posts', 7), lag('readers crm', 'uplinks', 9), lag('nodes', 'nodes', 0, 'Kafka is away')]
    })
    t.strictSame(lags.latest(), new Map(), 'nobody waits for a look')
    await new Promise(setImmediate)
    t.strictSame(lags.latest(), new Map([['users', 5], ['readers crm', 9]]), 'of which one is not known, none is told')
    t.equal(looks, 1)
  })

  t.test('are none after a look that failed, and looked at again in time', async t => {
    let nowMs = 0
    let looks = 0
    const lags = new Lags(async () => {
      if (++looks === 1) return [lag('users', 'ledger', 5)]
      throw new Error('Kafka is away')
    }, () => nowMs)
    const settled = () => new Promise(setImmediate)
    lags.latest()
    await settled()
    nowMs = lagEveryMs - 1
    t.equal(lags.latest().size, 1)
    nowMs = lagEveryMs
    lags.latest()
    await settled()
    t.strictSame([looks, lags.latest()], [2, new Map()])
  })
})
