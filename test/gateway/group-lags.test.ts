import t from 'tap'
import { GroupLags } from '../../gateway/groups/group-lags.js'
import type { EventLog } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { until } from './node.js'

const log = {
  partitions: () => 2,
  bounds: async () => ({ first: 0n, next: 5n }),
  async * read () { yield { items: [{ atMs: Date.now() - 1_000 }] } },
} as unknown as EventLog

t.test('How far groups are behind', async t => {
  t.test('is told of those of which it is known, and of no other as if they were behind by nothing', async t => {
    const names = ['dead', 'fine', 'odd'].map(group => ({ app: '', group, stream: 'uplinks' }))
    const lags = new GroupLags(log, {
      names: async () => names,
      async placesOf ({ group }) {
        if (group === 'dead') throw new GatewayError('ledger-unavailable', 'Kafka has no coordinator for it')
        if (group === 'odd') throw new Error('what it has committed is no place')
        return new Map([[0, { next: 5n, index: 0 }], [1, { next: 2n, index: 0 }]])
      },
    })
    await until('it was looked up', () => lags.latest().length > 0)
    t.match(lags.latest(), [{ app: '', group: 'fine', stream: 'uplinks', blocks: 3 }])
    t.equal(lags.latest().length, 1)
  })
})
