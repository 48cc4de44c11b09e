import t from 'tap'
import { freshMs, NodeTable } from '../../gateway/node-table.js'
import type { Tables } from '../../projections/tables/tables.js'

t.test('NodeTable', async t => {
  t.test('is read again once it is no longer fresh, though the time of day was set back', async t => {
    let reads = 0
    const tables = { async * scan () { reads++ } } as Partial<Tables> as Tables
    const table = new NodeTable(tables, 60_000)
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
})
