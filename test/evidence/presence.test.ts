import t from 'tap'
import { presenceAt, presenceOfUserAt } from '../../evidence/presence.js'
import type { NodeEntry, NodeStarted } from '../../schemas/node-facts.js'
import { closed, minute, opened } from '../actors/user/history.js'
import { StoredLog } from './stored-log.js'

const started: NodeStarted = {
  type: 'NodeStarted',
  region: 'local',
  roles: 'all',
  version: '1.2.3',
  wsUrl: 'ws://n1',
  tcpUrl: 'tcp://n1',
  connectionsMax: 10,
  leaseMs: 15_000,
}

function node (nodeId: string, atMs: number, fact: NodeEntry['fact']): NodeEntry {
  return { nodeId, epoch: 1, atMs, fact }
}

t.test('Presence at a time', async t => {
  const stored = await StoredLog.open(t)
  const { log } = stored
  await stored.node(node('n1', 0, started), node('n2', 0, started))
  await stored.at(minute, 'ann', opened('c1'))
  await stored.at(2 * minute, 'bob', opened('c2', { deviceId: 'pc', platform: 'web', transport: 'ws', nodeId: 'n2' }))
  await stored.at(3 * minute, 'ann', closed('c1'), opened('c3', { deviceId: 'pad' }))
  await stored.node(node('n2', 10 * minute, { type: 'NodeLost' }))
  await stored.at(10 * minute, 'bob', closed('c2', { code: 'node-lost' }), opened('c2', { deviceId: 'pc' }))

  await t.test('counts who was online, by node, platform and transport', async t => {
    t.match(await presenceAt(log, { atMs: 2 * minute }), {
      knownSinceMs: null,
      users: 2,
      connections: 2,
      byNode: { n1: 1, n2: 1 },
      byPlatform: { ios: 1, web: 1 },
      byTransport: { tcp: 1, ws: 1 },
      nodes: [{ nodeId: 'n1', state: 'up' }, { nodeId: 'n2', state: 'up' }],
    })
  })
  await t.test('has none of what came later, though the log was read a little further', async t => {
    t.match(await presenceAt(log, { atMs: minute - 1 }), { users: 0, connections: 0, byNode: {} })
    t.match(await presenceAt(log, { atMs: 3 * minute - 1 }), { connections: 2, byPlatform: { ios: 1, web: 1 } })
  })
  await t.test('at the end has lost nodes as lost, and no connection that a late repeat names', async t => {
    const { users, connections, nodes } = await presenceAt(log, { atMs: 20 * minute })
    t.strictSame({ users, connections }, { users: 1, connections: 1 })
    t.match(nodes, [{ nodeId: 'n1', state: 'up' }, { nodeId: 'n2', state: 'lost' }])
  })
  await t.test('tells one user\'s sessions, or when they were seen last', async t => {
    t.match(await presenceOfUserAt(log, 'ann', 2 * minute), { online: true, sessions: [{ connectionId: 'c1' }] })
    t.match(await presenceOfUserAt(log, 'ann', 4 * minute), { online: true, sessions: [{ deviceId: 'pad' }] })
    t.match(await presenceOfUserAt(log, 'bob', 20 * minute), { online: false, lastSeenAtMs: 10 * minute })
    t.match(await presenceOfUserAt(log, 'nobody', 20 * minute), { online: false, lastSeenAtMs: null })
  })
})

t.test('Presence in a ledger whose beginning is deleted', async t => {
  await t.test('says since when it is known', async t => {
    const stored = await StoredLog.open(t, 1_000)
    await stored.at(1_000, 'ann', opened('c1'))
    await stored.at(5_000, 'ann', opened('c2', { deviceId: 'pc' }))
    await stored.log.sweep()
    t.match(await presenceAt(stored.log, { atMs: 6_000 }), { knownSinceMs: 5_000, connections: 1 })
    t.match(await presenceOfUserAt(stored.log, 'ann', 6_000), { knownSinceMs: 5_000, sessions: [{ connectionId: 'c2' }] })
  })
})
