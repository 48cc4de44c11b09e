import t from 'tap'
import { Orphans, unknownForMs, type Unknown } from '../../gateway/orphans.js'
import type { NodeRow } from '../../projections/nodes.js'
import type { Route } from '../../projections/routing.js'
import { node } from './http/given.js'

t.test('Orphans', async t => {
  t.test('are connections of an epoch that has ended, and of those before the one that lives', async t => {
    const view = [row('up', 5, 'up'), row('gone', 5, 'lost')]
    const orphans = new Orphans(view, new Map(), 0, () => -Infinity)
    t.strictSame([orphans.has(route('up', 4)), orphans.has(route('up', 5)), orphans.has(route('up', 6))], [true, false, false])
    t.strictSame([orphans.has(route('gone', 5)), orphans.has(route('gone', 6))], [true, false])
  })

  t.test('are not those of a node without a row, however old they are, unless the table is known to be whole', async t => {
    const unknown: Unknown = new Map()
    t.notOk(new Orphans([], unknown, 0, () => 0).has(route('n9', 1)))
    const later = 10 * unknownForMs
    t.notOk(new Orphans([], unknown, later, () => 0).has(route('n9', 1)), 'it was whole at the beginning only')
    t.ok(new Orphans([], unknown, later, () => later).has(route('n9', 1)))
  })

  t.test('forget how long a node was missed once it has a row again', async t => {
    const unknown: Unknown = new Map()
    new Orphans([], unknown, 0, () => 0).has(route('n9', 1))
    const found = new Orphans([row('n9', 1, 'up')], unknown, 1, () => 1)
    t.notOk(found.has(route('n9', 1)))
    found.forgetFound()
    t.equal(unknown.size, 0)
    const later = 10 * unknownForMs
    t.notOk(new Orphans([], unknown, later, () => later).has(route('n9', 1)))
  })
})

function row (nodeId: string, epoch: number, state: NodeRow['state']): NodeRow {
  return { ...node, nodeId, epoch, state }
}

function route (nodeId: string, nodeEpoch: number): Route {
  return { nodeId, nodeEpoch } as Route
}
