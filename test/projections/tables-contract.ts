import type { Test } from 'tap'
import { put, remove, type TableName, type Tables } from '../../projections/tables/tables.js'

export interface TableSides {
  /** Empty tables, closed by a teardown of `t`. */
  open (t: Test): Promise<Tables>
  /** Closes the tables and opens the same ones again. */
  reopen (t: Test, tables: Tables): Promise<Tables>
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
}
