import t, { type Test } from 'tap'
import type { Connection } from '../../../actors/connection/connection.js'
import type { Broadcast } from '../../../gateway/broadcasts/known.js'
import { EdgeBroadcasts } from '../../../gateway/edge/broadcasts.js'
import { appOf } from '../../../schemas/apps.js'
import type { BroadcastReported } from '../../../schemas/node-facts.js'
import { until } from '../node.js'

interface Fake {
  readonly userId: string
  readonly platform: string
  readonly queuedBytes: number
  isOpen: boolean
  isOver: boolean
  readonly got: string[]
}

function given (t: Test, connections: Fake[] = [], region = 'eu') {
  const all = new Set<Fake>(connections)
  const asConnection = new Map<Fake, Connection>()
  const connectionOf = (fake: Fake): Connection => {
    let connection = asConnection.get(fake)
    if (!connection) {
      connection = {
        userId: fake.userId,
        platform: fake.platform,
        life: { get isOpen () { return fake.isOpen }, get isOver () { return fake.isOver } },
        wire: { get queuedBytes () { return fake.queuedBytes }, flush () {} },
        writeSignal ({ payload }: { payload: Uint8Array }) {
          turns.set(turn, (turns.get(turn) ?? 0) + 1)
          fake.got.push(String(payload))
        },
      } as unknown as Connection
      asConnection.set(fake, connection)
    }
    return connection
  }
  // Counts turns of the event loop, and what was written in each.
  const turns = new Map<number, number>()
  let turn = 0
  let isOver = false
  const count = () => { turn++; if (!isOver) setImmediate(count) }
  setImmediate(count)
  const reports: BroadcastReported[] = []
  const edge = new EdgeBroadcasts({
    * all () { for (const fake of all) yield connectionOf(fake) },
    connectionsOf: app => [...all].filter(({ userId }) => appOf(userId) === app).length,
    region,
    report (fact) { reports.push(fact) },
    count: { signals: 0, broadcastsSent: 0, broadcastsSlow: 0 },
  })
  t.teardown(() => { isOver = true; edge.stop() })
  return { edge, all, reports, turns, last: () => reports.at(-1)! }
}

function fakes (count: number, fields: Partial<Fake> = {}): Fake[] {
  return Array.from({ length: count }, (_, i) =>
    ({ userId: `u${i}`, platform: 'ios', queuedBytes: 0, isOpen: true, isOver: false, ...fields, got: [] }))
}

function broadcast (messageId: string, fields: Partial<Broadcast> = {}): Broadcast {
  return {
    app: '',
    messageId,
    key: messageId,
    service: '',
    payload: Buffer.from(messageId),
    platforms: [],
    regions: [],
    perSecond: 10_000,
    ttlMs: 60_000,
    by: '',
    requestedAtMs: Date.now(),
    endsAtMs: performance.now() + 60_000,
    ...fields,
  }
}

