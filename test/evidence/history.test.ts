import t from 'tap'
import type { LogReader } from '../../ledger/log.js'
import type { ConnectionEnded } from '../../schemas/records.js'
import { connections } from '../../schemas/streams.js'
import { connectionHistory } from '../../evidence/history/streams.js'
import { type HistoryFilter, historyOf, historyRanges, repeatsKnownMax } from '../../evidence/history.js'
import { MemoryLog } from '../projections/memory-log.js'
import { ended, historyLog, noon } from './connection-rows.js'

const minute = 60_000

t.test('the history of a range', async t => {
  t.test('has those that closed in it, also where they came into the stream late', async t => {
    const { log, clock, append } = await historyLog(t, t.testdir())
    const at = (minutes: number) => ({ closedAtMs: noon + minutes * minute })
    clock.nowMs = noon + 9 * minute
    await append([ended('ann', 'before', at(9)), ended('ann', 'fast clock', at(10))])
    clock.nowMs = noon + 15 * minute
    await append([ended('ann', 'within', at(15)), ended('bob', 'other', at(16))])
    clock.nowMs = noon + 50 * minute
    await append([ended('ann', 'late', at(19)), ended('ann', 'behind', at(20))])
    t.strictSame(
      await idsOf(log, { sinceMs: noon + 10 * minute, untilMs: noon + 20 * minute }),
      ['fast clock', 'late', 'other', 'within'])
    t.strictSame(
      await idsOf(log, { sinceMs: noon + 10 * minute, untilMs: noon + 20 * minute, userId: 'bob' }), ['other'])
    t.strictSame((await idsOf(log, {})).length, 6)
    await append([ended('ann', 'slow', { ...at(21), code: 'slow-consumer' })])
    t.strictSame(await idsOf(log, { code: 'slow-consumer' }), ['slow'])
  })

  t.test('has a connection once, also where its repeat stands in the next range', async t => {
    const log = new MemoryLog<ConnectionEnded>()
    log.add([ended('ann', 'c1'), ended('ann', 'c2')])
    log.add([ended('ann', 'c1'), ended('ann', 'c3')])
    log.add([ended('ann', 'c3'), ended('ann', 'c4')])
    const blocks = await blocksOf(log, { partition: 0, from: 0n, to: 3n })
    t.strictSame(blocks.map(({ rows }) => rows.map(({ connectionId }) => connectionId)), [['c1', 'c2'], ['c3'], ['c4']])
    t.strictSame(blocks.map(({ repeats }) => repeats), [0, 1, 1])
    const [last] = await blocksOf(log, { partition: 0, from: 2n, to: 3n })
    t.strictSame(last!.rows.map(({ connectionId }) => connectionId), ['c4'])
  })

  t.test('knows so many back, and no more', async t => {
    const log = new MemoryLog<ConnectionEnded>()
    for (let n = 0; n <= repeatsKnownMax; n++) log.add([ended('ann', `c${n}`)])
    log.add([ended('ann', 'c1')])
    log.add([ended('ann', 'c0')])
    const blocks = await blocksOf(log, { partition: 0, from: 0n, to: BigInt(repeatsKnownMax + 3) })
    t.strictSame(blocks.slice(-2).map(({ repeats }) => repeats), [1, 0])
  })
})

async function blocksOf (log: LogReader, range: { partition: number, from: bigint, to: bigint }) {
  const blocks = []
  for await (const block of historyOf(log, connectionHistory, range, {})) blocks.push(block)
  return blocks
}

async function idsOf (log: LogReader, filter: HistoryFilter): Promise<string[]> {
  t.ok(log.partitions(connections) > 1)
  const ids: string[] = []
  for (const range of await historyRanges(log, connectionHistory, filter)) {
    for await (const { rows } of historyOf(log, connectionHistory, range, filter)) {
      ids.push(...rows.map(({ connectionId }) => connectionId))
    }
  }
  return ids.sort()
}
