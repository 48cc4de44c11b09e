import t from 'tap'
import { describeDrain } from '../../gateway/drain-requests.js'
import { nodes } from '../../projections/nodes.js'
import type { ConnectionMoved, NodeEntry } from '../../schemas/records.js'
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
  const { state, left, moves } = await describeDrain({ log, tables }, 'n1', true)
  t.equal(state, 'done')
  t.equal(left, 2)
  t.strictSame(moves, [moved, other])
})
