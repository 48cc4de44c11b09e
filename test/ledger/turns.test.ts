import t from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { commitBytesMax, deal, type Waiting } from '../../ledger/embedded/turns.js'
import { note, noteStream } from './log-contract.js'

/** Appends of so many bytes each, in a queue. */
class Queue implements Waiting {
  passedOver = 0
  lightBytes = 0
  tellApart () {}
  constructor (readonly name: string, readonly appends: number[]) {}
  get headBytes () { return this.appends[0] ?? 0 }
  get queuedBytes () { return this.appends.reduce((sum, bytes) => sum + bytes, this.lightBytes) }

  /** As a partition does: up to `bytesMax` and a block, and at least one. */
  take (bytesMax: number, isTurn: boolean): number {
    let taken = this.lightBytes
    this.lightBytes = 0
    if (!isTurn) return taken
    while (this.appends.length > 0 && (taken === 0 || taken + this.headBytes <= Math.min(bytesMax, 1 << 20))) {
      taken += this.appends.shift()!
    }
    return taken
  }
}

function times (count: number, bytes: number): number[] { return new Array<number>(count).fill(bytes) }

/** One commit: what it has of each. */
function commit (waiting: Queue[]): { left: Queue[], taken: Record<string, number> } {
  const taken: Record<string, number> = {}
  const left = deal(waiting, (queue, bytesMax, isTurn) => { taken[queue.name] = queue.take(bytesMax, isTurn) })
  return { left, taken }
}

t.test('deal', async t => {
  await t.test('serves everybody while one commit has room for all', async t => {
    const queues = [new Queue('a', times(10, 1000)), new Queue('b', times(1, 500_000))]
    const { left, taken } = commit(queues)
    t.strictSame(taken, { a: 10_000, b: 500_000 })
    t.strictSame(left, [])
  })

  await t.test('cuts nothing in two that is a little more than a commit, of many who have little', async t => {
    const queues = Array.from({ length: 8 }, (_, i) => new Queue(`q${i}`, times(1000, 250)))
    t.strictSame(commit(queues).left, [])
  })

  await t.test('keeps a commit within its bytes, and takes something of each that is busy', async t => {
    const queues = Array.from({ length: 24 }, (_, i) => new Queue(`q${i}`, times(10_000, 1000)))
    const { left, taken } = commit(queues)
    const bytes = Object.values(taken)
    t.equal(bytes.length, 24)
    t.ok(Math.max(...bytes) - Math.min(...bytes) <= 1000, 'as much of one as of another')
    t.ok(bytes.reduce((sum, one) => sum + one) <= commitBytesMax)
    t.equal(left.length, 24)
  })

  await t.test('lets who has little wait for nobody', async t => {
    const busy = Array.from({ length: 9 }, (_, i) => new Queue(`busy${i}`, times(8, 1 << 20)))
    const { taken } = commit([...busy, new Queue('quiet', [10])])
    t.equal(taken.quiet, 10)
  })

  await t.test('gives what one leaves of its share to those who have more', async t => {
    const quiet = Array.from({ length: 99 }, (_, i) => new Queue(`q${i}`, [10]))
    const { taken } = commit([new Queue('busy', times(100_000, 100)), ...quiet])
    t.ok(taken.busy! > 1_000_000, `${taken.busy}`)
  })

  await t.test('takes what is light of one whose turn it is not', async t => {
    const queues = Array.from({ length: 4 }, (_, i) => new Queue(`q${i}`, times(4, 1 << 20)))
    queues[3]!.lightBytes = 10
    const { left, taken } = commit(queues)
    t.strictSame(Object.values(taken).sort((a, b) => b - a), [1 << 20, 10])
    t.equal(left.length, 4)
  })

  await t.test('passes nobody over more than twice, however large what it has', async t => {
    let waiting = Array.from({ length: 30 }, (_, i) => new Queue(`q${i}`, times(20, 1 << 20)))
    const waits = new Map<string, number>()
    for (let i = 0; i < 60; i++) {
      const { left, taken } = commit(waiting)
      for (const { name } of waiting) waits.set(name, name in taken ? 0 : (waits.get(name) ?? 0) + 1)
      t.ok(Math.max(...waits.values()) <= 2)
      waiting = left
    }
  })
})

t.test('an append to a quiet partition, or to another stream, beside five busy partitions', async t => {
  const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const log = embeddedLog(store, { partitions: 8 })
  const [busy, other] = [noteStream(), noteStream()]
  const long = 'x'.repeat(100_000)
  const stopped = new AbortController()
  let failed = 0
  // Each keeps 2 MB waiting, whatever the commits take.
  const loads = Array.from({ length: 5 * 20 }, async (_, i) => {
    while (!stopped.signal.aborted) await log.append(busy, i % 5, [note(long)]).catch(() => { failed++ })
  })
  const commits: number[] = []
  for (let i = 0; i < 60; i++) {
    const before = store.metrics.commits
    await (i % 2 === 0 ? log.append(busy, 5, [note('ten bytes.')]) : log.append(other, 0, [note('ten bytes.')]))
    commits.push(store.metrics.commits - before)
  }
  stopped.abort()
  await Promise.all(loads)
  t.ok(Math.max(...commits) <= 3, `goes with the commit after the one under way: ${commits.join()}`)
  t.equal(failed, 0)
})

t.test('a small append beside a user of the same partition who sends much, and beside many of them', async t => {
  const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const log = embeddedLog(store, { partitions: 8 })
  const stream = noteStream()
  const long = 'x'.repeat(100_000)
  const stopped = new AbortController()
  const loads = Array.from({ length: 8 * 10 }, async (_, i) => {
    while (!stopped.signal.aborted) await log.append(stream, i % 8, [note(long)], { source: `greedy-${i >> 4}` })
  })
  const commits: number[] = []
  for (let i = 0; i < 40; i++) {
    const before = store.metrics.commits
    await log.append(stream, i % 8, [note('ten bytes.')], { source: 'quiet' })
    commits.push(store.metrics.commits - before)
  }
  stopped.abort()
  await Promise.all(loads)
  t.ok(Math.max(...commits) <= 2, `goes with the commit after the one under way: ${commits.join()}`)
})

t.test('a busy partition leaves room for the appends of others, and waits for itself', async t => {
  const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const log = embeddedLog(store, { partitions: 8, pendingBytesMax: 1 << 20 })
  const stream = noteStream()
  const hot = Promise.allSettled(Array.from({ length: 200 }, () => log.append(stream, 0, [note('x'.repeat(10_000))])))
  const normal = Array.from({ length: 28 }, (_, i) => log.append(stream, 1 + i % 7, [note('x'.repeat(1000))]))
  t.strictSame(new Set((await Promise.allSettled(normal)).map(({ status }) => status)), new Set(['fulfilled']))
  const outcomes = await hot
  t.ok(outcomes.some(({ status }) => status === 'fulfilled') && outcomes.some(({ status }) => status === 'rejected'))
})
