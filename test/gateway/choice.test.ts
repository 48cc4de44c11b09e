import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { chooseAlternates, chooseEndpoints, guardedUpdate, isShedding, spareCapacity } from '../../gateway/choice.js'
import { noReport, type NodeRow } from '../../projections/nodes.js'

const nowMs = 100_000

function row (nodeId: string, more: Partial<NodeRow> = {}, load: Partial<NodeRow['reported']> = {}): NodeRow {
  return {
    nodeId,
    epoch: 1,
    region: 'eu',
    roles: 'edge',
    version: '1.0.0',
    wsUrl: `wss://${nodeId}`,
    tcpUrl: `tcp://${nodeId}`,
    connectionsMax: 1000,
    leaseMs: 15_000,
    state: 'up',
    reported: { ...noReport, memoryBytesMax: 1000, ...load },
    startedAtMs: 1000,
    reportedAtMs: 95_000,
    aliveUntilMs: 110_000,
    alive: true,
    ...more,
  }
}

/** Mulberry32: the same numbers for the same seed. */
function seeded (seed: number) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

function choose (nodes: readonly NodeRow[], more: Partial<Parameters<typeof chooseEndpoints>[0]> = {}) {
  return chooseEndpoints({ nodes, transport: 'ws', region: 'eu', nowMs, random: seeded(1), ...more })
}

const dead = { aliveUntilMs: nowMs, alive: false }
const draining = { state: 'draining', percent: 10 } as const
const overloaded = { eventLoopUtilization: 0.97 }

