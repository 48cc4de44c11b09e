import t from 'tap'
import { freshMs, NodeTable } from '../../gateway/node-table.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { started } from '../projections/given.js'
import type { Tables } from '../../projections/tables/tables.js'

const row = new Map([['started', { ...started, epoch: 1, atMs: Date.now() }]])

t.test('NodeTable', async t => {
  t.test('keeps its last good copy while the table is being read again from the log', async t => {
    let rows = 4
    let next = 100n
    const tables = {
      async * scan () { for (let i = 0; i < rows; i++) yield { partition: 0, key: `n${i}`, fields: row } },
      position: async () => ({ next, atMs: 0 }),
    } as Partial<Tables> as Tables
    const table = new NodeTable(tables, 1, 60_000, nobodyWatches)
    const known = async () => (await table.rows(0)).rows.map(({ nodeId }) => nodeId)
    t.strictSame(await known(), ['n0', 'n1', 'n2', 'n3'])
    next = 0n
    rows = 0
    for (let i = 0; i < 5; i++) t.equal((await known()).length, 4, 'an emptied table is no death of anybody')
    next = 99n
    rows = 1
    t.equal((await known()).length, 4, 'nor is one that is half read')
    next = 101n
    rows = 4
    t.equal((await known()).length, 4)
    rows = 3
    t.strictSame(await known(), ['n0', 'n1', 'n2'])
  })

  t.test('knows which lives of a node are over, and nothing of what it does not have', async t => {
    const fields = (epoch: number, more: object) =>
      new Map([['started', { ...started, epoch, atMs: Date.now() }], ...Object.entries(more)])
    const tables = {
      async * scan () {
        yield { partition: 0, key: 'up', fields: fields(5, {}) }
        yield { partition: 0, key: 'stopped', fields: fields(5, { ended: { epoch: 5, atMs: Date.now(), state: 'stopped' } }) }
      },
      position: async () => ({ next: 1n, atMs: 0 }),
    } as Partial<Tables> as Tables
    const table = new NodeTable(tables, 1, 60_000, nobodyWatches)
    t.notOk(table.hasEnded('up', 4), 'nor before it was read')
    const { rows } = await table.rows()
    t.match(rows.map(({ nodeId, state }) => `${nodeId} ${state}`), ['stopped stopped', 'up up'])
    t.strictSame([4, 5, 6].map(epoch => table.hasEnded('up', epoch)), [true, false, false])
    t.strictSame([4, 5, 6].map(epoch => table.hasEnded('stopped', epoch)), [true, true, false])
    t.notOk(table.hasEnded('absent', 1))
  })

  t.test('waits for a node that is on its way into the table, though the copy is fresh', async t => {
    let reads = 0
    const tables = {
      async * scan () { if (++reads > 3) yield { partition: 0, key: 'n1', fields: row } },
      position: async () => ({ next: BigInt(reads), atMs: 0 }),
    } as Partial<Tables> as Tables
    const table = new NodeTable(tables, 1, 60_000, nobodyWatches)
    t.strictSame((await table.rows()).rows, [])
    await table.awaitNode({ nodeId: 'n1', epoch: 1 })
    t.match((await table.rows()).rows, [{ nodeId: 'n1' }])
  })

  t.test('does not wait for ever for a node that does not come, nor reads the table all the time', async t => {
    let reads = 0
    const position = async () => ({ next: 0n, atMs: 0 })
    const tables = { async * scan () { reads++ }, position } as Partial<Tables> as Tables
    await t.resolves(new NodeTable(tables, 1, 60_000, nobodyWatches).awaitNode({ nodeId: 'n1', epoch: 1 }))
    t.ok(reads > 5 && reads < 20, `${reads} times`)
  })

  t.test('is read again once it is no longer fresh, though the time of day was set back', async t => {
    let reads = 0
    const tables = {
      async * scan () { reads++ },
      position: async () => ({ next: 0n, atMs: 0 }),
    } as Partial<Tables> as Tables
    const table = new NodeTable(tables, 1, 60_000, nobodyWatches)
    await table.rows()
    await table.rows()
    t.equal(reads, 1)
    const { now } = Date
    t.teardown(() => { Date.now = now })
    Date.now = () => now() - 3_600_000
    await new Promise(resolve => setTimeout(resolve, freshMs + 50))
    await table.rows()
    t.equal(reads, 2)
  })

  t.test('takes nobody for gone while nobody is heard, not even this node: then the log is away', async t => {
    const leaseMs = 15_000
    const heard = (atMs: number) => new Map([['started', { ...started, leaseMs, epoch: 1, atMs }]])
    const rows = [heard(1), heard(2), heard(3)]
    const tables = {
      async * scan () { for (const [i, fields] of rows.entries()) yield { partition: 0, key: `n${i}`, fields } },
      position: async () => ({ next: 1n, atMs: 0 }),
    } as Partial<Tables> as Tables
    let passedMs = 0
    const { now } = performance
    performance.now = () => now.call(performance) + passedMs
    t.teardown(() => { performance.now = now })
    const table = new NodeTable(tables, 1, 60_000, nobodyWatches)
    const alive = async () => (await table.rows(-1)).rows.filter(({ alive }) => alive).map(({ nodeId }) => nodeId)
    t.strictSame(await alive(), ['n0', 'n1', 'n2'], 'what the first look finds gets a lease')
    passedMs = 10 * leaseMs
    t.strictSame(await alive(), ['n0', 'n1', 'n2'])
    const { asOfMs, endpoints } = await table.ipConfig({ transport: 'tcp', region: '' })
    t.ok(Math.abs(Date.now() - asOfMs - passedMs) < leaseMs, 'and is told how old that is')
    t.ok(endpoints.length > 0)

    rows[2] = heard(4)
    await alive() // no more than half of them drop out at once
    t.strictSame(await alive(), ['n2'], 'one who is heard shows that the others are silent')
  })
})
