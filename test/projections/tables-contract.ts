import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Test } from 'tap'
import { connectionOf, connectionsOf, routing } from '../../projections/routing.js'
import { bucketOf, isIndexRow, nodeOf } from '../../projections/tables/route-index.js'
import { type IndexedTables, put, remove, type TableName, type Tables } from '../../projections/tables/tables.js'
import { followedBy } from './followed-by.js'
import { story, withRepeats } from './given.js'

export interface TableSides {
  /** Empty tables, closed by a teardown of `t`. */
  open (t: Test): Promise<IndexedTables>
  /** Closes the tables and opens the same ones again. */
  reopen (t: Test, tables: Tables): Promise<IndexedTables>
}

export function at (next: number) { return { next: BigInt(next), atMs: next * 1000 } }

export async function scanned (
  tables: Tables, table: TableName, only?: number
): Promise<Record<string, unknown>> {
  const rows: Record<string, unknown> = {}
  for await (const { partition, key, fields } of tables.scan(table, only)) {
    rows[`${partition}/${key}`] = Object.fromEntries(fields)
  }
  return rows
}

/** Of one partition of `routing`: the rows that others are found by, as they are and as a walk has them. */
export async function indexIn (tables: Tables, partition: number) {
  const found: Record<string, Record<string, unknown>> = {}
  const walked: Record<string, Record<string, unknown>> = {}
  const enter = (key: string, field: string, value: unknown) => { (walked[key] ??= {})[field] = value }
  for await (const { partition: its, key, fields } of tables.scan('routing')) {
    if (its !== partition) continue
    if (isIndexRow('routing', key)) found[key] = Object.fromEntries(fields)
    if (!key.startsWith('user:')) continue
    for (const [connectionId, route] of fields) {
      const node = nodeOf(route)
      if (node === undefined) continue
      enter(bucketOf(connectionId), connectionId, key.slice(5))
      enter(`node:${node}`, connectionId, key.slice(5))
      enter('nodes', node, 1)
    }
  }
  return { found, walked }
}

const route = (nodeId: string, nodeEpoch: number) => ({ nodeId, nodeEpoch, platform: 'ios', deviceId: 'phone' })

