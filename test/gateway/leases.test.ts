import t from 'tap'
import { Leases } from '../../gateway/leases.js'
import type { NodeRow } from '../../projections/nodes.js'
import { node } from './http/given.js'

const leaseMs = 15_000

t.test('Leases', async t => {
  t.test('run out when a node is silent and the table is known to hold all that it could have said', async t => {
    const world = given()
    world.hear('own', 'n2')
    world.pass(leaseMs + 1, 'own')
    t.strictSame(world.lost(), [], 'not before the table was proven')
    world.prove(0, 1)
    t.strictSame(world.lost(), ['n2'])
  })

  t.test('do not run out by a proof that is older than the silence', async t => {
    const world = given()
    world.hear('own', 'n2')
    world.prove(0, 1)
    world.pass(leaseMs + 1, 'own')
    t.strictSame(world.lost(), [])
  })

  t.test('run out in the parts of the table that are proven, and in no other', async t => {
    const world = given()
    world.hear('own', 'n2', 'n3')
    world.pass(leaseMs + 1, 'own')
    world.prove(1)
    t.strictSame(world.lost(), ['n3'])
  })

  t.test('begin again in a part that could not be proven, which is what a table looks like that is half read', async t => {
    const world = given()
    world.hear('own', 'n2', 'n3')
    world.pass(leaseMs, 'own')
    world.leases.unproven(1, world.nowMs)
    world.pass(leaseMs + 1, 'own')
    world.prove(0, 1)
    t.strictSame(world.lost(), ['n2'])
    world.rows.set('n2', { ...world.rows.get('n2')!, state: 'lost' })
    world.pass(leaseMs, 'own')
    world.prove(0, 1)
    t.strictSame(world.lost(), ['n3'], 'until they run out there, too')
  })

  t.test('do not run while the watcher\'s own reports do not come back', async t => {
    const world = given()
    world.hear('own', 'n2')
    world.pass(10 * leaseMs)
    world.prove(0, 1)
    t.strictSame(world.lost(), [])
    world.pass(leaseMs, 'own')
    world.prove(0, 1)
    t.strictSame(world.lost(), [], 'and the others get a lease more after that')
    world.pass(leaseMs + 1, 'own')
    world.prove(0, 1)
    t.strictSame(world.lost(), ['n2'])
  })

  t.test('begin with the watch, however old the reports are that it sees first', async t => {
    const world = given()
    world.pass(10 * leaseMs)
    world.leases.begin(world.nowMs)
    world.hear('own', 'n2')
    world.prove(0, 1)
    t.strictSame(world.lost(), [])
  })

  t.test('count what is told again from history as nobody\'s silence', async t => {
    const world = given()
    world.hear('own', 'n2')
    for (let i = 0; i < 20; i++) {
      world.rows.set('n2', { ...world.rows.get('n2')!, reportedAtMs: i }) // the log is read again, from the beginning
      world.pass(leaseMs / 3, 'own')
    }
    world.prove(0, 1)
    t.strictSame(world.lost(), [])
  })

  t.test('are doubtful at half of the time, so that the table is proven before they run out', async t => {
    const world = given()
    world.hear('own', 'n2', 'n3')
    world.pass(leaseMs / 2, 'own', 'n3')
    t.strictSame(world.leases.doubtful(world.view(), world.nowMs), [])
    world.pass(1, 'own', 'n3')
    t.strictSame(world.leases.doubtful(world.view(), world.nowMs), [0])
  })
})

/** A watcher named `own`; facts of nodes with an odd number stand in partition 1. */
function given () {
  const rows = new Map<string, NodeRow>()
  const leases = new Leases({ nodeId: 'own', leaseMs, partitionOf: nodeId => nodeId === 'n3' ? 1 : 0 })
  let proven = new Set<number>()
  let nowMs = 1_000_000
  let told = 0
  leases.begin(nowMs)
  const world = {
    leases,
    rows,
    get nowMs () { return nowMs },
    view: () => [...rows.values()],
    hear (...nodeIds: string[]) {
      // The time of day, which anybody may set, has no part in it.
      for (const nodeId of nodeIds) rows.set(nodeId, { ...node, nodeId, leaseMs, alive: false, reportedAtMs: ++told })
      leases.look(world.view(), nowMs)
    },
    /** These go on reporting meanwhile. */
    pass (ms: number, ...nodeIds: string[]) {
      for (let left = ms; left > 0; left -= 500) {
        nowMs += Math.min(500, left)
        world.hear(...nodeIds)
      }
    },
    prove (...partitions: number[]) {
      proven = new Set(partitions)
      for (const partition of partitions) leases.proven(partition, nowMs)
    },
    lost: () => leases.takeLost(world.view(), proven, nowMs).map(({ nodeId }) => nodeId),
  }
  return world
}
