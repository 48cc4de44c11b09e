import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { EventLog, ReadRange } from '../../ledger/log.js'
import { History } from '../../projections/history.js'
import { type Ending, ledgerCounts } from '../../projections/ledger-counts.js'
import { unknownCounts } from '../../schemas/counts.js'
import type { Entry } from '../../schemas/facts.js'
import type { Stream } from '../../schemas/streams.js'
import { until } from '../ledger/log-contract.js'
import { closed, opened, uplink } from './given.js'
import { MemoryLog } from './memory-log.js'
import { MemoryTables } from './memory-tables.js'

const unasked = {
  partitions: () => 1,
  bounds (): never { throw new Error('not asked') },
  offsetAt (): never { throw new Error('not asked') },
}

t.test('The ledger is read back for connections whose node was lost', async t => {
  t.test('each block once, and no more of it than their users\' entries', async t => {
    const heard = new MemoryLog<Entry>()
    const blocks = 3_000
    for (let i = 0; i < blocks; i++) heard.add([i === 10 ? opened('ann', 'c1') : uplink('bob', 'c2', i)])
    heard.add([uplink('ann', 'c1', 1), lost('ann', 'c1')])
    const ranges: ReadRange[] = []
    const read = <T>(stream: Stream<T>, partition: number, range: ReadRange) => {
      ranges.push(range)
      return heard.read(stream, partition, range)
    }
    const endings = new Map<string, Ending>([['c1', { userId: 'ann', offset: BigInt(blocks) }]])
    const counts = await ledgerCounts({ ...unasked, read }, 0, endings)
    t.match(counts.get('c1'), { uplinks: 1 })
    ranges.reverse()
    t.equal(ranges[0]!.from, 0n)
    t.equal(ranges.at(-1)!.to, BigInt(blocks) + 1n)
    t.strictSame(ranges.slice(1).map(({ from }) => from), ranges.slice(0, -1).map(({ to }) => to), 'each ends where the next begins')
    for (const { keys } of ranges) t.strictSame(keys, new Set(['ann']))
  })

  t.test('of a few partitions at a time', async t => {
    const partitions = 32
    const heard = new MemoryLog<Entry>({ partitions })
    let reading = 0
    let most = 0
    const records: unknown[] = []
    const log: EventLog = {
      ...unasked,
      partitions: () => partitions,
      follow: heard.follow.bind(heard),
      async * read (stream, partition, range) {
        most = Math.max(most, ++reading)
        await turn()
        yield * heard.read(stream, partition, range)
        reading--
      },
      async append (_stream, partition, items) {
        records.push(...items)
        return { partition, offset: 0n, index: 0 }
      },
      derivedFrom: async () => -1n,
      health: () => ({ ok: true, reason: '' }),
      async close () {},
    }
    const fails = ({ error }: { readonly error: unknown }) => { throw error }
    const history = await History.start({
      log,
      tables: new MemoryTables(),
      onPoison: fails,
      onFailed: fails,
      setAside: (_record, _partition, error) => { throw error },
    })
    t.teardown(() => history.stop())
    for (let i = 0; i < partitions; i++) heard.add([opened(`user-${i}`, `c${i}`), lost(`user-${i}`, `c${i}`)], i)
    await heard.pump()
    await until(() => records.length === partitions)
    t.match(records, Array.from({ length: partitions }, () => ({ code: 'node-lost', uplinks: 0 })))
    t.ok(most <= 4, `${most} at once`)
  })
})

function lost (userId: string, connectionId: string): Entry {
  return closed(userId, connectionId, { code: 'node-lost', told: false, ...unknownCounts })
}
