import t, { type Test } from 'tap'
import { embeddedSnapshots } from '../../actors/snapshots-embedded.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore, type Writer } from '../../ledger/embedded/store.js'
import { embeddedTables } from '../../projections/tables/embedded.js'
import type { TableWrite } from '../../projections/tables/tables.js'
import { states as asChanges } from '../actors/snapshots-contract.js'
import { note, noteStream } from './log-contract.js'

async function opened (t: Test) {
  const store = await openStore({ directory: t.testdir() })
  t.teardown(() => store.close())
  const counts: number[] = []
  /** Registered last, so it sees what all others have put. */
  const counter: Writer = {
    derived: true,
    write (batch) { counts.push((batch as unknown as { writes: unknown[] }).writes.length / 2) },
    committed () {},
    failed () {},
  }
  return { store, counts, count: () => { store.register(counter) } }
}

t.test('a checkpoint and tables of many users', async t => {
  const { store, counts, count } = await opened(t)
  const log = embeddedLog(store)
  const snapshots = embeddedSnapshots(store)
  const tables = embeddedTables(store)
  count()
  const stream = noteStream()
  await log.append(stream, 0, [note('first')])
  const states = new Map(Array.from({ length: 500 }, (_, i) => [`user-${i}`, Buffer.alloc(250, i)]))
  const steps = Array.from({ length: 250 }, (_, i): TableWrite[] => [0, 1].map(j =>
    ({ type: 'put', key: `user-${i}`, field: `f${j}`, value: { i } })))
  counts.length = 0
  const derived = Promise.all([
    snapshots.save(0, 1n, asChanges(...states)),
    ...steps.map((writes, i) => tables.apply('routing', 0, writes, { next: BigInt(i + 1), atMs: 1 })),
  ])
  let appended = 0
  const done = new AbortController()
  derived.then(() => { done.abort() }, () => { done.abort() })
  while (!done.signal.aborted) {
    const before = store.metrics.commits
    await log.append(stream, 0, [note('x')])
    t.ok(store.metrics.commits - before <= 2, 'keep no append waiting')
    appended++
  }
  await derived
  t.ok(Math.max(...counts) <= 40, `go over many commits, a little with each: ${counts.slice(0, 20).join()}`)
  t.ok(appended > 20)
  t.equal(await snapshots.checkpoint(0), 1n)
  t.equal((await tables.get('routing', 0, 'user-249')).size, 2)
})

t.test('a checkpoint of an idle store goes at once, however many commits it takes', async t => {
  const { store, counts, count } = await opened(t)
  const snapshots = embeddedSnapshots(store)
  count()
  const states = new Map(Array.from({ length: 1000 }, (_, i) => [`user-${i}`, Buffer.alloc(250, i)]))
  await snapshots.save(0, 1n, asChanges(...states))
  t.ok(counts.length > 10 && Math.max(...counts) <= 80, counts.join())
  for (const [userId, state] of states) {
    t.ok(state.equals((await snapshots.load(0, userId, () => []))!.head), userId)
  }
})

t.test('a commit with much of the ledger takes as much of what is derived', async t => {
  const { store, counts, count } = await opened(t)
  const log = embeddedLog(store)
  const snapshots = embeddedSnapshots(store)
  count()
  const states = Array.from({ length: 300 }, (_, i) => [`user-${i}`, Buffer.alloc(250, i)] as [string, Buffer])
  const saved = snapshots.save(0, 1n, asChanges(...states))
  await log.append(noteStream(), 0, [note('x'.repeat(900_000))])
  t.ok(counts[0]! > 40, `${counts[0]}`)
  await saved
})
