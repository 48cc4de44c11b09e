import t, { type Test } from 'tap'
import { embeddedLog, type EmbeddedLogOptions } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { collect, collector, note, notes, noteStream, until } from './log-contract.js'

async function openedLog (t: Test, directory: string, options: EmbeddedLogOptions) {
  const store = await openStore({ directory, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  return { store, log: embeddedLog(store, { partitions: 2, ...options }) }
}

t.test('the index', async t => {
  const directory = t.testdir()
  const [busy, quiet] = [noteStream(), noteStream()]
  const first = await openedLog(t, directory, {})
  await first.log.append(quiet, 1, [note('q0')])
  for (const item of notes(300)) await first.log.append(busy, 0, [item])
  await first.log.append(quiet, 1, [note('q1')])
  await first.store.close()

  const second = await openedLog(t, directory, {})
  for (const item of notes(300, 'm')) await second.log.append(busy, 0, [item])
  await second.store.close()

  const { log } = await openedLog(t, directory, {})
  const texts = [...notes(300), ...notes(300, 'm')].map(({ text }) => text)
  t.strictSame(await collect(log.read(busy, 0, { from: 0n })), texts, 'finds every block after hundreds of commits')
  t.strictSame(await collect(log.read(busy, 0, { from: 200n, to: 203n })), ['n200', 'n201', 'n202'])
  t.strictSame(await collect(log.read(quiet, 1, { from: 0n })), ['q0', 'q1'], 'also of a stream nobody asked for meanwhile')
  t.strictSame(await log.bounds(quiet, 1), { first: 0n, next: 2n })
})

t.test('retention', async t => {
  await t.test('deletes whole blocks that are too old, but never the last one, and forgets no offset', async t => {
    const directory = t.testdir()
    const stream = noteStream()
    let nowMs = 1_000_000
    const options = { now: () => nowMs, streams: { [stream.name]: { retentionMs: 1000 } } }
    const first = await openedLog(t, directory, options)
    for (const item of notes(300)) await first.log.append(stream, 0, [item])
    nowMs += 900
    await first.log.append(stream, 0, [note('young')])
    nowMs += 200
    await first.log.sweep()
    t.strictSame(await first.log.bounds(stream, 0), { first: 300n, next: 301n })
    t.strictSame(await collect(first.log.read(stream, 0, { from: 0n })), ['young'], 'a reader begins at the first kept')
    const follower = collector()
    await first.log.follow(stream, 'late', follower)
    await until(() => follower.texts().length === 1)
    nowMs += 10_000
    await first.log.sweep()
    t.strictSame(await first.log.bounds(stream, 0), { first: 300n, next: 301n })
    await first.store.close()

    const { log } = await openedLog(t, directory, options)
    t.strictSame(await log.bounds(stream, 0), { first: 300n, next: 301n }, 'survives')
    t.equal((await log.append(stream, 0, [note('next')])).offset, 301n)
  })

  await t.test('deletes the oldest blocks of a stream that holds too much', async t => {
    const stream = noteStream()
    const { log } = await openedLog(t, t.testdir(), { streams: { [stream.name]: { retentionBytes: 20_000 } } })
    const long = 'x'.repeat(1000)
    for (let i = 0; i < 30; i++) await log.append(stream, 0, [note(`${i} ${long}`)])
    await log.sweep()
    const kept = (await collect(log.read(stream, 0, { from: 0n }))).map(text => Number.parseInt(text))
    t.strictSame(kept, Array.from({ length: kept.length }, (_, i) => 30 - kept.length + i))
    t.ok(kept.length >= 8 && kept.length <= 10, `${kept.length} blocks of 1 KB are half of 20 KB`)
  })

  await t.test('deletes nothing that is still needed', async t => {
    const stream = noteStream()
    let nowMs = 0
    const streams = { [stream.name]: { retentionMs: 1, keepFrom: () => 3n } }
    const { log } = await openedLog(t, t.testdir(), { now: () => nowMs, streams })
    for (const item of notes(10)) await log.append(stream, 0, [item])
    nowMs = 1000
    await log.sweep()
    t.strictSame(await log.bounds(stream, 0), { first: 3n, next: 10n })
  })
})

t.test('the number of partitions', async t => {
  const directory = t.testdir()
  const stream = noteStream()
  const first = await openedLog(t, directory, { streams: { [stream.name]: { partitions: 3 } } })
  await first.log.append(stream, 2, [note('a')])
  await first.store.close()
  const { log, store } = await openedLog(t, directory, { partitions: 16 })
  t.equal(log.partitions(stream), 3, 'is that of the creation, whatever the usual one is now')
  t.throws(() => embeddedLog(store, { streams: { [stream.name]: { partitions: 4 } } }),
    { code: 'partitions-differ', message: /got 4 partitions .* want 3/ }, 'and another one is refused')
})

t.test('pendingBytesMax', async t => {
  const stream = noteStream()
  const { log } = await openedLog(t, t.testdir(), { pendingBytesMax: 1000 })
  const outcomes = await Promise.allSettled(notes(20).map(item => log.append(stream, 0, [item])))
  const refused = outcomes.filter(outcome => outcome.status === 'rejected')
  t.equal(refused.length, 13, 'refuses what passes it')
  t.match(refused[0], { reason: { code: 'ledger-unavailable', message: /want at most 1000/ } })
  t.equal(log.metrics.pendingBytes, 0)
  await t.resolves(log.append(stream, 0, [note('later')]))
})
