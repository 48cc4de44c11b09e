import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { lastDrain, noReport, nodeRow, nodeRows, nodes } from '../../projections/nodes.js'
import type { NodeEntry, NodeFact } from '../../schemas/node-facts.js'
import { node, reported, started, withRepeats } from './given.js'
import { followedBy } from './followed-by.js'
import type { MemoryTables } from './memory-tables.js'

const draining: NodeFact = { type: 'NodeDraining', percent: 50, withinMs: 60_000 }
const lost: NodeFact = { type: 'NodeLost' }
const stopped: NodeFact = { type: 'NodeStopped' }

async function view (tables: MemoryTables, nowMs: number) {
  const rows = []
  for await (const row of tables.scan('nodes')) rows.push(row)
  return nodeRows(rows, nowMs)
}

async function viewOf (facts: NodeEntry[], nowMs: number) {
  const { tables } = await followedBy([nodes], facts.map(fact => [fact]))
  return (await view(tables, nowMs))[0]
}

t.test('a node that started and reported', async t => {
  t.test('has its address, its load and its lease in one row', async t => {
    const row = await viewOf([node('n1', 100, 100, started), node('n1', 100, 5000, reported(10))], 6000)
    t.strictSame(row, {
      nodeId: 'n1',
      epoch: 100,
      region: 'eu',
      roles: 'edge',
      version: '1.0.0',
      wsUrl: 'wss://a',
      tcpUrl: 'tcp://a',
      connectionsMax: 1000,
      leaseMs: 15_000,
      state: 'up',
      reported: { ...noReport, connections: 10, eventLoopUtilization: 0.2, rssBytes: 100, memoryBytesMax: 1000 },
      startedAtMs: 100,
      reportedAtMs: 5000,
      aliveUntilMs: 20_000,
      alive: true,
    })
  })

  t.test('is alive until its lease runs out, and not at that very time', async t => {
    const facts = [node('n1', 100, 100, started), node('n1', 100, 5000, reported())]
    t.equal((await viewOf(facts, 19_999))!.alive, true)
    t.equal((await viewOf(facts, 20_000))!.alive, false)
    t.equal((await viewOf(facts.slice(0, 1), 15_000))!.alive, true, 'a start counts as a report')
  })

  t.test('keeps its lease when an older report is repeated late', async t => {
    const old = node('n1', 100, 200, reported(1))
    const row = await viewOf([node('n1', 100, 100, started), old, node('n1', 100, 30_000, reported(2)), old], 31_000)
    t.match(row, { alive: true, reportedAtMs: 30_000, reported: { connections: 2 } })
  })

  t.test('is draining by the last percentage that was announced, and no longer after 0', async t => {
    const drain = (percent: number, atMs: number) => node('n1', 100, atMs, { type: 'NodeDraining', percent, withinMs: 1 })
    const facts = [node('n1', 100, 100, started), drain(20, 200), drain(70, 300), drain(20, 200)]
    t.match(await viewOf(facts, 400), { state: 'draining', percent: 70, alive: true })
    t.match(await viewOf([...facts, drain(0, 350)], 400), { state: 'up', percent: undefined })
  })
})

t.test('a node that is asked to drain', async t => {
  const asked = (drainId: string): NodeFact => ({ type: 'NodeDrainRequested', drainId, percent: 100, withinMs: 1, by: 'k1', reason: 'new disk' })
  const report = (drainId: string, left: number): NodeFact => ({
    type: 'NodeDrainReported',
    drainId,
    startedAtMs: 100,
    percent: 100,
    withinMs: 1,
    done: false,
    total: 2,
    asked: 2,
    left,
    closed: 0,
    resumed: 0,
    uplinksLost: 0,
    downlinksLost: 0,
    members: 3,
    membersResumed: 2,
    moves: [],
  })

  t.test('has the last request in its row, until its next epoch', async t => {
    const facts = [node('n1', 100, 100, started), node('n1', 100, 110, asked('d1')), node('n1', 100, 120, asked('d2')),
      node('n1', 100, 110, asked('d1'))]
    const drainRequest = { drainId: 'd2', percent: 100, withinMs: 1, by: 'k1', reason: 'new disk', atMs: 120 }
    t.match(await viewOf(facts, 121), { state: 'up', drainRequest })
    t.match(await viewOf([...facts, node('n1', 200, 200, started)], 201), { drainRequest: undefined })
  })

  t.test('has the numbers of its last report, without the moves, in whichever epoch', async t => {
    const facts = [node('n1', 100, 100, started), node('n1', 100, 110, report('d1', 1)), node('n1', 100, 120, report('d1', 2)),
      node('n1', 200, 200, started)]
    const { tables } = await followedBy([nodes], facts.map(fact => [fact]))
    for await (const { fields } of tables.scan('nodes')) {
      const { type, moves, ...numbers } = report('d1', 2) as NodeFact & { type: 'NodeDrainReported' }
      t.strictSame(lastDrain(fields), { epoch: 100, atMs: 120, ...numbers })
    }
  })
})

