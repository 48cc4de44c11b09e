import t from 'tap'
import { parseMoment } from '../../evidence/moment.js'
import { changesBetween } from '../../evidence/state-changes.js'
import { stateAt } from '../../evidence/state.js'
import { closed, minute, opened, redelivered, reported, requested, uplink } from '../actors/user/history.js'
import { StoredLog } from './stored-log.js'

t.test('The state of a user', async t => {
  const stored = await StoredLog.open(t)
  const { log } = stored
  await stored.at(1_000, 'ann', requested('early'))
  const open = await stored.at(2_000, 'ann', opened('c1'))
  await stored.at(2_500, 'bob', opened('b1'))
  const sent = await stored.at(3_000, 'ann', uplink('c1', 1), requested('m1'))
  await stored.at(4_000, 'ann', reported('c1', 2), closed('c1', { ackedSeq: 2, writtenSeq: 2 }), requested('m2'))
  const at = (text: string) => parseMoment(text, 10_000)

  await t.test('now is what all entries make of it', async t => {
    t.match(await stateAt(log, 'ann'), {
      userId: 'ann',
      asOf: { atMs: 4_000 },
      knownSince: null,
      userSeq: 1,
      connections: [],
      waiting: [],
      sessions: [{
        deviceId: 'phone',
        platform: 'ios',
        sessionId: 's1',
        connectionId: '',
        uplinkSeq: 1,
        nextSeq: 3,
        ackedSeq: 2,
        missed: 0,
        outbox: [{ messageId: 'm2', seq: 0, requestedAtMs: 4_000, expiresAtMs: 4_000 + 60 * minute }],
      }],
    })
  })
  await t.test('at a time has no entry that is later', async t => {
    t.match(await stateAt(log, 'ann', at('8s')), {
      asOf: { atMs: 2_000, position: open },
      userSeq: 0,
      connections: [{ connectionId: 'c1', nodeId: 'n1' }],
      sessions: [{ connectionId: 'c1', nodeId: 'n1', outbox: [{ messageId: 'early', seq: 1 }] }],
    })
    t.match(await stateAt(log, 'ann', at('9s')), { sessions: [], waiting: [{ messageId: 'early' }] })
    t.match(await stateAt(log, 'ann', at('1969-01-01')), { asOf: null, sessions: [], waiting: [] })
  })
  await t.test('at a position has the entry there, and no later one', async t => {
    t.match(await stateAt(log, 'ann', at(sent)), {
      asOf: { position: sent }, userSeq: 1, sessions: [{ outbox: [{ messageId: 'early' }, { messageId: 'm1', seq: 2 }] }],
    })
    t.match(await stateAt(log, 'ann', at(sent.replace(/\..*/, ''))), { asOf: { position: sent } })
  })
  await t.test('is refused at a position that is another partition\'s or not written yet', async t => {
    const own = Number(sent.split('@')[0])
    await t.rejects(stateAt(log, 'ann', at(`${1 - own}@0`)), { code: 'bad-request', message: /want one of \d/ })
    await t.rejects(stateAt(log, 'ann', at(`${own}@99`)), { code: 'bad-request', message: /the ledger ends before/ })
  })
  await t.test('of somebody who is not known is empty', async t => {
    t.match(await stateAt(log, 'nobody'), { asOf: null, userSeq: 0, sessions: [], connections: [], waiting: [] })
  })
})

t.test('What changed between two states', async t => {
  const stored = await StoredLog.open(t)
  await stored.at(1_000, 'ann', opened('c1'), requested('m1'))
  const before = await stateAt(stored.log, 'ann')
  await stored.at(2_000, 'ann', reported('c1', 1), requested('m2'), opened('c2', { deviceId: 'pc', sessionId: 's2' }))
  const after = await stateAt(stored.log, 'ann')
  const lines = changesBetween(before, after).map(({ type, path }) => `${type} ${path.join('/')}`)

  await t.test('is named field by field, and whole where it came or went', async t => {
    t.strictSame(lines, [
      'changed sessions/phone/nextSeq', 'changed sessions/phone/ackedSeq', 'removed sessions/phone/outbox/m1',
      'added sessions/phone/outbox/m2', 'added sessions/pc', 'added connections/c2',
    ])
    t.match(changesBetween(before, after)[0], { before: 2, after: 3 })
  })
  await t.test('is nothing where nothing happened', async t => {
    t.strictSame(changesBetween(after, after), [])
  })
  await t.test('tells a downlink from its own redelivery', async t => {
    await stored.at(3_000, 'ann', redelivered('m2', 'r1'))
    const again = await stateAt(stored.log, 'ann')
    t.match(changesBetween(after, again), [{ path: ['sessions', 'phone', 'nextSeq'] }, {
      type: 'added', path: ['sessions', 'phone', 'outbox', 'm2 (2)'], after: { seq: 3 },
    }])
  })
})

t.test('A ledger whose beginning is deleted', async t => {
  await t.test('says since when the state is known', async t => {
    const stored = await StoredLog.open(t, 1_000)
    const first = await stored.at(1_000, 'ann', opened('c1'))
    const kept = await stored.at(5_000, 'ann', opened('c2', { deviceId: 'pc', sessionId: 's2' }))
    await stored.log.sweep()
    t.match(await stateAt(stored.log, 'ann'), {
      knownSince: { position: kept.replace(/\..*/, ''), atMs: 5_000 }, sessions: [{ deviceId: 'pc' }],
    })
    await t.rejects(stateAt(stored.log, 'ann', parseMoment(first, 0)), { code: 'not-found', message: /no longer kept/ })
  })
})

t.test('A moment', async t => {
  await t.test('is a time or a position', async t => {
    t.strictSame(parseMoment('2h', 7_200_000), { type: 'time', atMs: 0 })
    t.strictSame(parseMoment('1970-01-01T00:00:01.500Z', 0), { type: 'time', atMs: 1_500 })
    t.strictSame(parseMoment('3@1021', 0),
      { type: 'position', position: { partition: 3, offset: 1021n, index: 0 }, wholeBlock: true })
    t.strictSame(parseMoment('3@1021.0', 0),
      { type: 'position', position: { partition: 3, offset: 1021n, index: 0 }, wholeBlock: false })
  })
  for (const text of ['', 'yesterday', '2 h', '-1000', '3@', '2026-13-01', '1021']) {
    await t.test(`is not "${text}"`, async t => {
      t.throws(() => parseMoment(text, 0), { message: /want a time .* or a position/ })
    })
  }
})
