import fc from 'fast-check'
import t from 'tap'
import { joined } from '../../console/load.js'
import { codesMax, followersMax, LoadHistory, nodesMax, samplesMax } from '../../gateway/console/load-history.js'
import type { NodeRow } from '../../projections/nodes.js'
import { node } from '../gateway/http/given.js'

function row (nodeId: string, connections: number, alive = true): NodeRow {
  return { ...node, nodeId, alive, reported: { ...node.reported, connections } }
}

/** A node that has reported so many ms after its start. */
function counting (nodeId: string, reportedAtMs: number, counts: Record<string, number>): NodeRow {
  const counted = Object.entries(counts).map(([name, count]) => {
    const [what, code = ''] = name.split(' ', 2) as [string, string?]
    return { what, code, count }
  })
  return { ...node, nodeId, alive: true, reportedAtMs, reported: { ...node.reported, counted } }
}

t.test('The load of the last hour', async t => {
  t.test('has each node with what it reported, and nothing of the time when it was not alive', async t => {
    const history = new LoadHistory()
    history.sample(5_000, [row('n1', 1)])
    history.sample(10_000, [row('n1', 2), row('n2', 7)])
    history.sample(15_000, [row('n1', 3), row('n2', 7, false)])
    const { atMs, nodes } = history.since(0)
    t.strictSame(atMs, [5_000, 10_000, 15_000])
    t.strictSame(nodes.map(({ nodeId, connections }) => [nodeId, connections]), [
      ['n1', [1, 2, 3]],
      ['n2', [null, 7, null]],
    ])
    t.strictSame(history.since(5_000).atMs, [10_000, 15_000], 'later ones alone')
  })

  t.test('has rates a second of what nodes count, by code of all nodes together', async t => {
    const history = new LoadHistory()
    const sample = (atMs: number, ofOne: Record<string, number>, ofTwo: Record<string, number>) => {
      history.sample(atMs, [counting('n1', atMs, ofOne), counting('n2', atMs, ofTwo)])
    }
    sample(0, {}, { uplinks: 7 })
    sample(5_000, { uplinks: 50, 'ended kicked': 5 }, { uplinks: 7, 'ended kicked': 10, 'settled acked': 1 })
    history.sample(8_000, [counting('n1', 5_000, { uplinks: 50, 'ended kicked': 5 })])
    sample(15_000, { uplinks: 50, downlinks: 5, 'ended kicked': 5, 'refused gap': 20 }, { uplinks: 5 })
    const { nodes: [one, two], ended, refused, settled } = history.since(-1)
    t.strictSame([one!.uplinks, one!.downlinks], [[0, 10, 10, 0], [0, 0, 0, 0.5]], 'as long as nothing newer is reported it goes on')
    t.strictSame(two!.uplinks, [0, 0, null, 0.5], 'a process that started again began with 0')
    t.strictSame([one!.ends, one!.refusals], [[0, 1, 1, 0], [0, 0, 0, 2]])
    t.strictSame(ended, { kicked: [null, 3, 0, 0] }, 'each end is counted once')
    t.strictSame(refused, { gap: [null, null, null, 2.857] }, 'within the time between two samples')
    t.strictSame(settled, { acked: [null, 0.2, 0, 0] })
  })

  t.test('has how far followers of streams are behind, and nothing of the time when that was not known', async t => {
    const history = new LoadHistory()
    history.sample(5_000, [], new Map([['users', 0], ['readers crm', 90_000]]))
    history.sample(10_000, [])
    history.sample(15_000, [], new Map([['users', 20]]))
    t.strictSame(history.since(0).lag, { 'readers crm': [90_000, null, null], users: [0, null, 20] })
    const many = new Map(Array.from({ length: followersMax }, (_, i) => [`stream ${i}`, i]))
    history.sample(20_000, [], many)
    t.equal(Object.keys(history.since(0).lag).length, followersMax)
    for (let i = 1; i <= samplesMax; i++) history.sample(20_000 + i, [])
    t.strictSame(history.since(0).lag, {}, 'who is not told of for an hour makes room')
  })

  t.test('is bounded in codes', async t => {
    const history = new LoadHistory()
    const many = Object.fromEntries(Array.from({ length: codesMax + 1 }, (_, i) => [`ended c${i}`, 5]))
    history.sample(0, [counting('n1', 0, {})])
    history.sample(5_000, [counting('n1', 5_000, many)])
    const { ended, nodes } = history.since(-1)
    t.equal(Object.keys(ended).length, codesMax)
    t.strictSame(nodes[0]!.ends, [0, codesMax + 1], 'all are counted')
  })

  t.test('is bounded in samples and nodes', async t => {
    const history = new LoadHistory()
    const rows = Array.from({ length: nodesMax + 1 }, (_, i) => row(`n${i}`, i))
    for (let i = 0; i <= samplesMax + 1; i++) history.sample(i, i === 0 ? rows : [row('last', i)])
    const { atMs, nodes } = history.since(-1)
    t.strictSame([atMs.length, atMs[0], atMs.at(-1)], [samplesMax, 2, samplesMax + 1])
    t.strictSame(nodes.map(({ nodeId }) => nodeId), ['last'], 'who has not been alive for an hour makes room')
  })

  t.test('shows nothing old where a node was away while others went on for longer than an hour', async t => {
    const history = new LoadHistory()
    for (let i = 0; i < samplesMax; i++) history.sample(i, [row('n2', 7)])
    for (let i = 0; i < 10; i++) history.sample(samplesMax + i, [])
    history.sample(samplesMax + 10, [row('n2', 8)])
    const [{ connections } = { connections: [] }] = history.since(-1).nodes
    t.strictSame(connections.slice(-12), [7, ...Array.from({ length: 10 }, () => null), 8])
  })

  t.test('is the same where a page asks for all of it once, and for what is new again and again', async t => {
    await fc.assert(fc.property(fc.array(fc.record({
      names: fc.subarray(['n1', 'n2', 'n3']),
      code: fc.constantFrom('', 'gap', 'throttled'),
      followers: fc.subarray(['users', 'presence']),
      isAsked: fc.boolean(),
    }), { minLength: 1, maxLength: 30 }), steps => {
      const history = new LoadHistory()
      const counts: Record<string, number> = {}
      let page = history.since(0)
      for (const [i, { names, code, followers, isAsked }] of steps.entries()) {
        counts['uplinks'] = i
        if (code !== '') counts[`refused ${code}`] = i
        const atMs = (i + 1) * 5_000
        const lags = new Map(followers.map(follower => [follower, i]))
        history.sample(atMs, names.map(name => counting(name, atMs, counts)), lags)
        if (isAsked) page = joined(page, history.since(page.atMs.at(-1) ?? 0))
      }
      page = joined(page, history.since(page.atMs.at(-1) ?? 0))
      t.strictSame(page, history.since(0))
    }))
  })
})
