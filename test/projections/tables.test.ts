import t, { type Test } from 'tap'
import { openStore } from '../../ledger/embedded/store.js'
import { embeddedTables } from '../../projections/tables/embedded.js'
import { put, remove, type TableName, type Tables } from '../../projections/tables/tables.js'

async function opened (t: Test, directory: string, commits: 'sync' | 'async' = 'sync') {
  const store = await openStore({ directory, commits, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  return { store, tables: embeddedTables(store) }
}

function at (next: number) { return { next: BigInt(next), atMs: next * 1000 } }

async function scanned (tables: Tables, table: TableName): Promise<Record<string, unknown>> {
  const rows: Record<string, unknown> = {}
  for await (const { partition, key, fields } of tables.scan(table)) {
    rows[`${partition}/${key}`] = Object.fromEntries(fields)
  }
  return rows
}

for (const commits of ['sync', 'async'] as const) {
  t.test(`tables with ${commits} commits`, async t => {
    const directory = t.testdir()
    const first = await opened(t, directory, commits)
    const { tables } = first

    t.strictSame(await tables.position('presence', 0), { next: 0n, atMs: 0 }, 'begin at offset 0')
    t.strictSame(await tables.get('presence', 0, 'ada'), new Map(), 'are empty at first')

    const applied = tables.apply('presence', 0, [
      put('ada', 'c1', { deviceId: 'phone', openedAtMs: 1 }),
      put('ada', 'c2', { deviceId: 'desk' }),
      put('ädä', '', 'a name with other letters, and a field without a name'),
      remove('ada', 'c2'),
    ], at(5))
    const ada = new Map([['c1', { deviceId: 'phone', openedAtMs: 1 }]])
    t.strictSame(await tables.get('presence', 0, 'ada'), ada, 'show what was taken before it is durable')
    t.strictSame(await tables.position('presence', 0), at(5))
    t.strictSame(Object.keys(await scanned(tables, 'presence')).sort(), ['0/ada', '0/ädä'])
    await applied
    t.strictSame(await tables.get('presence', 0, 'ada'), ada)
    t.strictSame((await tables.get('presence', 0, 'ädä')).size, 1)
    t.strictSame(await tables.get('presence', 0, 'ad'), new Map(), 'take no key for the beginning of another')
    t.strictSame(await tables.get('presence', 1, 'ada'), new Map(), 'are kept for each partition')
    t.strictSame(await tables.get('routing', 0, 'ada'), new Map(), 'and apart from each other')

    for (const next of [5, 4]) await tables.apply('presence', 0, [remove('ada', 'c1')], at(next))
    t.strictSame(await tables.get('presence', 0, 'ada'), ada, 'ignore a step that was taken before')

    await tables.apply('presence', 0, [remove('ada', 'c1'), remove('ada', 'never there')], at(6))
    t.strictSame(await tables.get('presence', 0, 'ada'), new Map())
    await t.rejects(tables.apply('presence', 0, [put('x', 'y', 1), put('z'.repeat(1000), 'y', 1)], at(7)), { name: 'RangeError' })
    t.strictSame(await tables.get('presence', 0, 'x'), new Map(), 'take a step whole or not at all')
    await tables.apply('nodes', 2, [put('n1', 'state', 'up')], at(1))
    await first.store.close()

    const again = await opened(t, directory, commits)
    t.strictSame(await again.tables.position('presence', 0), at(6), 'survive')
    t.strictSame(await scanned(again.tables, 'nodes'), { '2/n1': { state: 'up' } })
    t.strictSame(Object.keys(await scanned(again.tables, 'presence')), ['0/ädä'])
  })
}

t.test('a step that begins behind the position', async t => {
  const { tables } = await opened(t, t.testdir())
  await tables.apply('presence', 0, [put('ada', 'c1', 1)], { ...at(5), from: 0n })
  await t.rejects(tables.apply('presence', 0, [put('ada', 'c2', 2)], { ...at(8), from: 6n }),
    { message: /got a step from 6 on, want one from 5 on/ }, 'is refused, so that no hole comes to be')
  t.strictSame(await tables.get('presence', 0, 'ada'), new Map([['c1', 1]]))
  t.strictSame(await tables.position('presence', 0), at(5))
  await tables.apply('presence', 0, [put('ada', 'c2', 2)], { ...at(8), from: 5n })
  t.strictSame(await tables.position('presence', 0), at(8))
})

t.test('scan', async t => {
  const { tables } = await opened(t, t.testdir())
  const writes = Array.from({ length: 400 }, (_, i) => [put(`k${i}`, 'a', i), put(`k${i}`, 'b', -i), put('one', `f${i}`, i)]).flat()
  await tables.apply('routing', 7, writes, at(1))
  await tables.apply('routing', 8, [put('k1', 'a', 'other')], at(1))
  const rows = await scanned(tables, 'routing')
  t.equal(Object.keys(rows).length, 402, 'gives each key once')
  t.strictSame(rows['7/k17'], { a: 17, b: -17 }, 'with its fields')
  t.equal(Object.keys(rows['7/one'] as object).length, 400, 'however many they are')
  t.strictSame(rows['8/k1'], { a: 'other' })
})

t.test('reset', async t => {
  const directory = t.testdir()
  const { store, tables } = await opened(t, directory)
  await tables.apply('presence', 0, Array.from({ length: 2500 }, (_, i) => put(`k${i}`, 'f', i)), at(9))
  await tables.apply('routing', 0, [put('k', 'f', 1)], at(3))
  await tables.reset('presence')
  t.strictSame(await scanned(tables, 'presence'), {}, 'empties the table')
  t.strictSame(await tables.position('presence', 0), at(0), 'and its positions')
  t.strictSame(await scanned(tables, 'routing'), { '0/k': { f: 1 } }, 'and no other')
  await tables.apply('presence', 0, [put('new', 'f', 1)], at(1))
  for (let i = 0; i < 5; i++) { store.request(false); await store.settled() }
  const rows = [...store.env.getKeys({ start: Buffer.from([6]), end: Buffer.from([7]) })]
  t.equal(rows.length, 2, 'removes the rows little by little')
  await store.close()
  const again = await opened(t, directory)
  t.strictSame(await scanned(again.tables, 'presence'), { '0/new': { f: 1 } })
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
