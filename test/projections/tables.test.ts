import t, { type Test } from 'tap'
import { openStore, type Store } from '../../ledger/embedded/store.js'
import { connectionOf } from '../../projections/routing.js'
import { embeddedTables } from '../../projections/tables/embedded.js'
import { positionKey, prefixOf } from '../../projections/tables/embedded-keys.js'
import { put, remove, type Tables } from '../../projections/tables/tables.js'
import { at, indexIn, scanned, tablesContract } from './tables-contract.js'

async function opened (t: Test, directory: string, commits: 'sync' | 'async' = 'sync') {
  const store = await openStore({ directory, commits, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  return { store, tables: embeddedTables(store) }
}

for (const commits of ['sync', 'async'] as const) {
  const stores = new Map<Tables, { store: Store, directory: string }>()
  const at = async (t: Test, directory: string) => {
    const { store, tables } = await opened(t, directory, commits)
    stores.set(tables, { store, directory })
    return tables
  }
  tablesContract(t, `with ${commits} commits`, {
    open: t => at(t, t.testdir()),
    async reopen (t, tables) {
      const { store, directory } = stores.get(tables)!
      await store.close()
      return await at(t, directory)
    },
  })
}

t.test('reset', async t => {
  const directory = t.testdir()
  const { store, tables } = await opened(t, directory)
  await tables.apply('presence', 0, Array.from({ length: 2500 }, (_, i) => put(`k${i}`, 'f', i)), at(9))
  await tables.apply('routing', 0, [put('k', 'f', 1)], at(3))
  await tables.reset('presence')
  t.strictSame(await scanned(tables, 'presence'), {}, 'empties the table')
  t.match(await tables.position('presence', 0), at(0), 'and its positions')
  t.strictSame(await scanned(tables, 'routing'), { '0/k': { f: 1 } }, 'and no other')
  await tables.apply('presence', 0, [put('new', 'f', 1)], at(1))
  for (let i = 0; i < 5; i++) { store.request(false); await store.settled() }
  const rows = [...store.env.getKeys({ start: Buffer.from([6]), end: Buffer.from([7]) })]
  t.equal(rows.length, 2, 'removes the rows little by little')
  await store.close()
  const again = await opened(t, directory)
  t.strictSame(await scanned(again.tables, 'presence'), { '0/new': { f: 1 } })
})

t.test('a position without writes', async t => {
  const directory = t.testdir()
  const { store, tables } = await opened(t, directory)
  await tables.apply('presence', 0, [put('ada', 'c1', 1)], at(1))
  const { commits } = store.metrics
  for (let next = 2; next < 10; next++) await tables.apply('presence', 0, [], at(next))
  await tables.apply('routing', 1, [], at(7))
  await new Promise(resolve => setTimeout(resolve, 100))
  t.equal(store.metrics.commits, commits, 'causes no commit')
  t.match(await tables.position('presence', 0), at(9), 'is seen at once')
  await tables.apply('presence', 1, [put('bob', 'c1', 1)], at(1))
  t.equal(store.metrics.commits, commits + 1)
  t.ok(store.env.getBinary(Buffer.from([8, 1, 0, 0, 0, 0]))!.includes('"9"'), 'goes with the next commit')
  await tables.apply('presence', 0, [], at(12))
  await store.close()
  t.match(await (await opened(t, directory)).tables.position('presence', 0), at(12), 'or when the store closes')
})

t.test('a step that is more than one commit should have is stored with its position', async t => {
  const { store, tables } = await opened(t, t.testdir())
  const large = Array.from({ length: 3 }, (_, i) => put(`k${i}`, 'f', 'x'.repeat(2 << 20)))
  const writes: number[] = []
  store.register({
    derived: true,
    write (batch) { writes.push(batch.bytes) },
    committed () {},
    failed () {},
  })
  await Promise.all([tables.apply('presence', 0, large, at(1)), tables.apply('presence', 0, [put('k', 'f', 1)], at(2))])
  t.ok(writes[0]! > 6 << 20)
  t.match(await tables.position('presence', 0), at(2))
  t.ok(writes.at(-1)! < 1_000, 'and what follows with the next one')
})

t.test('a step whose commit fails is stored with the next one', async t => {
  const directory = t.testdir()
  const { store, tables } = await opened(t, directory)
  let failures = 1
  store.register({
    write () { if (failures-- > 0) throw new Error('no space') },
    committed () {},
    failed () {},
  })
  await Promise.all([
    tables.apply('presence', 0, [put('ada', 'c1', 1)], at(1)),
    tables.apply('presence', 0, [put('bob', 'c2', 2)], at(2)),
  ])
  t.equal(store.metrics.commitsFailed, 1)
  await store.close()
  const again = await opened(t, directory)
  t.strictSame(await scanned(again.tables, 'presence'), { '0/ada': { c1: 1 }, '0/bob': { c2: 2 } })
})

t.test('routes that an earlier version has written', async t => {
  const directory = t.testdir()
  const route = { nodeId: 'n1', nodeEpoch: 5, platform: 'ios', deviceId: 'phone' }
  const { store, tables } = await opened(t, directory)
  const users = Array.from({ length: 3_000 }, (_, i) => put(`user:u${i}`, `c${i}`, route))
  await tables.apply('routing', 1, users, at(1))
  await tables.apply('routing', 2, users, at(1))
  // It knows of no index: it wrote rows and the position, without a word of the rest.
  const written = (key: string, field: string) =>
    Buffer.concat([Buffer.from(prefixOf('routing', 0, 1, { key, field }), 'latin1'), Buffer.from(field)])
  await store.settled()
  await store.env.remove(written('user:u7', 'c7'))
  await store.env.put(written('user:eve', 'c-eve'), Buffer.from(JSON.stringify({ ...route, nodeId: 'n2' })))
  await store.env.put(Buffer.from(positionKey('routing', 0, 1), 'latin1'), Buffer.from('{"next":"2","atMs":2000}'))
  await store.close()

  const again = (await opened(t, directory)).tables
  const unseen = await indexIn(again, 1)
  t.notSame(unseen.found, unseen.walked, 'are not in the index')
  const applied = again.apply('routing', 1, [put('user:zoe', 'c-zoe', route), remove('user:u8', 'c8')], at(3))
  const making = again.index('routing', [1, 2])
  await again.apply('routing', 1, [put('user:yan', 'c-yan', route), remove('user:u2999', 'c2999')], at(4))
  t.strictSame(await making, [])
  await applied
  const { found, walked } = await indexIn(again, 1)
  t.strictSame(found, walked, 'until somebody asks for it')
  t.equal(Object.keys(found['node:n1/5']!).length, 2_999)
  t.strictSame(await connectionOf(again, [1], 'c-eve'), { partition: 1, userId: 'eve', connectionId: 'c-eve' })

  await again.apply('routing', 1, [put('user:xia', 'c-xia', route)], at(5))
  t.match(await again.position('routing', 1), at(5))
  t.strictSame(await connectionOf(again, [1], 'c-xia'), { partition: 1, userId: 'xia', connectionId: 'c-xia' })
})
