import t, { type Test } from 'tap'
import { kick } from '../../gateway/kick.js'
import { endConnections } from '../../gateway/orphans.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { routing } from '../../projections/routing.js'
import { embeddedTables } from '../../projections/tables/embedded.js'
import type { IndexedTables } from '../../projections/tables/tables.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { ledger } from '../../schemas/streams.js'
import { opened } from '../projections/given.js'

const partitions = 4
const all = Array.from({ length: partitions }, (_, partition) => partition)

t.test('a kick by connection id reads a row of each partition, whoever else is there', async t => {
  const { log, tables, reads, appended } = await given(t)
  const { connections } = await kick({ log, tables }, { app: '', userId: '', connectionId: 'c17', reason: 'enough', by: 'k1' })
  t.strictSame(connections, [{ userId: 'u17', connectionId: 'c17' }])
  const told = await appended()
  t.match(told, [{ userId: 'u17', fact: { type: 'KickRequested', connectionId: 'c17', reason: 'enough', by: 'k1' } }])
  t.equal(told.length, 1)
  t.equal(reads(), partitions)
})

t.test('a kick of a connection that nobody has asks for nothing', async t => {
  const { log, tables, reads, appended } = await given(t)
  t.strictSame(await kick({ log, tables }, { app: '', userId: '', connectionId: 'c-none', reason: '', by: 'k1' }), { connections: [] })
  t.strictSame(await appended(), [])
  t.equal(reads(), partitions)
})

t.test('the end of a lost node reads its own rows, whoever else is there', async t => {
  const { log, tables, reads, appended } = await given(t)
  await endConnections({ log, tables, presenceGraceMs: 0 }, all, ({ nodeId }) => nodeId === 'n3', 'its node is gone')
  const ended = (await appended()).map(({ userId, fact }: any) => `${userId} ${fact.connectionId} ${fact.code}`)
  t.strictSame(ended.sort(), [3, 23, 43, 63, 83].map(i => `u${i} c${i} node-lost`).sort())
  t.ok(reads() <= 2 * partitions, 'the names of nodes, and the row of the one')
})

/** A hundred users on twenty nodes, in tables that nobody may walk over. */
async function given (t: Test) {
  const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
  const log = embeddedLog(store, { partitions })
  t.teardown(async () => {
    await log.close()
    await store.close()
  })
  const kept = embeddedTables(store)
  for (const partition of all) {
    const writes = Array.from({ length: 100 }, (_, i) => i).filter(i => partitionOf(`u${i}`, partitions) === partition)
      .flatMap(i => [...routing.project(opened(`u${i}`, `c${i}`, { nodeId: `n${i % 20}`, nodeEpoch: 1 }))])
    await kept.apply('routing', partition, writes, { next: 1n, atMs: 1 })
  }
  let reads = 0
  const tables: IndexedTables = {
    get (...args) {
      reads++
      return kept.get(...args)
    },
    scan () { throw new Error('walked over the table') },
    apply: (...args) => kept.apply(...args),
    position: (...args) => kept.position(...args),
    index: (...args) => kept.index(...args),
  }
  return {
    log,
    tables,
    reads: () => reads,
    async appended () {
      const found = []
      for (const partition of all) {
        for await (const { items } of log.read(ledger, partition, { from: 0n })) found.push(...items)
      }
      return found
    },
  }
}
