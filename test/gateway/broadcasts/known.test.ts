import fc from 'fast-check'
import t from 'tap'
import { type BroadcastOrder, KnownBroadcasts } from '../../../gateway/broadcasts/known.js'
import type { NodeRow } from '../../../projections/nodes.js'
import type { NodeEntry, NodeFact } from '../../../schemas/node-facts.js'

const hour = 3_600_000

function entry (nodeId: string, atMs: number, fact: NodeFact, epoch = 1): NodeEntry {
  return { nodeId, epoch, atMs, fact }
}

function requested (messageId: string, fields: Partial<NodeFact & { type: 'BroadcastRequested' }> = {}): NodeEntry {
  return entry('asked', 100, {
    type: 'BroadcastRequested',
    app: '',
    messageId,
    service: 'news',
    payload: Buffer.from('hello'),
    platforms: [],
    regions: [],
    perSecond: 10,
    ttlMs: hour,
    by: '',
    ...fields,
  })
}

function cancelled (messageId: string): NodeEntry {
  return entry('asked', 200, { type: 'BroadcastCancelled', app: '', messageId, by: '', reason: '' })
}

function reported (nodeId: string, state: string, sent = 0, left = 0, messageId = 'm1', epoch = 1): NodeEntry {
  return entry(nodeId, 150, { type: 'BroadcastReported', app: '', messageId, state, sent, slow: 0, left }, epoch)
}

function row (nodeId: string, fields: Partial<NodeRow> = {}): NodeRow {
  return { nodeId, epoch: 1, region: 'eu', wsUrl: 'ws://x', tcpUrl: '', alive: true, reported: { connections: 7 }, ...fields } as NodeRow
}

/** As it comes. @param nowMs of the process that reads; by default the clocks are the same */
function take (known: KnownBroadcasts, read: NodeEntry, nowMs = read.atMs): BroadcastOrder | undefined {
  return known.take(read, { nowMs, ageMs: 0 })
}

function started (nodeId: string, epoch: number): NodeEntry {
  const fact = {
    type: 'NodeStarted' as const, region: 'eu', roles: 'edge', version: '1', wsUrl: 'ws://x', tcpUrl: '', connectionsMax: 9, leaseMs: 1,
  }
  return entry(nodeId, epoch, fact, epoch)
}

