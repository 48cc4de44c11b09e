import t, { type Test } from 'tap'
import { embeddedSnapshots } from '../../actors/snapshots-embedded.js'
import { openStore } from '../../ledger/embedded/store.js'

async function opened (t: Test, directory: string, commits: 'sync' | 'async' = 'sync') {
  const store = await openStore({ directory, commits, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  return { store, snapshots: embeddedSnapshots(store) }
}

function states (...entries: Array<[string, string]>): Map<string, Buffer> {
  return new Map(entries.map(([userId, text]) => [userId, Buffer.from(text)]))
}

for (const commits of ['sync', 'async'] as const) {
  t.test(`snapshots with ${commits} commits`, async t => {
    const directory = t.testdir()
    const first = await opened(t, directory, commits)
    const { snapshots } = first

    t.equal(await snapshots.checkpoint(3), 0n, 'begin at offset 0')
    t.equal(await snapshots.load(3, 'ada'), undefined, 'know no user at first')

    const saving = snapshots.save(3, 10n, states(['ada', 'a10'], ['bob', 'b10']))
    t.equal((await snapshots.load(3, 'ada'))?.toString(), 'a10', 'are loaded before they are durable')
    t.equal(await snapshots.checkpoint(3), 0n, 'which the checkpoint waits for')
    await saving
    t.equal(await snapshots.checkpoint(3), 10n)
    t.equal((await snapshots.load(3, 'bob'))?.toString(), 'b10')
    t.equal(await snapshots.load(4, 'bob'), undefined, 'are kept for each partition')

    await snapshots.save(3, 9n, states(['ada', 'a9']))
    t.equal((await snapshots.load(3, 'ada'))?.toString(), 'a10', 'never go back')
    t.equal(await snapshots.checkpoint(3), 10n)

    await Promise.all([
      snapshots.save(3, 12n, states(['ada', 'a12'])),
      snapshots.save(3, 11n, states(['ada', 'a11'])),
      snapshots.save(3, 13n, states(['bob', 'b13'])),
    ])
    t.equal((await snapshots.load(3, 'ada'))?.toString(), 'a12', 'not even among those that wait')
    await t.rejects(snapshots.save(3, 14n, states(['x'.repeat(1000), 'x'])), { name: 'RangeError' })
    await first.store.close()

    const again = await opened(t, directory, commits)
    t.equal(await again.snapshots.checkpoint(3), 13n, 'survive')
    t.equal((await again.snapshots.load(3, 'ada'))?.toString(), 'a12')
    t.equal((await again.snapshots.load(3, 'bob'))?.toString(), 'b13')
  })
}

for (const commits of ['sync', 'async'] as const) {
  t.test(`a save whose ${commits} commit fails is stored with the next one, before any later save`, async t => {
    const { store, snapshots } = await opened(t, t.testdir(), commits)
    let failures = 1
    store.register({
      write () { if (failures-- > 0) throw new Error('no space') },
      committed () {},
      failed () {},
    })
    const saves = [snapshots.save(0, 5n, states(['ada', 'a5'])), snapshots.save(0, 6n, states(['bob', 'b6']))]
    await Promise.all(saves)
    t.ok(failures <= 0)
    t.equal(store.metrics.commitsFailed, 1)
    t.equal((await snapshots.load(0, 'ada'))?.toString(), 'a5')
    t.equal(await snapshots.checkpoint(0), 6n)
  })
}
