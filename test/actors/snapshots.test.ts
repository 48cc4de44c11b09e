import t, { type Test } from 'tap'
import { embeddedSnapshots } from '../../actors/snapshots-embedded.js'
import type { Snapshots } from '../../actors/snapshots.js'
import { openStore, type Store } from '../../ledger/embedded/store.js'
import { snapshotsContract, states } from './snapshots-contract.js'

async function opened (t: Test, directory: string, commits: 'sync' | 'async' = 'sync') {
  const store = await openStore({ directory, commits, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  return { store, snapshots: embeddedSnapshots(store) }
}

for (const commits of ['sync', 'async'] as const) {
  const stores = new Map<Snapshots, { store: Store, directory: string }>()
  const at = async (t: Test, directory: string) => {
    const { store, snapshots } = await opened(t, directory, commits)
    stores.set(snapshots, { store, directory })
    return snapshots
  }
  snapshotsContract(t, `with ${commits} commits`, {
    open: t => at(t, t.testdir()),
    async reopen (t, snapshots) {
      const { store, directory } = stores.get(snapshots)!
      await store.close()
      return await at(t, directory)
    },
  })
}

for (const commits of ['sync', 'async'] as const) {
  t.test(`a save with ${commits} commits`, async t => {
    const { snapshots } = await opened(t, t.testdir(), commits)
    const saving = snapshots.save(3, 10n, states(['ada', 'a10']))
    t.equal(await snapshots.checkpoint(3), 0n, 'moves the checkpoint once it is durable')
    await saving
    t.equal(await snapshots.checkpoint(3), 10n)
    await t.rejects(snapshots.save(3, 14n, states(['x'.repeat(1000), 'x'])), { code: 'bad-record' })
  })

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
