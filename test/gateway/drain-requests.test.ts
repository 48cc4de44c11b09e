import t from 'tap'
import { describeDrain, requestDrain } from '../../gateway/drain-requests.js'
import type { NodeTable } from '../../gateway/node-table.js'
import { nodeRow, nodes, type NodeRow } from '../../projections/nodes.js'
import type { ConnectionMoved, NodeEntry } from '../../schemas/node-facts.js'
import { followedBy } from '../projections/followed-by.js'
import { node, started } from '../projections/given.js'

const moved: ConnectionMoved = {
  userId: 'ann',
  deviceId: 'phone',
  connectionId: 'c1',
  closed: false,
  toNodeId: 'n2',
  toConnectionId: 'c2',
  afterMs: 10,
  darkMs: 5,
  uplinksLost: 0,
  downlinksLost: 0,
  rooms: 2,
}

t.test('a drain whose node had a clock that was hours ahead is told with all its moves', async t => {
  const aheadMs = 6 * 3_600_000
  const report = (atMs: number, done: boolean, moves: ConnectionMoved[], left: number): NodeEntry => node('n1', 100, atMs, {
    type: 'NodeDrainReported',
    drainId: 'd1',
    startedAtMs: aheadMs,
    percent: 100,
    withinMs: 1_000,
    done,
    total: 2,
    asked: 2,
    left,
    closed: 0,
    resumed: left,
    uplinksLost: 0,
    downlinksLost: 0,
    members: 3,
    membersResumed: 2,
    moves,
  })
  const other = { ...moved, connectionId: 'c3', toConnectionId: 'c4' }
  const blocks = [
    [node('n1', 100, 100, started)],
    [report(aheadMs + 1, false, [moved], 1)],
    [report(aheadMs + 2, true, [other], 2)],
  ]
  const { tables, log: followed } = await followedBy([nodes], blocks)
  // Positions go by the clock of those who store them.
  const log = Object.assign(followed, {
    bounds: async () => ({ first: 0n, next: 100n }),
    offsetAt: async (_stream: unknown, _partition: number, atMs: number) => atMs > 1_000 ? 100n : 0n,
  })
  const { state, left, moves } = await describeDrain({ log, tables, nodeTable: tableOf([]) }, 'n1', true)
  t.equal(state, 'done')
  t.equal(left, 2)
  t.strictSame(moves, [moved, other])
})

t.test('a drain that is asked for by a clock that is behind is the newest all the same', async t => {
  const hour = 3_600_000
  const atMs = Date.now() + hour
  const done: NodeEntry = node('n1', 100, atMs + 1, {
    type: 'NodeDrainReported',
    drainId: 'd1',
    startedAtMs: atMs,
    percent: 30,
    withinMs: 1_000,
    done: true,
    total: 0,
    asked: 0,
    left: 0,
    closed: 0,
    resumed: 0,
    uplinksLost: 0,
    downlinksLost: 0,
    members: 0,
    membersResumed: 0,
    moves: [],
  })
  const { tables, log } = await followedBy([nodes], [[node('n1', 100, 100, started)], [done]])
  const rows = [nodeRow('n1', await tables.get('nodes', 0, 'n1'), 0)!, nodeRow('n1', await tables.get('nodes', 0, 'n1'), 0)!]
    .map((row, i): NodeRow => ({ ...row, nodeId: `n${i + 1}`, alive: true }))
  const asked: NodeEntry[] = []
  const append = async (_stream: unknown, _partition: number, items: NodeEntry[]) => { asked.push(...items) }
  const deps = {
    log: Object.assign(log, { append }),
    tables,
    nodeTable: tableOf(rows),
  }
  await requestDrain(deps, { nodeId: 'n1', percent: 100, withinMs: 1_000, by: '', reason: '' })
  t.ok(asked[0]!.atMs > atMs, 'later than the drain before it, by whichever clock that was')
})

function tableOf (rows: readonly NodeRow[]): NodeTable {
  return { rows: async () => ({ rows, asOfMs: Date.now() }) } as Partial<NodeTable> as NodeTable
}