t.test('What is known of broadcasts', async t => {
  t.test('begins each once, whatever is repeated', async t => {
    const known = new KnownBroadcasts()
    t.match(take(known, requested('m1')), { type: 'begin', broadcast: { key: 'm1', messageId: 'm1', endsAtMs: 100 + hour } })
    t.equal(take(known, requested('m1')), undefined)
    t.equal(take(known, requested('m1', { payload: Buffer.from('other') })), undefined)
    t.match(take(known, requested('m1', { app: 'shop' })), { type: 'begin', broadcast: { key: 'shop\u001fm1' } }, 'ids are of an app')
    const compare = (key: string, payload: string) =>
      known.compare({ key, service: 'news', payload: Buffer.from(payload) }, [], 200)
    t.equal(compare('m1', 'hello'), 'duplicate')
    t.equal(compare('m1', 'other'), 'conflict')
    t.equal(compare('m2', 'hello'), 'first')
  })

  t.test('does not begin one that was cancelled, where the cancel comes first', async t => {
    const known = new KnownBroadcasts()
    t.strictSame(take(known, cancelled('m1')), { type: 'cancel', key: 'm1' })
    t.equal(take(known, requested('m1')), undefined)
    t.match(known.describe('m1', [], 300), { state: 'cancelled' })
  })

  t.test('tells how far each node is', async t => {
    const known = new KnownBroadcasts()
    t.equal(known.describe('m1', [], 100), undefined)
    for (const each of [
      started('b', 1), started('ahead', hour), requested('m1', { regions: ['eu'] }), reported('a', 'running', 3, 4),
      started('later', 7), started('b', 1),
    ]) take(known, each)
    const rows = [
      row('a'), row('b'), row('ahead', { epoch: hour }), row('later', { epoch: 7 }), row('us', { region: 'us' }), row('dead', { alive: false }),
      row('no edge', { wsUrl: '' }),
    ]
    t.match(known.describe('m1', rows, 200), {
      state: 'running',
      sent: 3,
      left: 4,
      nodes: [
        { nodeId: 'a', state: 'running', sent: 3, left: 4 },
        { nodeId: 'ahead', state: 'waiting' },
        { nodeId: 'b', state: 'waiting', sent: 0, left: 0 },
      ],
    }, 'by the order of the stream: of those that were there before it, whatever their clocks say')
    t.strictSame(known.running(rows, 200), ['m1'])
    for (const each of [reported('a', 'done', 5), reported('b', 'done', 7), reported('ahead', 'done', 0)]) take(known, each)
    t.match(known.describe('m1', rows, 200), { state: 'done', sent: 12, left: 0 })
    t.strictSame(known.running(rows, 200), [])
  })

  t.test('lasts from when it was read, however far off the clock of whoever asked is', async t => {
    for (const offMs of [-2 * hour, 0, 2 * hour]) {
      const known = new KnownBroadcasts()
      const entry = { ...requested('m1'), atMs: 1_700_000_000_000 + offMs }
      t.match(take(known, entry, 5_000), { type: 'begin', broadcast: { requestedAtMs: entry.atMs, endsAtMs: 5_000 + hour } })
      const state = (nowMs: number) => known.describe('m1', [row('b')], nowMs)?.state
      t.strictSame([state(5_000), state(4_999 + hour), state(5_000 + hour)], ['running', 'running', 'expired'])
    }
    const old = new KnownBroadcasts()
    old.take(requested('m1'), { nowMs: 5_000, ageMs: hour - 1 })
    t.match(old.describe('m1', [row('b')], 5_001), { state: 'expired' }, 'of one that was there before only its time tells')
  })

  t.test('names who asked for it, and who cancelled it', async t => {
    const known = new KnownBroadcasts()
    take(known, requested('m1', { by: 'k1' }))
    t.match(known.describe('m1', [], 200), { by: 'k1', cancelled: undefined })
    for (const by of ['k2', 'k3']) {
      take(known, entry('asked', 200, { type: 'BroadcastCancelled', app: '', messageId: 'm1', by, reason: 'enough' }))
    }
    t.match(known.describe('m1', [], 200), { by: 'k1', cancelled: { by: 'k2', reason: 'enough', atMs: 200 } }, 'the first one')
  })

  t.test('is over where nobody is left to go on', async t => {
    const states = (row: NodeRow, nowMs: number) => {
      const known = new KnownBroadcasts()
      for (const each of [requested('m1'), reported('a', 'running', 3, 4)]) take(known, each)
      const info = known.describe('m1', [row], nowMs)
      return [info?.state, info?.nodes[0]?.state]
    }
    t.strictSame(states(row('a'), 200), ['running', 'running'])
    t.strictSame(states(row('a', { alive: false }), 200), ['done', 'gone'])
    t.strictSame(states(row('a', { epoch: 2 }), 200), ['done', 'gone'], 'it has started again')
    t.strictSame(states(row('a'), 100 + hour), ['expired', 'running'], 'it has not said yet that it has stopped')
  })

  t.test('is expired where a node did not begin in time', async t => {
    const known = new KnownBroadcasts()
    for (const each of [requested('m1'), reported('a', 'done', 3)]) take(known, each)
    t.match(known.describe('m1', [row('a'), row('b')], 100 + hour), { state: 'expired', nodes: [{}, { state: 'expired' }] })
  })

  t.test('has the last 256', async t => {
    const known = new KnownBroadcasts()
    for (let i = 0; i < 257; i++) take(known, requested(`m${i}`))
    t.equal(known.describe('m0', [], 200), undefined)
    t.match(known.describe('m1', [], 200), { messageId: 'm1' })
  })

  t.test('has those that run, however many come after them', async t => {
    const known = new KnownBroadcasts()
    const has = (key: string) => known.describe(key, [], 200) !== undefined
    for (const id of ['slow', 'over', 'ended', 'cancelled']) take(known, requested(id, id === 'over' ? { ttlMs: 10 } : {}))
    for (const id of ['slow', 'over', 'ended', 'cancelled']) take(known, reported('a', 'running', 1, 2, id))
    for (const each of [reported('a', 'done', 3, 0, 'ended'), cancelled('cancelled')]) take(known, each)
    for (let i = 0; i < 255; i++) take(known, { ...requested(`m${i}`), atMs: 150 })
    t.strictSame(['slow', 'over', 'ended', 'cancelled'].map(has), [true, false, false, false])
    for (let i = 255; i < 600; i++) {
      take(known, requested(`m${i}`))
      take(known, reported('a', 'running', 0, 1, `m${i}`))
    }
    t.notOk(has('slow'), 'where all run, the oldest goes all the same')
    t.ok(has('m599'))
  })

  t.test('tells that every edge refused one, whose id may then be had again', async t => {
    const known = new KnownBroadcasts()
    const rows = [row('a'), row('b')]
    const compare = () => known.compare({ key: 'm1', service: 'news', payload: Buffer.from('other') }, rows, 200)
    for (const each of [requested('m1'), reported('a', 'refused', 0, 4)]) take(known, each)
    t.match(known.describe('m1', rows, 200), { state: 'running' }, 'the other one has not told')
    t.equal(compare(), 'conflict')
    take(known, reported('b', 'refused', 0, 7))
    t.match(known.describe('m1', rows, 200), { state: 'refused', sent: 0, left: 11 })
    t.match(known.describe('m1', rows, 100 + hour), { state: 'refused' })
    t.equal(compare(), 'first')
    t.match(take(known, requested('m1', { payload: Buffer.from('other') })), { type: 'begin', broadcast: { key: 'm1' } })
    t.equal(compare(), 'duplicate')
    t.match(known.describe('m1', rows, 200), { state: 'running', nodes: [{ state: 'waiting' }, { state: 'waiting' }] })
    for (const each of [reported('a', 'refused', 0, 4), reported('b', 'done', 7)]) take(known, each)
    t.match(known.describe('m1', rows, 200), { state: 'done', sent: 7, left: 4 }, 'who got it had it')
    t.equal(take(known, requested('m1')), undefined)
  })

  t.test('is the same in whichever order partitions are read, and whatever comes twice', async t => {
    const rows = [row('a'), row('b')]
    const streams = [
      [requested('m1'), cancelled('m1'), requested('m2')],
      [reported('a', 'running', 1, 2), reported('a', 'done', 3), reported('a', 'done', 1, 0, 'm2')],
      [reported('b', 'running', 1, 2), reported('b', 'cancelled', 2, 1)],
    ]
    const folded = (entries: readonly NodeEntry[]) => {
      const known = new KnownBroadcasts()
      const begun = new Set<string>()
      for (const each of entries) {
        const order = take(known, each)
        if (order?.type !== 'begin') continue
        t.notOk(begun.has(order.broadcast.key), 'begun once')
        begun.add(order.broadcast.key)
      }
      return ['m1', 'm2'].map(key => known.describe(key, rows, 300))
    }
    const whole = folded(streams.flat())
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(2), fc.boolean()), { minLength: 30, maxLength: 30 }), picks => {
      const rest = streams.map(each => [...each])
      const entries: NodeEntry[] = []
      for (const [pick, isRepeated] of picks) {
        const next = rest[pick]!.shift()
        if (next) entries.push(next, ...isRepeated ? [next] : [])
      }
      entries.push(...rest.flat())
      t.strictSame(folded(entries), whole)
    }), { numRuns: 50 })
  })
})
