import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { embeddedLog, type EmbeddedLogOptions } from '../../ledger/embedded/log.js'
import { RetentionClock } from '../../ledger/embedded/retention-clock.js'
import type { Hole } from '../../ledger/log.js'
import { rejectedRecord, rejectedStream } from '../../ledger/rejected.js'
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

  await t.test('deletes the oldest blocks of a stream that holds too much, where it holds most', async t => {
    const stream = noteStream()
    const { log } = await openedLog(t, t.testdir(), { streams: { [stream.name]: { retentionBytes: 20_000 } } })
    const long = 'x'.repeat(1000)
    for (let i = 0; i < 3; i++) await log.append(stream, 1, [note(`${i} ${long}`)])
    for (let i = 0; i < 30; i++) await log.append(stream, 0, [note(`${i} ${long}`)])
    await log.sweep()
    const kept = (await collect(log.read(stream, 0, { from: 0n }))).map(text => Number.parseInt(text))
    t.strictSame(kept, Array.from({ length: kept.length }, (_, i) => 30 - kept.length + i))
    t.ok(kept.length >= 14 && kept.length <= 17, `${kept.length} blocks of 1 KB and the 3 others are 20 KB`)
    t.equal((await collect(log.read(stream, 1, { from: 0n }))).length, 3, 'a quiet partition loses nothing to a busy one')
  })

  await t.test('does so without waiting for the next look at ages', async t => {
    const both = [noteStream(), noteStream()]
    const streams = Object.fromEntries(both.map(({ name }) => [name, { retentionBytes: 2 << 20 }]))
    const { log } = await openedLog(t, t.testdir(), { streams, sweepMs: 3_600_000 })
    for (let i = 0; i < 60; i++) {
      await Promise.all(both.map(stream => log.append(stream, 0, [note('x'.repeat(1 << 19))])))
    }
    for (const stream of both) { // each, though all of them have too much again all the time
      for (let kept = 60n; kept > 14n; await sleep(5)) {
        const { first, next } = await log.bounds(stream, 0)
        kept = next - first
      }
    }
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

t.test('who reads while blocks are being deleted is told of each that he does not get', async t => {
  const [read, followed] = [noteStream(), noteStream()]
  let keptFrom = 0n
  const failures: string[] = []
  const retention = { retentionMs: -1, keepFrom: () => keptFrom }
  const { log } = await openedLog(t, t.testdir(), {
    sweepMs: 3_600_000,
    streams: { [read.name]: retention, [followed.name]: retention },
    onFollowerError: err => { failures.push((err as Error).message) },
  })
  const long = 'x'.repeat(5_000) // in all more than is kept in memory
  for (let i = 0; i < 300; i++) {
    await Promise.all([read, followed].map(stream => log.append(stream, 0, [note(`${i} ${long}`)])))
  }
  const seen: bigint[] = []
  await log.follow(followed, 'slow', {
    assigned: async () => 1n,
    async received ({ offset }) {
      seen.push(offset)
      await turn()
    },
    revoked: async () => {},
  })
  keptFrom = 290n
  const sweeping = log.sweep()
  const told: Array<{ from: bigint, to: bigint }> = []
  const passed = (hole: Hole) => { told.push(hole) }
  for await (const { offset } of log.read(read, 0, { from: 0n, passed })) {
    told.push({ from: offset, to: offset + 1n })
    await turn()
  }
  await sweeping
  t.ok(told.length < 300, 'some were deleted before they were read')
  t.strictSame(told.map(({ from }) => from), [0n, ...told.slice(0, -1).map(({ to }) => to)])
  t.equal(told.at(-1)!.to, 300n)
  await until(() => seen.at(-1) === 299n)
  const holes = seen.flatMap((offset, i) => {
    const wanted = i > 0 ? seen[i - 1]! + 1n : 1n
    return offset > wanted ? [`${wanted} to ${offset - 1n}`] : []
  })
  t.strictSame(failures, holes.map(hole => `the blocks from ${hole} were deleted before they were taken`))
})

t.test('a group that retention passes is told of as a failure, and goes on behind the hole', async t => {
  const stream = noteStream()
  let keptFrom = 0n
  const failures: Array<{ message: string, offset: bigint | undefined }> = []
  const { log } = await openedLog(t, t.testdir(), {
    sweepMs: 3_600_000,
    streams: { [stream.name]: { retentionMs: -1, keepFrom: () => keptFrom } },
    onFollowerError: (err, { offset }) => { failures.push({ message: (err as Error).message, offset }) },
  })
  const long = 'x'.repeat(100_000) // more than is kept in memory for followers
  for (let i = 0; i < 4; i++) await log.append(stream, 0, [note(`${i}${long}`)])
  const seen: bigint[] = []
  let goOn = () => {}
  const first = new Promise<void>(resolve => { goOn = resolve })
  const holes: Array<Hole & { readonly before: number }> = []
  await log.follow(stream, 'slow', {
    assigned: async () => 1n,
    passed: (_partition, hole) => { holes.push({ ...hole, before: seen.length }) },
    received: ({ offset }) => {
      seen.push(offset)
      return offset === 1n ? first : undefined
    },
    revoked: async () => {},
  })
  for (let i = 4; i < 12; i++) await log.append(stream, 0, [note(`${i}${long}`)])
  keptFrom = 6n
  await log.sweep()
  t.strictSame(failures, [])
  goOn()
  await until(() => seen.at(-1) === 11n)
  t.strictSame(seen, [1n, 6n, 7n, 8n, 9n, 10n, 11n])
  t.strictSame(failures, [{ message: 'the blocks from 2 to 5 were deleted before they were taken', offset: 6n }])
  t.strictSame(holes, [{ from: 2n, to: 6n, before: 1 }], 'in its place')
})

t.test('retention among clocks that lie', async t => {
  const dayMs = 86_400_000
  const startMs = Date.UTC(2026, 5, 1)
  /** A clock, and one that is never set. */
  function clocks () {
    let wallMs = startMs
    let steadyMs = 0
    return {
      now: () => wallMs,
      steady: () => steadyMs,
      pass (ms: number) { wallMs += ms; steadyMs += ms },
      set (ms: number) { wallMs = ms },
    }
  }
  /** Thirty days of ten blocks, each with its time; `lie` sets the clock for single ones. */
  async function thirtyDays (t: Test, lie: (index: number) => number | undefined) {
    const stream = noteStream()
    const clock = clocks()
    const streams = { [stream.name]: { retentionMs: 7 * dayMs } }
    const { log } = await openedLog(t, t.testdir(), { ...clock, streams, sweepMs: 3_600_000 })
    for (let i = 0; i < 300; i++) {
      const honestMs = clock.now()
      const lieMs = lie(i)
      if (lieMs !== undefined) clock.set(lieMs)
      await log.append(stream, 0, [note(`${i}`)])
      clock.set(honestMs)
      clock.pass(dayMs / 10)
    }
    const kept = async () => (await collect(log.read(stream, 0, { from: 0n }))).map(Number)
    return { log, stream, clock, kept }
  }
  const yearAhead = startMs + 365 * dayMs

  await t.test('goes on past a block that is dated a year ahead', async t => {
    const { log, kept } = await thirtyDays(t, i => i === 100 ? yearAhead : undefined)
    await log.sweep()
    t.strictSame(await kept(), Array.from({ length: 70 }, (_, i) => 230 + i))
  })

  await t.test('goes on past days of them', async t => {
    const { log, kept } = await thirtyDays(t, i => i >= 10 && i < 200 ? yearAhead + i : undefined)
    await log.sweep()
    t.strictSame(await kept(), Array.from({ length: 70 }, (_, i) => 230 + i))
  })

  await t.test('keeps a young block that is dated long ago', async t => {
    const { log, kept } = await thirtyDays(t, i => i === 229 || i === 230 ? 1_000 : i === 231 ? startMs : undefined)
    await log.sweep()
    t.strictSame(await kept(), Array.from({ length: 71 }, (_, i) => 229 + i), 'until one after it is too old')
  })

  await t.test('deletes nothing because the clock is a year ahead for a while', async t => {
    const { log, clock, kept } = await thirtyDays(t, () => undefined)
    await log.sweep()
    const before = await kept()
    const honestMs = clock.now()
    clock.set(honestMs + 365 * dayMs)
    await log.sweep()
    t.strictSame(await kept(), before)
    clock.set(honestMs)
    clock.pass(dayMs)
    await log.sweep()
    t.equal((await kept()).length, before.length - 10, 'and goes on when it is right again')
    clock.set(honestMs + 100 * dayMs)
    await log.sweep()
    clock.pass(1.1 * dayMs)
    await log.sweep()
    t.equal((await kept()).length, 1, 'a clock that stays ahead is believed after a day')
  })

  await t.test('keeps up on a host that sleeps every night', async t => {
    const clock = clocks()
    const retention = new RetentionClock(clock.now, clock.steady)
    retention.read()
    let behindMs = 0
    for (let day = 0; day < 60; day++) {
      for (let hour = 0; hour < 16; hour++) {
        clock.pass(dayMs / 24)
        behindMs = Math.max(behindMs, clock.now() - retention.read().earliestMs)
      }
      clock.set(clock.now() + dayMs / 3)
    }
    t.ok(behindMs < 2 * dayMs, `${behindMs / dayMs} days behind`)
    const rightMs = clock.now()
    clock.set(rightMs + 365 * dayMs)
    t.ok(retention.read().earliestMs < rightMs, 'and still takes no year that has not stood')
    clock.set(rightMs + 60_000)
    clock.pass(2 * dayMs)
    t.ok(retention.read().earliestMs <= clock.now())
  })

  await t.test('deletes nothing because the clock was a year ahead at the start', async t => {
    const directory = t.testdir()
    const stream = noteStream()
    const clock = clocks()
    const options = { ...clock, streams: { [stream.name]: { retentionMs: 7 * dayMs } }, sweepMs: 3_600_000 }
    const { log: before, store } = await openedLog(t, directory, options)
    for (let i = 0; i < 10; i++) {
      await before.append(stream, 0, [note(`${i}`)])
      clock.pass(dayMs)
    }
    await store.close()
    clock.set(clock.now() + 365 * dayMs)
    const { log } = await openedLog(t, directory, options)
    await log.append(stream, 0, [note('ahead')])
    const kept = async () => (await collect(log.read(stream, 0, { from: 0n }))).map(Number)
    await log.sweep()
    t.strictSame(await kept().then(notes => notes.slice(0, -1)), [3, 4, 5, 6, 7, 8, 9])
    clock.pass(0.9 * dayMs)
    await log.sweep()
    t.ok((await kept()).length > 5)
    clock.pass(0.2 * dayMs)
    await log.sweep()
    t.equal((await kept()).length, 1, 'a clock that stays ahead is believed after a day')
  })

  await t.test('deletes nothing because the newest blocks are of a clock that was a year ahead', async t => {
    const directory = t.testdir()
    const stream = noteStream()
    const clock = clocks()
    const options = { ...clock, streams: { [stream.name]: { retentionMs: 7 * dayMs } }, sweepMs: 3_600_000 }
    const { log: before, store } = await openedLog(t, directory, options)
    for (let i = 0; i < 10; i++) {
      await before.append(stream, 0, [note(`${i}`)])
      clock.pass(dayMs)
    }
    clock.set(clock.now() + 365 * dayMs)
    await before.append(stream, 0, [note('ahead')])
    await before.append(stream, 1, [note('ahead, and nothing before')])
    await store.close()
    const kept = async (log: typeof before) =>
      (await collect(log.read(stream, 0, { from: 0n }))).map(Number).slice(0, -1)

    const { log, store: second } = await openedLog(t, directory, options)
    await log.bounds(stream, 0)
    await log.sweep()
    t.strictSame(await kept(log), [3, 4, 5, 6, 7, 8, 9], 'as old as they are without the leap')
    await second.close()
    clock.set(clock.now() - 365 * dayMs)
    const { log: third } = await openedLog(t, directory, options)
    await third.append(stream, 0, [note('right')])
    for (let days = 0; days < 3; days++) {
      await third.sweep()
      clock.pass(dayMs)
    }
    await third.sweep()
    t.strictSame((await kept(third)).slice(0, 3), [6, 7, 8], 'and goes on once the clock is right')
  })

  await t.test('deletes nothing because the clock leaps a year ahead before the first look', async t => {
    const stream = noteStream()
    const clock = clocks()
    const streams = { [stream.name]: { retentionMs: 7 * dayMs } }
    const { log } = await openedLog(t, t.testdir(), { ...clock, streams, sweepMs: 3_600_000 })
    await log.append(stream, 0, [note('right')])
    clock.set(startMs + 365 * dayMs)
    for (const text of ['ahead', 'and ahead']) await log.append(stream, 0, [note(text)])
    await log.sweep()
    t.equal((await log.bounds(stream, 0)).first, 0n)
  })

  await t.test('deletes nothing because the clock is set back behind young blocks, and others are dated long ago', async t => {
    const directory = t.testdir()
    const stream = noteStream()
    const clock = clocks()
    const options = { ...clock, streams: { [stream.name]: { retentionMs: 7 * dayMs } }, sweepMs: 3_600_000 }
    const { log: before, store } = await openedLog(t, directory, options)
    await before.append(stream, 0, [note('young')])
    clock.set(startMs - 365 * dayMs)
    await before.append(stream, 0, [note('of a clock that is behind')])
    clock.set(startMs)
    for (const text of ['young as well', 'and this']) await before.append(stream, 0, [note(text)])
    clock.set(startMs - 80 * 60_000)
    await before.sweep()
    t.equal((await before.bounds(stream, 0)).first, 0n, 'while the node runs')
    await store.close()
    const { log } = await openedLog(t, directory, options)
    await log.bounds(stream, 0)
    await log.sweep()
    t.equal((await log.bounds(stream, 0)).first, 0n, 'nor at its start')
    clock.set(startMs)
    clock.pass(9 * dayMs)
    await log.sweep()
    clock.pass(2 * dayMs)
    await log.sweep()
    t.equal((await log.bounds(stream, 0)).first, 3n, 'they go when they are old')
  })

  await t.test('does not mislead who looks for a time', async t => {
    const { log, stream } = await thirtyDays(t, i => [150, 200].includes(i) ? yearAhead : i === 75 ? 1_000 : undefined)
    for (let i = 0; i < 300; i += 10) {
      if (i !== 150 && i !== 200) t.equal(await log.offsetAt(stream, 0, startMs + i * dayMs / 10), BigInt(i))
    }
  })
})

t.test('what was set aside has a retention, also of a stream that nobody asks for any more', async t => {
  const directory = t.testdir()
  let nowMs = 1_000_000
  const rejected = rejectedStream(noteStream())
  const record = (text: string) => rejectedRecord(Buffer.from(text), '0@1', 'a test', nowMs)
  const first = await openedLog(t, directory, { now: () => nowMs })
  for (let i = 0; i < 5; i++) await first.log.append(rejected, 0, [record(`${i}`)])
  await first.store.close()
  nowMs += 10_000
  const second = await openedLog(t, directory, { now: () => nowMs, rejected: { retentionMs: 1_000 } })
  await second.log.sweep()
  t.strictSame(await second.log.bounds(rejected, 0), { first: 4n, next: 5n })
  await second.store.close()
  const { log } = await openedLog(t, directory, { now: () => nowMs, rejected: { retentionBytes: 5_000 } })
  for (let i = 0; i < 20; i++) await log.append(rejected, 0, [record('x'.repeat(1_000))])
  await log.sweep()
  const { first: kept, next } = await log.bounds(rejected, 0)
  t.ok(next - kept <= 5n, `${next - kept} blocks of 1 KB are at most 5 KB`)
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
    { code: 'partitions-differ', message: /got 4, want 3/ }, 'and another one is refused')
})

t.test('pendingBytesMax', async t => {
  const stream = noteStream()
  const { log } = await openedLog(t, t.testdir(), { pendingBytesMax: 1000 })
  const outcomes = await Promise.allSettled(notes(20).map(item => log.append(stream, 0, [item])))
  const refused = outcomes.filter(outcome => outcome.status === 'rejected')
  t.ok(refused.length > 10, 'refuses what passes it')
  t.match(refused[0], { reason: { code: 'ledger-unavailable', message: /want at most 750/ } })
  t.equal(log.metrics.pendingBytes, 0)
  await t.resolves(log.append(stream, 0, [note('later')]))
})