t.test('chooseEndpoints', async t => {
  t.test('gives the URLs of the transport that was asked for, three of different nodes', async t => {
    const nodes = ['a', 'b', 'c', 'd', 'e'].map(id => row(id))
    t.equal(new Set(choose(nodes)).size, 3)
    t.ok(choose(nodes).every(url => url.startsWith('wss://')))
    t.ok(choose(nodes, { transport: 'tcp' }).every(url => url.startsWith('tcp://')))
    t.equal(choose(nodes, { count: 4 }).length, 4)
  })

  t.test('leaves out nodes that have no URL for the transport', async t => {
    t.strictSame(choose([row('a', { wsUrl: '' }), row('b')]), ['wss://b'])
    t.strictSame(choose([row('a', { wsUrl: '' })]), [])
  })

  t.test('gives a URL once, however many nodes stand behind it', async t => {
    t.strictSame(choose([row('a', { wsUrl: 'wss://lb' }), row('b', { wsUrl: 'wss://lb' })]), ['wss://lb'])
  })

  t.test('takes the same region first and fills up from the others', async t => {
    const nodes = [row('u1', { region: 'us' }), row('e1'), row('u2', { region: 'us' }), row('e2')]
    for (let seed = 0; seed < 50; seed++) {
      const chosen = choose(nodes, { random: seeded(seed) })
      t.strictSame(chosen.slice(0, 2).sort(), ['wss://e1', 'wss://e2'])
      t.equal(chosen.length, 3)
    }
    t.equal(choose(nodes, { region: 'mars' }).length, 3)
  })

  t.test('goes to another region rather than to an overloaded or draining node of this one', async t => {
    const nodes = [row('e1', {}, overloaded), row('e2', draining), row('u1', { region: 'us' })]
    t.strictSame(choose(nodes), ['wss://u1'])
  })

  t.test('answers with the least bad ones when all are overloaded', async t => {
    const nodes = [1, 0.99, 0.98, 0.97].map(busy => row(`n${100 * busy}`, {}, { eventLoopUtilization: busy }))
    t.strictSame(choose(nodes).sort(), ['wss://n97', 'wss://n98', 'wss://n99'])
    t.strictSame(choose([...nodes, row('d', draining)]).length, 3)
    t.notOk(choose([...nodes, row('d', draining)]).includes('wss://d'))
  })

  t.test('does not send everybody to the least bad one first', async t => {
    const nodes = [1, 0.99, 0.98].map(busy => row(`n${100 * busy}`, {}, { eventLoopUtilization: busy }))
    const random = seeded(3)
    t.equal(new Set(Array.from({ length: 50 }, () => choose(nodes, { random })[0])).size, 3)
  })

  t.test('names a node to fewer as uplinks wait there, and to nobody before any of them is refused', async t => {
    const waits = (waitMs: number, admissionLevel = 0) => ({ waitMs, waitMsMax: 20, admissionLevel })
    const nodes = [row('calm', {}, waits(0)), row('busy', {}, waits(15)), row('over', {}, waits(19.5)), row('sheds', {}, waits(8, 4.1))]
    const random = seeded(5)
    const first = Array.from({ length: 2_000 }, () => choose(nodes, { random })[0])
    const share = (url: string) => first.filter(each => each === url).length / first.length
    t.ok(Math.abs(share('wss://busy') - 0.2) < 0.05, `${share('wss://busy')}`)
    t.equal(share('wss://over'), 0)
    t.equal(share('wss://sheds'), 0)
    t.strictSame(nodes.map(isShedding), [false, false, true, true])
    t.equal(spareCapacity(row('off', {}, { waitMs: 500 })), 1_000, 'where nobody looks for overload, waits say nothing')
  })

  t.test('answers with draining nodes when there are no others, and with nothing when all are dead', async t => {
    t.strictSame(choose([row('a', dead), row('b', draining)]), ['wss://b'])
    t.strictSame(choose([row('a', dead), row('b', { state: 'lost', aliveUntilMs: 0 })]), [])
    t.strictSame(choose([]), [])
  })

  t.test('spreads first places in proportion to spare capacity, the scarcest counting', async t => {
    const nodes = [
      row('quarter-of-connections', {}, { connections: 750 }), // 250
      row('half-of-event-loop', {}, { eventLoopUtilization: 0.5 }), // 500
      row('fifth-of-memory', {}, { rssBytes: 800, connections: 100 }), // 200
      row('half-of-a-big-one', { connectionsMax: 4000 }, { connections: 2000 }), // 2000
      row('new', { connectionsMax: 1050 }, { memoryBytesMax: 0 }), // 1050, before its first report
    ]
    const random = seeded(42)
    const first = new Map<string, number>()
    const draws = 40_000
    for (let i = 0; i < draws; i++) {
      const url = choose(nodes, { random })[0]!
      first.set(url, (first.get(url) ?? 0) + 1)
    }
    for (const [i, capacity] of [250, 500, 200, 2000, 1050].entries()) {
      t.equal(Math.round(spareCapacity(nodes[i]!)), capacity)
      const share = first.get(nodes[i]!.wsUrl)! / draws
      t.ok(Math.abs(share - capacity / 4000) < 0.01, `${nodes[i]!.nodeId} got ${share}`)
    }
  })

  t.test('spreads second places in proportion to what the others have', async t => {
    const nodes = [row('a', { connectionsMax: 600 }), row('b', { connectionsMax: 300 }), row('c', { connectionsMax: 100 })]
    const random = seeded(7)
    const draws = 40_000
    let seconds = 0
    let firsts = 0
    for (let i = 0; i < draws; i++) {
      const [first, second] = choose(nodes, { random, count: 2 })
      if (first !== 'wss://a') continue
      firsts++
      if (second === 'wss://b') seconds++
    }
    t.ok(Math.abs(seconds / firsts - 0.75) < 0.02, `b was second in ${seconds / firsts}`)
  })

  const anyNode = fc.record({
    region: fc.constantFrom('eu', 'us'),
    state: fc.constantFrom('up', 'draining', 'lost', 'stopped'),
    aliveUntilMs: fc.constantFrom(0, nowMs - 1, nowMs, nowMs + 1, nowMs + 10_000),
    wsUrl: fc.constantFrom('', 'own', 'own', 'own', 'wss://shared'),
    connectionsMax: fc.constantFrom(0, 10, 1000),
    connections: fc.nat(1200),
    eventLoopUtilization: fc.double({ min: 0, max: 1, noNaN: true }),
    rssBytes: fc.nat(1100),
    memoryBytesMax: fc.constantFrom(0, 1000),
    waitMs: fc.constantFrom(0, 5, 19, 40),
    waitMsMax: fc.constantFrom(0, 20),
    admissionLevel: fc.constantFrom(0, 0, 4.5),
  })
  const anyNodes = fc.array(anyNode, { maxLength: 12 }).map(nodes => nodes.map((fields, i) => {
    const { region, state, aliveUntilMs, wsUrl, connectionsMax, ...load } = fields
    const ended = state === 'lost' || state === 'stopped'
    return row(`n${i}`, {
      region,
      state,
      connectionsMax,
      aliveUntilMs: ended ? 0 : aliveUntilMs,
      alive: !ended && nowMs < aliveUntilMs,
      wsUrl: wsUrl === 'own' ? `wss://n${i}` : wsUrl,
    }, load)
  }))

  t.test('never gives a dead node, nor a draining one while another is alive, nor anything twice', async () => {
    fc.assert(fc.property(anyNodes, fc.integer(), fc.integer({ min: 1, max: 5 }), (nodes, seed, count) => {
      const chosen = choose(nodes, { random: seeded(seed), count })
      const alive = nodes.filter(node => node.alive && node.wsUrl !== '')
      const steady = alive.filter(({ state }) => state === 'up')
      const allowed = new Set((steady.length > 0 ? steady : alive).map(({ wsUrl }) => wsUrl))
      assert.ok(chosen.every(url => allowed.has(url)))
      assert.equal(new Set(chosen).size, chosen.length)
      assert.ok(chosen.length <= count)
      assert.equal(chosen.length === 0, alive.length === 0)
    }), { numRuns: 1000 })
  })
})