t.test('a node that ended', async t => {
  t.test('is stopped or lost, is not alive, and no report brings it back', async t => {
    const before = [node('n1', 100, 100, started), node('n1', 100, 150, draining)]
    const after = [node('n1', 100, 900, reported()), node('n1', 100, 901, draining)]
    t.match(await viewOf([...before, node('n1', 100, 160, stopped), ...after], 901), { state: 'stopped', alive: false })
    // Lost is told by another node, whose clock may be behind.
    t.match(await viewOf([...before, node('n1', 100, 50, lost), ...after], 901), { state: 'lost', alive: false })
  })

  t.test('is up again in its next epoch, with nothing left of the one before', async t => {
    const facts = [node('n1', 100, 100, started), node('n1', 100, 150, draining), node('n1', 100, 160, reported(99)),
      node('n1', 100, 170, lost), node('n1', 200, 200, started)]
    const row = await viewOf(facts, 201)
    t.match(row, { epoch: 200, state: 'up', alive: true, percent: undefined, reported: { connections: 0 } })
  })
})

t.test('a fact of an older epoch', async t => {
  t.test('changes nothing once a newer epoch has begun', async t => {
    const facts = [node('n1', 200, 200, started), node('n1', 200, 300, reported(2))]
    const before = await viewOf(facts, 400)
    for (const fact of [started, reported(1), draining, lost, stopped]) {
      t.strictSame(await viewOf([...facts, node('n1', 100, 350, fact)], 400), before, fact.type)
    }
  })
})

t.test('a node whose start is not known', async t => {
  t.test('is left out of the view', async t => {
    t.equal(await viewOf([node('n1', 100, 100, reported())], 101), undefined)
    t.equal(await viewOf([node('n1', 100, 100, started), node('n1', 200, 200, reported())], 201), undefined)
    t.equal(nodeRow('n1', new Map(), 0), undefined)
  })
})

t.test('any facts of a few nodes and epochs, with any repeats', async t => {
  const facts = fc.array(fc.record({
    nodeId: fc.constantFrom('n1', 'n2', 'n3'),
    epoch: fc.constantFrom(100, 200, 300),
    fact: fc.oneof(fc.constantFrom(started, draining, lost, stopped), fc.nat(9).map(reported)),
  }), { maxLength: 30 }).map(picks => picks.map(({ nodeId, epoch, fact }, i) => node(nodeId, epoch, 1000 + i, fact)))
  const restarts = fc.array(fc.nat(20), { maxLength: 3 })

  t.test('give the same table as without the repeats, with four fields a node at most', async t => {
    await fc.assert(fc.asyncProperty(withRepeats(facts), restarts, async ({ items, blocks }, restartAfter) => {
      const once = await followedBy([nodes], [items])
      const again = await followedBy([nodes], blocks, { restartAfter })
      assert.deepEqual(again.tables.dump('nodes'), once.tables.dump('nodes'))
      for (const fields of Object.values(again.tables.dump('nodes'))) assert.ok(Object.keys(fields).length <= 4)
    }))
  })

  t.test('show the newest epoch, as its own facts alone would', async t => {
    await fc.assert(fc.asyncProperty(withRepeats(facts), async ({ items, blocks }) => {
      const newest = new Map<string, number>()
      for (const { nodeId, epoch } of items) newest.set(nodeId, Math.max(epoch, newest.get(nodeId) ?? 0))
      const own = await followedBy([nodes], [items.filter(({ nodeId, epoch }) => newest.get(nodeId) === epoch)])
      const all = await followedBy([nodes], blocks)
      assert.deepEqual(await view(all.tables, 1040), await view(own.tables, 1040))
    }))
  })
})

t.test('nodes that come once and never again', async t => {
  t.test('are forgotten from the first that ended on, while those that are up stay', async t => {
    const blocks = [[node('up', 1, 1, started)]]
    for (let i = 0; i < 300; i++) blocks.push([node(`n${i}`, 1, 10 + i, started), node(`n${i}`, 1, 11 + i, stopped)])
    const { tables } = await followedBy([nodes], blocks, { restartAfter: [100, 280] })
    const ids = (await view(tables, 1000)).map(({ nodeId }) => nodeId)
    t.equal(ids.length, 257)
    t.ok(ids.includes('up'))
    t.ok(ids.includes('n44'))
    t.notOk(ids.includes('n43'))
  })
})