/** What every side of the `Tables` port does. */
export function tablesContract (t: Test, name: string, { open, reopen }: TableSides): void {
  t.test(`tables ${name}`, async t => {
    const tables = await open(t)

    t.match(await tables.position('presence', 0), { next: 0n, atMs: 0 }, 'begin at offset 0')
    t.strictSame(await tables.get('presence', 0, 'ada'), new Map(), 'are empty at first')

    const applied = tables.apply('presence', 0, [
      put('ada', 'c1', { deviceId: 'phone', openedAtMs: 1 }),
      put('ada', 'c2', { deviceId: 'desk' }),
      put('ädä', '', 'a name with other letters, and a field without a name'),
      remove('ada', 'c2'),
    ], at(5))
    const ada = new Map([['c1', { deviceId: 'phone', openedAtMs: 1 }]])
    t.strictSame(await tables.get('presence', 0, 'ada'), ada, 'show what was taken before it is durable')
    t.match(await tables.position('presence', 0), at(5))
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
    const tooLong = [put('x', 'y', 1), put('z'.repeat(1000), 'y', 1)]
    await t.rejects(tables.apply('presence', 0, tooLong, at(7)), { name: 'RangeError' })
    t.strictSame(await tables.get('presence', 0, 'x'), new Map(), 'take a step whole or not at all')
    await tables.apply('nodes', 2, [put('n1', 'state', 'up'), put('n2', 'state', 'up'), put('n3', 'a', undefined)], at(1))
    await tables.apply('nodes', 2, [remove('n2', 'state')], at(2))
    t.strictSame(await tables.get('nodes', 2, 'n1'), new Map([['state', 'up']]))

    const again = await reopen(t, tables)
    t.match(await again.position('presence', 0), at(6), 'survive')
    t.strictSame(await scanned(again, 'nodes'), { '2/n1': { state: 'up' } })
    t.strictSame(Object.keys(await scanned(again, 'presence')), ['0/ädä'])
  })

  t.test(`a step ${name} that begins behind the position`, async t => {
    const tables = await open(t)
    await tables.apply('presence', 0, [put('ada', 'c1', 1)], { ...at(5), from: 0n })
    await t.rejects(tables.apply('presence', 0, [put('ada', 'c2', 2)], { ...at(8), from: 6n }),
      { message: /got a step from 6 on, want one from 5 on/ }, 'is refused, so that no hole comes to be')
    t.strictSame(await tables.get('presence', 0, 'ada'), new Map([['c1', 1]]))
    t.match(await tables.position('presence', 0), at(5))
    await tables.apply('presence', 0, [put('ada', 'c2', 2)], { ...at(8), from: 5n })
    t.match(await tables.position('presence', 0), at(8))
  })

  t.test(`steps ${name} that do not wait for each other`, async t => {
    const tables = await open(t)
    const outcomes = await Promise.allSettled([
      tables.apply('routing', 0, [put('ada', 'c', 1)], { ...at(1), from: 0n }),
      tables.apply('routing', 0, [put('ada', 'c', 2), put('z'.repeat(1000), 'y', 1)], { ...at(2), from: 1n }),
      tables.apply('routing', 0, [put('ada', 'c', 3)], { ...at(3), from: 2n }),
      tables.apply('routing', 0, [put('ada', 'c', 4)], { ...at(2), from: 1n }),
      tables.apply('routing', 0, [put('ada', 'c', 5)], { ...at(3), from: 2n }),
    ])
    t.strictSame(outcomes.map(({ status }) => status), ['fulfilled', 'rejected', 'rejected', 'fulfilled', 'fulfilled'],
      'take effect in their order, and not behind one that failed')
    t.strictSame(await tables.get('routing', 0, 'ada'), new Map([['c', 5]]))
    t.match(await tables.position('routing', 0), at(3))
  })

  t.test(`scan ${name}`, async t => {
    const tables = await open(t)
    const writes = Array.from({ length: 400 }, (_, i) =>
      [put(`k${i}`, 'a', i), put(`k${i}`, 'b', -i), put('one', `f${i}`, i)]).flat()
    await tables.apply('routing', 7, writes, at(1))
    await tables.apply('routing', 8, [put('k1', 'a', 'other')], at(1))
    const rows = await scanned(tables, 'routing')
    t.equal(Object.keys(rows).length, 402, 'gives each key')
    t.strictSame(rows['7/k17'], { a: 17, b: -17 }, 'with its fields')
    t.equal(Object.keys(rows['7/one'] as object).length, 400, 'however many they are')
    t.strictSame(rows['8/k1'], { a: 'other' })
    await tables.apply('nodes', 0, [put('n1', 'state', 'up')], at(1))
    await tables.apply('nodes', 1, [put('n2', 'state', 'up')], at(1))
    t.strictSame(await scanned(tables, 'routing', 8), { '8/k1': { a: 'other' } }, 'gives those of one partition alone')
    t.strictSame(await scanned(tables, 'nodes', 1), { '1/n2': { state: 'up' } })
  })

  t.test(`the index ${name}`, async t => {
    const tables = await open(t)

    t.test('is what a walk finds, after any order of opens and closes, with any repeats', async t => {
      let partition = 0
      await fc.assert(fc.asyncProperty(withRepeats(story), async ({ blocks }) => {
        partition++
        const { tables: { applies } } = await followedBy([routing], blocks)
        await Promise.all(applies.flatMap(({ writes, step }) =>
          Array.from({ length: step.next % 3n === 0n ? 2 : 1 }, () => tables.apply('routing', partition, writes, step))))
        const { found, walked } = await indexIn(tables, partition)
        assert.deepEqual(found, walked)
      }), { numRuns: 25 })
      t.strictSame(await tables.index('routing', [0, 1, partition]), [])
    })

    t.test('follows what a write overwrites, in one step and over several', async t => {
      const names = ['', 'é', 'añ', 'a😀', '😀b', 'c/1', 'c"1', '-_'].map((id, i) => [`user:${id}/${i}`, id + i] as const)
      await tables.apply('routing', 80, names.map(([key, id]) => put(key, id, route('n"1/é', 1.7e12))), at(1))
      const first = await indexIn(tables, 80)
      t.strictSame(first.found, first.walked)
      t.strictSame(Object.keys(first.found['node:n"1/é/1700000000000']!).length, names.length)
      const [[key, id], [other, otherId], [third, thirdId]] = [names[0]!, names[1]!, names[2]!]
      await tables.apply('routing', 80, [
        put(key, id, route('n2', 1)), put(key, id, route('n3', 1)), remove(other, otherId), remove(other, otherId),
        put(third, thirdId, { of: 'a shape that nobody knows' }), put('closed:0', '1', [0, 'c']), put('user:x', 'c9', 5),
      ], at(2))
      const second = await indexIn(tables, 80)
      t.strictSame(second.found, second.walked)
      t.strictSame(second.found.nodes, { 'n"1/é/1700000000000': 1, 'n3/1': 1 })
      await tables.apply('routing', 80, names.map(([key, id]) => remove(key, id)), at(3))
      t.strictSame((await indexIn(tables, 80)).found, {}, 'and goes with the rows')
    })

    t.test('finds whose a connection is, and those of a node', async t => {
      const users = [put('user:ann', 'c81', route('n81', 7)), put('user:bob', 'c82', route('n82', 7))]
      await tables.apply('routing', 81, users, at(1))
      const ann = { partition: 81, userId: 'ann', connectionId: 'c81' }
      t.strictSame(await connectionOf(tables, [80, 81], 'c81'), ann)
      t.equal(await connectionOf(tables, [80], 'c81'), undefined)
      const found = []
      for await (const each of connectionsOf(tables, [80, 81], ({ nodeId }) => nodeId === 'n81')) found.push(each)
      t.strictSame(found, [ann])
    })
  })
}