t.test('Broadcasts of an edge', async t => {
  t.test('reach each connection once, and no more than 64 in one turn of the event loop', async t => {
    const connections = fakes(1_000)
    const { edge, last, turns } = given(t, connections)
    for (const messageId of ['m1', 'm2']) edge.take({ type: 'begin', broadcast: broadcast(messageId) })
    await until('both are done', () => edge.running === 0)
    t.ok(connections.every(({ got }) => got.toSorted().join() === 'm1,m2'))
    t.ok(Math.max(...turns.values()) <= 64, `${Math.max(...turns.values())} in one turn`)
    t.strictSame(last(), { type: 'BroadcastReported', app: '', messageId: last().messageId, state: 'done', sent: 1_000, slow: 0, left: 0 })
  })

  t.test('go at their pace, and end when they are cancelled', async t => {
    const connections = fakes(1_000)
    const { edge, reports, last } = given(t, connections)
    edge.take({ type: 'begin', broadcast: broadcast('m1', { perSecond: 50 }) })
    const startMs = performance.now()
    await until('some have it', () => connections[9]!.got.length > 0)
    edge.take({ type: 'cancel', key: 'm1' })
    const seconds = (performance.now() - startMs) / 1_000
    const { sent, left } = last()
    t.ok(sent >= 10 && sent <= 1 + 50 * seconds + 5, `${sent} in ${seconds} s`)
    t.equal(left, 1_000 - sent)
    t.strictSame(reports.map(({ state }) => state), ['running', 'cancelled'])
    await new Promise(resolve => setTimeout(resolve, 100))
    t.equal(connections.filter(({ got }) => got.length > 0).length, sent, 'nobody gets it later')
  })

  t.test('leave out other apps, other platforms, and clients that do not read', async t => {
    const [right, other, app, slow] = [
      ...fakes(1), ...fakes(1, { platform: 'web' }), ...fakes(1, { userId: 'shop\u001fann' }),
      ...fakes(1, { queuedBytes: 256 << 10 }),
    ] as [Fake, Fake, Fake, Fake]
    const { edge, last } = given(t, [right, other, app, slow])
    edge.take({ type: 'begin', broadcast: broadcast('m1', { platforms: ['ios'] }) })
    await until('it is done', () => edge.running === 0)
    t.strictSame([right, other, app, slow].map(({ got }) => got.length), [1, 0, 0, 0])
    t.match(last(), { sent: 1, slow: 1 })
    edge.take({ type: 'begin', broadcast: broadcast('m2', { app: 'shop', key: 'shop\u001fm2' }) })
    await until('it is done', () => edge.running === 0)
    t.strictSame([right, app].map(({ got }) => got), [['m1'], ['m2']])
  })

  t.test('wait for those in their handshake, and take those that come meanwhile', async t => {
    const [opening, failing] = fakes(2, { isOpen: false }) as [Fake, Fake]
    const { edge, all } = given(t, [...fakes(3), opening, failing])
    edge.take({ type: 'begin', broadcast: broadcast('m1', { perSecond: 100 }) })
    const [late] = fakes(1) as [Fake]
    all.add(late)
    await until('the late one has it', () => late.got.length > 0)
    t.equal(edge.running, 1, 'not all of them have it')
    opening.isOpen = true
    failing.isOver = true
    await until('it is done', () => edge.running === 0)
    t.strictSame([opening, failing, late].map(({ got }) => got.length), [1, 0, 1])
  })

  t.test('are of the regions that they name', async t => {
    const connections = fakes(1)
    const { edge, reports } = given(t, connections)
    edge.take({ type: 'begin', broadcast: broadcast('m1', { regions: ['us'] }) })
    t.equal(edge.running, 0)
    t.strictSame(reports, [])
    edge.take({ type: 'begin', broadcast: broadcast('m2', { regions: ['us', 'eu'] }) })
    await until('it is done', () => edge.running === 0)
    t.strictSame(connections[0]!.got, ['m2'])
  })

  t.test('expire, before they begin and on their way', async t => {
    const { edge, reports, last } = given(t, fakes(100))
    edge.take({ type: 'begin', broadcast: broadcast('m1', { endsAtMs: performance.now() }) })
    t.match(last(), { messageId: 'm1', state: 'expired', sent: 0 })
    edge.take({ type: 'begin', broadcast: broadcast('m2', { perSecond: 1, endsAtMs: performance.now() + 100 }) })
    await until('it is over', () => edge.running === 0)
    t.match(last(), { messageId: 'm2', state: 'expired' })
    t.ok(last().sent < 10)
    t.equal(reports.length, 3)
  })

  t.test('run once at a time, whatever is asked again', async t => {
    const connections = fakes(30)
    const { edge, reports } = given(t, connections)
    for (let i = 0; i < 2; i++) edge.take({ type: 'begin', broadcast: broadcast('m1', { perSecond: 200 }) })
    t.equal(reports.length, 1)
    await until('it is done', () => edge.running === 0)
    t.ok(connections.every(({ got }) => got.length === 1))
  })

  t.test('count the connections of their app alone', async t => {
    const { edge, last } = given(t, [...fakes(40), ...fakes(3, { userId: 'shop\u001fann' })])
    edge.take({ type: 'begin', broadcast: broadcast('m1', { app: 'shop', key: 'shop\u001fm1', perSecond: 1 }) })
    t.match(last(), { app: 'shop', state: 'running', left: 3 })
    await new Promise(resolve => setTimeout(resolve, 100))
    edge.take({ type: 'cancel', key: 'shop\u001fm1' })
    t.match(last(), { state: 'cancelled', sent: 1, left: 2 })
  })

  t.test('have room for each app', async t => {
    const { edge, reports } = given(t, fakes(100))
    const states = (app: string, count: number) => {
      const from = reports.length
      for (let i = 0; i < count; i++) {
        edge.take({ type: 'begin', broadcast: broadcast(`m${i}`, { app, key: `${app}\u001fm${i}`, perSecond: 1 }) })
      }
      return reports.slice(from).map(({ state }) => state)
    }
    const full = [...Array.from({ length: 16 }, () => 'running'), 'refused']
    for (const app of ['a', 'b', 'c', 'd']) t.strictSame(states(app, 17), full)
    t.strictSame(states('e', 2), ['running', 'refused'])
  })

  t.test('are refused where 16 run', async t => {
    const { edge, last } = given(t, fakes(100))
    for (let i = 0; i < 16; i++) edge.take({ type: 'begin', broadcast: broadcast(`m${i}`, { perSecond: 1 }) })
    edge.take({ type: 'begin', broadcast: broadcast('m16') })
    t.match(last(), { messageId: 'm16', state: 'refused', sent: 0, left: 100 })
    t.equal(edge.running, 16)
  })
})
