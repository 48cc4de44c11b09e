import t, { type Test } from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore, type Store } from '../../ledger/embedded/store.js'
import type { EventLog } from '../../ledger/log.js'
import { logContract } from './log-contract.js'

const stores = new Map<EventLog, { store: Store, directory: string }>()

for (const commits of ['sync', 'async'] as const) {
  t.test(`the embedded log with ${commits} commits`, async t => {
    async function openAt (t: Test, directory: string) {
      const store = await openStore({ directory, commits, headroomBytes: 1 << 20 })
      t.teardown(() => store.close())
      const log = embeddedLog(store, { partitions: 4 })
      stores.set(log, { store, directory })
      return log
    }
    await logContract(t, {
      sameObjects: true,
      open: t => openAt(t, t.testdir()),
      async reopen (t, log) {
        const { store, directory } = stores.get(log)!
        await store.close()
        return openAt(t, directory)
      },
    })
  })
}
