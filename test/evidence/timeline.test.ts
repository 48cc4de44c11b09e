import t from 'tap'
import { parseMoment } from '../../evidence/moment.js'
import { timelineOf } from '../../evidence/timeline.js'
import type { Block, LogReader } from '../../ledger/log.js'
import { poison } from '../actors/given.js'
import {
  at, banned, closed, granted, kicked, opened, redelivered, refused, reported, requested, skipped, uplink,
} from '../actors/user/history.js'
import { StoredLog } from './stored-log.js'

const marksMax = 1_000

t.test('The timeline of a user', async t => {
  const stored = await StoredLog.open(t)
  const { log } = stored
  const words = async (userId: string, more: object = {}) => {
    const { marks } = await timelineOf(log, userId, { marksMax, ...more })
    return marks.map(({ atMs, event, messageId, seq, connectionId, code }) =>
      [atMs, event, messageId, seq, connectionId, code].filter(part => part !== '' && part !== 0).join(' '))
  }

  await t.test('has each step of its messages, with connection, seq and position', async t => {
    await stored.at(1_000, 'ann', requested('early'))
    await stored.at(2_000, 'ann', opened('c1'))
    await stored.at(2_500, 'bob', opened('b1'))
    const sent = await stored.at(3_000, 'ann', uplink('c1', 1), uplink('c1', 1), uplink('c1', 3), requested('m'))
    await stored.at(4_000, 'ann', reported('c1', 1, 2))
    await stored.at(5_000, 'ann', closed('c1', { writtenSeq: 2, ackedSeq: 1, code: 'heartbeat-timeout' }))
    await stored.at(6_000, 'ann', opened('c2', { downlinkSeq: 1 }), skipped('c2', 2))
    t.strictSame(await words('ann'), [
      '1000 requested early',
      '2000 opened c1',
      '2000 sent early 1 c1',
      '3000 uplink 1 c1',
      '3000 repeated 1 c1',
      '3000 gap 3 c1',
      '3000 requested m',
      '3000 sent m 2 c1',
      '4000 written early 1 c1',
      '4000 written m 2 c1',
      '4000 acked early 1 c1',
      '5000 closed c1 heartbeat-timeout',
      '6000 opened c2',
      '6000 sent m 2 c2',
      '6000 skipped m 2 c2 skipped',
    ])
    const { marks, connections, isKnown } = await timelineOf(log, 'ann', { marksMax })
    t.equal(marks[7]!.position, sent)
    t.match(connections, [
      { connectionId: 'c1', deviceId: 'phone', nodeId: 'n1', openedAtMs: 2_000, closedAtMs: 5_000, code: 'heartbeat-timeout' },
      { connectionId: 'c2', openedAtMs: 6_000, closedAtMs: null, code: '' },
    ])
    t.ok(isKnown)
  })

  await t.test('has what operators and edges did, and why', async t => {
    await stored.at(1_000, 'cid', opened('d1'), refused('d1', 4), granted('g1', 'hall'), kicked('k1'), banned('b1'))
    await stored.at(2_000, 'cid', closed('d1', { code: 'kicked' }), requested('x'), redelivered('x'))
    const { marks } = await timelineOf(log, 'cid', { marksMax })
    const told = marks.map(({ event, code, text }) => [event, code, text])
    t.match(told, [
      ['opened', '', 'began anew: ios, app/1 over tcp from 192.0.2.1:4000'],
      ['refused', 'throttled', '2 uplinks, 4 to 5'],
      ['room-granted', '', 'room hall, rw'],
      ['kick', '', 'an operator: test'],
      ['told-to-end', 'kicked', 'test'],
      ['banned', '', 'an operator: spam'],
      ['closed', 'kicked', /was kicked by an operator/],
      ['requested', '', ''],
    ])
    t.ok(told.some(([event]) => event === 'redelivered'))
  })

  await t.test('is cut to a range, and to the newest marks of it', async t => {
    const range = { since: parseMoment('1970-01-01T00:00:03Z', 10_000), until: parseMoment('1970-01-01T00:00:04Z', 10_000) }
    t.strictSame((await words('ann', range)).map(text => text.split(' ', 2).join(' ')), [
      '3000 uplink', '3000 repeated', '3000 gap', '3000 requested', '3000 sent', '4000 written', '4000 written', '4000 acked',
    ])
    const newest = await timelineOf(log, 'ann', { marksMax: 2 })
    t.strictSame([newest.marks.map(({ event }) => event), newest.more], [['sent', 'skipped'], 13])
    t.strictSame(newest.connections.map(({ connectionId }) => connectionId), ['c2'], 'c1 had ended by then')
    await t.rejects(timelineOf(log, 'ann', { marksMax, since: parseMoment('7@1', 0) }), { code: 'bad-request' })
  })

  await t.test('of nobody is empty', async t => {
    const nobody = await timelineOf(log, 'nobody', { marksMax })
    t.strictSame([nobody.marks, nobody.connections, nobody.isKnown], [[], [], false])
  })
})

t.test('A timeline goes on behind an entry that no fold survives, as the gateway did, and says so', async t => {
  const entries = [opened('c1'), poison('c1', 1), uplink('c1', 1)].map((fact, i) => at(1_000 * i, fact))
  const log: LogReader = {
    partitions: () => 1,
    bounds: async () => ({ first: 0n, next: BigInt(entries.length) }),
    offsetAt: async () => 0n,
    async * read (): AsyncGenerator<Block<any>> {
      for (const [i, entry] of entries.entries()) yield { partition: 0, offset: BigInt(i), items: [entry] }
    },
  }
  const { marks } = await timelineOf(log, 'ann', { marksMax })
  t.strictSame(marks.map(({ event, position }) => `${position} ${event}`), ['0@0.0 opened', '0@1.0 set-aside', '0@2.0 uplink'])
})