t.test('guardedUpdate', async t => {
  const ids = (nodes: readonly NodeRow[]) => nodes.filter(({ alive }) => alive).map(({ nodeId }) => nodeId).sort()

  t.test('takes an update that drops half of the nodes or fewer as it is', async t => {
    const previous = ['a', 'b', 'c', 'd'].map(id => row(id))
    const next = [row('a'), row('b'), row('c', dead)]
    t.strictSame(guardedUpdate(previous, next), next)
  })

  t.test('drops the longest silent half when the update would drop more, and the others still get clients', async t => {
    const previous = ['a', 'b', 'c', 'd'].map((id, i) => row(id, { reportedAtMs: 1000 * i }))
    const guarded = guardedUpdate(previous, previous.map(node => ({ ...node, ...dead, state: 'lost' as const })))
    t.strictSame(ids(guarded), ['c', 'd'])
    t.strictSame(choose(guarded, { nowMs: 200_000 }).sort(), ['wss://c', 'wss://d'])
    t.equal(guarded.length, 4, 'the dead are still listed')
  })

  t.test('survives an emptied store, and gives way within a few updates when everybody is gone but one', async t => {
    let nodes: NodeRow[] = Array.from({ length: 20 }, (_, i) => row(`n${i}`, { reportedAtMs: i }))
    const counts = []
    for (let i = 0; i < 6; i++) {
      nodes = guardedUpdate(nodes, [])
      counts.push(nodes.length)
    }
    t.strictSame(counts, [10, 5, 3, 2, 1, 1])
  })

  t.test('lets go of what it kept as soon as the update knows better', async t => {
    const kept = guardedUpdate([row('a')], [])
    const fresh = row('a', { epoch: 2 })
    t.strictSame(guardedUpdate(kept, [fresh]), [fresh])
    t.strictSame(ids(guardedUpdate(kept, [row('b')])), ['a', 'b'], 'a alone is not half of one')
  })

  t.test('believes nodes that stopped as asked', async t => {
    const gone = { aliveUntilMs: 0, alive: false }
    const next = [row('a', { ...gone, state: 'stopped' }), row('b', { ...gone, state: 'stopped' }), row('c', gone), row('d')]
    t.strictSame(ids(guardedUpdate(['a', 'b', 'c', 'd'].map(id => row(id)), next)), ['c', 'd'])
    t.strictSame(ids(guardedUpdate([row('a')], next.slice(0, 1))), [])
  })

  t.test('never drops more than half, whatever the update says, unless they stopped', async () => {
    const some = fc.uniqueArray(fc.record({ id: fc.nat(15), alive: fc.boolean(), reportedAtMs: fc.nat(1000) }),
      { selector: ({ id }) => id })
    const table = some.map(nodes => nodes.map(({ id, alive, reportedAtMs }) =>
      row(`n${id}`, alive ? { reportedAtMs } : { ...dead, reportedAtMs })))
    fc.assert(fc.property(table, table, (previous, next) => {
      const guarded = guardedUpdate(previous, next)
      const before = ids(previous)
      const after = new Set(ids(guarded))
      assert.ok(before.filter(id => !after.has(id)).length <= before.length / 2)
      assert.ok(ids(next).every(id => after.has(id)))
      assert.ok([...after].every(id => before.includes(id) || ids(next).includes(id)))
      assert.equal(new Set(guarded.map(({ nodeId }) => nodeId)).size, guarded.length)
    }), { numRuns: 500 })
  })
})

t.test('chooseAlternates', async t => {
  const alternates = (nodes: readonly NodeRow[]) =>
    chooseAlternates({ nodes, nodeId: 'a', transport: 'ws', region: 'eu', nowMs, random: seeded(1) })

  t.test('names other nodes, never the one that asks', async t => {
    t.strictSame(alternates([row('a'), row('b'), row('c')]).sort(), ['wss://b', 'wss://c'])
    t.strictSame(alternates([row('a')]), [])
  })

  t.test('names none that is draining, dead, full or overloaded, though there be no other', async t => {
    const full = row('f', {}, { connections: 1000 })
    t.strictSame(alternates([row('a'), row('b', draining), row('c', dead), row('d', {}, overloaded), full]), [])
  })

  t.test('leaves out a URL that is its own too: behind one load balancer the way might lead back', async t => {
    const shared = { wsUrl: 'wss://edge.example' }
    t.strictSame(alternates([row('a', shared), row('b', shared), row('c')]), ['wss://c'])
  })
})

t.test('isShedding', async t => {
  t.test('goes by event loop and memory, not by connections', async t => {
    t.equal(isShedding(row('a', {}, overloaded)), true)
    t.equal(isShedding(row('a', {}, { rssBytes: 990 })), true)
    t.equal(isShedding(row('a', {}, { connections: 1000 })), false)
  })
})
