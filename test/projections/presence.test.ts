import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { presence, presenceOf } from '../../projections/presence.js'
import type { Entry } from '../../schemas/facts.js'
import { closed, opened, story, uplink, withRepeats } from './given.js'
import { followedBy } from './followed-by.js'

t.test('ConnectionOpened', async t => {
  t.test('puts the session under the user, by connection', async t => {
    t.strictSame([...presence.project(opened('ann', 'c1', { atMs: 5 }))], [{
      type: 'put',
      key: 'ann',
      field: 'c1',
      value: {
        deviceId: 'phone',
        platform: 'ios',
        sessionId: 's1',
        client: 'app/1',
        transport: 'tcp',
        address: '192.0.2.1:4000',
        nodeId: 'n1',
        openedAtMs: 5,
      },
    }])
  })
})

t.test('ConnectionClosed', async t => {
  t.test('removes that connection alone and says when the user was last seen', async t => {
    const { tables } = await followedBy([presence], [[opened('ann', 'c1'), opened('ann', 'c2'), closed('ann', 'c1')]])
    const row = tables.dump('presence')['0/ann']!
    t.strictSame(Object.keys(row).sort(), ['c2', 'lastSeen'])
    t.strictSame(row.lastSeen, { atMs: 2000 })
  })

  t.test('is not undone by a late repeat of the opening, not even after a restart', async t => {
    const opening = opened('ann', 'c1')
    const { tables } = await followedBy([presence], [[opening], [closed('ann', 'c1')], [opening]], { restartAfter: [1] })
    t.equal(presenceOf('ann', await tables.get('presence', 0, 'ann')).online, false)
  })

  t.test('does not set lastSeen back when it is repeated late', async t => {
    const first = closed('ann', 'c1', { atMs: 10 })
    const { tables } = await followedBy([presence], [[first], [closed('ann', 'c2', { atMs: 20 })], [first]])
    t.strictSame(tables.dump('presence')['0/ann'], { lastSeen: { atMs: 20 } })
  })

  t.test('is remembered in a ring, which forgets the oldest first and goes on after a restart', async t => {
    const closings = Array.from({ length: 8200 }, (_, i) => closed(`u${i}`, `c${i}`))
    const { tables } = await followedBy([presence], [closings.slice(0, 5000), closings.slice(5000),
      [opened('u8', 'c8'), opened('u7', 'c7')]], { restartAfter: [0] })
    t.notOk(tables.dump('presence')['0/u8']!.c8, 'the 8192 newest are known')
    t.ok(tables.dump('presence')['0/u7']!.c7, 'the ones before are not')
    t.equal(Object.keys(tables.dump('presence')).filter(key => key.startsWith('0/closed:')).length, 128)
  })
})

t.test('an entry about anything else does not concern it', async t => {
  t.equal(presence.concerns(uplink('ann', 'c1')), false)
})

t.test('any order of opens and closes, with any repeats', async t => {
  t.test('gives the table of the same entries without the repeats', async t => {
    const restarts = fc.array(fc.nat(20), { maxLength: 3 })
    await fc.assert(fc.asyncProperty(withRepeats(story), restarts, async ({ items, blocks }, restartAfter) => {
      const { tables } = await followedBy([presence], blocks, { restartAfter })
      for (const userId of ['ann', 'bob', 'cleo']) {
        const fields = await tables.get('presence', 0, userId)
        assert.deepEqual(presenceOf(userId, fields), model(userId, items))
      }
    }))
  })
})

t.test('presenceOf', async t => {
  t.test('says offline and never seen of a user without a row', async t => {
    t.strictSame(presenceOf('ann', new Map()), { userId: 'ann', online: false, sessions: [], lastSeenAtMs: null })
  })

  t.test('lists the sessions from the oldest to the newest, which was the last sign of the user', async t => {
    const blocks = [[closed('ann', 'c0', { atMs: 5 }), opened('ann', 'c2', { atMs: 30 }), opened('ann', 'c1', { atMs: 20 })]]
    const { tables } = await followedBy([presence], blocks)
    const found = presenceOf('ann', await tables.get('presence', 0, 'ann'))
    t.strictSame(found.sessions.map(({ connectionId }) => connectionId), ['c1', 'c2'])
    t.match(found, { online: true, lastSeenAtMs: 30 })
  })

  t.test('is not confused by a user whose id is that of a row of closed connections', async t => {
    const { tables } = await followedBy([presence], [[closed('ann', 'c1'), opened('closed:0', 'c2')]])
    t.match(presenceOf('closed:0', await tables.get('presence', 0, 'closed:0')).sessions, [{ connectionId: 'c2' }])
  })
})

/** Presence, by hand: what one would write down while reading the entries. */
function model (userId: string, entries: readonly Entry[]) {
  const mine = entries.filter(entry => entry.userId === userId)
  const closings = mine.filter(({ fact }) => fact.type === 'ConnectionClosed')
  const isClosed = (id: string) => closings.some(({ fact }) => 'connectionId' in fact && fact.connectionId === id)
  const sessions = mine.flatMap(({ atMs, fact }) => {
    if (fact.type !== 'ConnectionOpened' || isClosed(fact.connectionId)) return []
    const { connectionId, deviceId, platform, sessionId, client, transport, address, nodeId } = fact
    return [{ connectionId, deviceId, platform, sessionId, client, transport, address, nodeId, openedAtMs: atMs }]
  }).sort((a, b) => a.openedAtMs - b.openedAtMs || (a.connectionId < b.connectionId ? -1 : 1))
  const signs = [...closings.slice(-1).map(({ atMs }) => atMs), ...sessions.map(({ openedAtMs }) => openedAtMs)]
  return { userId, online: sessions.length > 0, sessions, lastSeenAtMs: signs.length > 0 ? Math.max(...signs) : null }
}
