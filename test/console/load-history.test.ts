import fc from 'fast-check'
import t from 'tap'
import { joined } from '../../console/load.js'
import { LoadHistory, type NodeCounts, nodesMax, samplesMax } from '../../gateway/console/load-history.js'
import type { NodeRow } from '../../projections/nodes.js'
import { node } from '../gateway/http/given.js'

const none: NodeCounts = { uplinks: 0, downlinks: 0, signals: 0, posts: 0, refused: new Map(), ended: new Map() }

function row (nodeId: string, connections: number, alive = true): NodeRow {
  return { ...node, nodeId, alive, reported: { ...node.reported, connections } }
}

t.test('The load of the last hour', async t => {
  t.test('has each node with what it reported, and nothing of the time when it was not alive', async t => {
    const history = new LoadHistory('n1')
    history.sample(5_000, [row('n1', 1)], none)
    history.sample(10_000, [row('n1', 2), row('n2', 7)], none)
    history.sample(15_000, [row('n1', 3), row('n2', 7, false)], none)
    const { atMs, nodes } = history.since(0)
    t.strictSame(atMs, [5_000, 10_000, 15_000])
    t.strictSame(nodes.map(({ nodeId, connections }) => [nodeId, connections]), [
      ['n1', [1, 2, 3]],
      ['n2', [null, 7, null]],
    ])
    t.strictSame(history.since(5_000).atMs, [10_000, 15_000], 'later ones alone')
  })

  t.test('has rates a second of what the node counts, by code where there are some', async t => {
    const history = new LoadHistory('n1')
    history.sample(0, [], none)
    history.sample(5_000, [], { ...none, uplinks: 50, ended: new Map([['kicked', 5]]) })
    history.sample(15_000, [], { ...none, uplinks: 50, downlinks: 5, ended: new Map([['kicked', 5]]) })
    const { rates } = history.since(-1)
    t.strictSame([rates.uplinks, rates.downlinks], [[null, 10, 0], [null, 0, 0.5]])
    t.strictSame(rates.ended, { kicked: [null, 1, 0] })
  })

  t.test('is bounded in samples and nodes', async t => {
    const history = new LoadHistory('n1')
    const rows = Array.from({ length: nodesMax + 1 }, (_, i) => row(`n${i}`, i))
    for (let i = 0; i <= samplesMax + 1; i++) history.sample(i, i === 0 ? rows : [row('last', i)], none)
    const { atMs, nodes } = history.since(-1)
    t.strictSame([atMs.length, atMs[0], atMs.at(-1)], [samplesMax, 2, samplesMax + 1])
    t.strictSame(nodes.map(({ nodeId }) => nodeId), ['last'], 'who has not been alive for an hour makes room')
  })

  t.test('shows nothing old where a node was away while others went on for longer than an hour', async t => {
    const history = new LoadHistory('n1')
    for (let i = 0; i < samplesMax; i++) history.sample(i, [row('n2', 7)], none)
    for (let i = 0; i < 10; i++) history.sample(samplesMax + i, [], none)
    history.sample(samplesMax + 10, [row('n2', 8)], none)
    const [{ connections } = { connections: [] }] = history.since(-1).nodes
    t.strictSame(connections.slice(-12), [7, ...Array.from({ length: 10 }, () => null), 8])
  })

  t.test('is the same where a page asks for all of it once, and for what is new again and again', async t => {
    await fc.assert(fc.property(fc.array(fc.record({
      names: fc.subarray(['n1', 'n2', 'n3']),
      code: fc.constantFrom('', 'gap', 'throttled'),
      isAsked: fc.boolean(),
    }), { minLength: 1, maxLength: 30 }), steps => {
      const history = new LoadHistory('n1')
      const refused = new Map<string, number>()
      let page = history.since(0)
      for (const [i, { names, code, isAsked }] of steps.entries()) {
        if (code !== '') refused.set(code, (refused.get(code) ?? 0) + 1)
        history.sample((i + 1) * 5_000, names.map(name => row(name, i)), { ...none, uplinks: i, refused })
        if (isAsked) page = joined(page, history.since(page.atMs.at(-1) ?? 0))
      }
      page = joined(page, history.since(page.atMs.at(-1) ?? 0))
      t.strictSame(page, history.since(0))
    }))
  })
})
