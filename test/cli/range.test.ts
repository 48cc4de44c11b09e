import t from 'tap'
import { rangesOf, type RangeOptions } from '../../cli/range.js'
import type { LogReader } from '../../ledger/log.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { Stream } from '../../schemas/streams.js'

const stream = { name: 'notes' } as Stream<unknown>
const nowMs = Date.parse('2026-11-20T12:00:00Z')
/** Of `ann`, and the other one. */
const own = partitionOf('ann', 2)
const other = 1 - own
/** Blocks 100 to 199 of each of two partitions, one a minute, the last one now. */
const firstMs = nowMs - 99 * 60_000

const log = {
  partitions: () => 2,
  bounds: async () => ({ first: 100n, next: 200n }),
  offsetAt: async (_stream, _partition, atMs) =>
    BigInt(Math.min(200, Math.max(100, 100 + Math.ceil((atMs - firstMs) / 60_000)))),
} as Pick<LogReader, 'partitions' | 'bounds' | 'offsetAt'> as LogReader

async function ranges (options: RangeOptions) {
  return (await rangesOf(log, stream, options, nowMs)).map(({ partition, from, to }) => `${partition}@${from}-${to}`)
}

t.test('a range', async t => {
  const cases: Array<[string, RangeOptions, string[]]> = [
    ['is everything where nothing is said', {}, ['0@100-200', '1@100-200']],
    ['begins at the beginning', { since: 'beginning' }, ['0@100-200', '1@100-200']],
    ['begins so long ago', { since: '10m' }, ['0@189-200', '1@189-200']],
    ['begins at a time', { since: '2026-11-20T11:50:00Z' }, ['0@189-200', '1@189-200']],
    ['takes a time without a zone for UTC', { since: '2026-11-20T11:50' }, ['0@189-200', '1@189-200']],
    ['takes a time with a zone', { since: '2026-11-20T12:50+01:00' }, ['0@189-200', '1@189-200']],
    ['takes a day', { since: '2026-11-20' }, ['0@100-200', '1@100-200']],
    ['ends before a time', { until: '2026-11-20T11:50' }, ['0@100-189', '1@100-189']],
    ['is between two times', { since: '1h', until: '30m' }, ['0@139-169', '1@139-169']],
    ['begins so many blocks before each end', { since: '-10' }, ['0@190-200', '1@190-200']],
    ['begins no earlier than what is kept', { since: '-1000' }, ['0@100-200', '1@100-200']],
    ['of a position is of its partition alone', { since: '1@150' }, ['1@150-200']],
    ['begins with the block of an entry', { since: '1@150.4' }, ['1@150-200']],
    ['ends before the block of a position', { until: '1@150' }, ['1@100-150']],
    ['ends with the block of an entry that others come before', { until: '1@150.4' }, ['1@100-151']],
    ['is between two positions', { since: '0@120', until: '0@130.0' }, ['0@120-130']],
    ['is of one partition', { partition: '1', since: '-10' }, ['1@190-200']],
    ['is of the partition of a user', { user: 'ann', since: '-10' }, [`${own}@190-200`]],
    ['is nothing where nothing is in it', { since: '1@200' }, []],
    ['is nothing where it ends before what is kept', { until: '1@50' }, []],
  ]
  for (const [title, options, wanted] of cases) {
    await t.test(`${title}: ${JSON.stringify(options)}`, async t => { t.strictSame(await ranges(options), wanted) })
  }

  const wrong: Array<[RangeOptions, RegExp]> = [
    [{ since: 'yesterday' }, /^--since: got "yesterday", want a time \(2h, .*"beginning", or -1000/],
    [{ until: '2026-13-41' }, /^--until: got "2026-13-41"/],
    [{ since: '3@x' }, /^--since: got "3@x"/],
    [{ since: '' }, /^--since: got ""/],
    [{ since: '0h' }, /^--since: got "0h"/],
    [{ since: '2099-01-01' }, /^--since: got "2099-01-01", which is in the future, want a time that has been/],
    [{ since: '10m', until: '1h' }, /--since 10m is not before --until 1h/],
    [{ since: '0@1', until: '1@9' }, /several partitions/],
    [{ since: '0@1', partition: '1' }, /several partitions/],
    [{ since: '0@5', until: '0@3' }, /--since 0@5 is not before --until 0@3/],
    [{ since: '2@1' }, /^--since: got partition 2, want 0 to 1$/],
    [{ partition: '2' }, /^--partition: got partition 2, want 0 to 1$/],
    [{ partition: 'x' }, /^--partition: got "x", want 0 to 1$/],
    [{ until: `${other}@1`, user: 'ann' }, new RegExp(`^--until: got partition ${other}, want ${own}, where everything of ann is$`)],
  ]
  for (const [options, message] of wrong) {
    await t.test(`is refused with exit code 2: ${JSON.stringify(options)}`, async t => {
      await t.rejects(ranges(options), { name: 'CommandFailed', exitCode: 2, message })
    })
  }
})
