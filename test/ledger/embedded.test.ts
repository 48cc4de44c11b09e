import t, { type Test } from 'tap'
import { embeddedLog, type EmbeddedLog } from '../../ledger/embedded/log.js'
import { openStore, type Store } from '../../ledger/embedded/store.js'
import type { EventLog } from '../../ledger/log.js'
import type { Stream } from '../../schemas/streams.js'
import { logContract } from './log-contract.js'

const stores = new Map<EventLog, { store: Store, directory: string }>()

for (const commits of ['sync', 'async'] as const) {
  t.test(`the embedded log with ${commits} commits`, async t => {
    let keptFrom = 0n
    async function openAt (t: Test, directory: string, stream?: Stream<any>) {
      const store = await openStore({ directory, commits, headroomBytes: 1 << 20 })
      t.teardown(() => store.close())
      const retention = { retentionMs: -1, keepFrom: () => keptFrom }
      const streams = stream === undefined ? {} : { [stream.name]: retention }
      const log = embeddedLog(store, { partitions: 4, streams, sweepMs: 3_600_000 })
      stores.set(log, { store, directory })
      return log
    }
    await logContract(t, {
      sameObjects: true,
      open (t, stream) {
        keptFrom = 0n
        return openAt(t, t.testdir(), stream)
      },
      async cut (log, _stream, _partition, to) {
        keptFrom = to
        await (log as EmbeddedLog).sweep()
      },
      async reopen (t, log) {
        const { store, directory } = stores.get(log)!
        await store.close()
        return openAt(t, directory)
      },
    })
  })
}
