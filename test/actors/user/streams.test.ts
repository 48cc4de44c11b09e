import t from 'tap'
import { dueFactOf } from '../../../actors/user/due.js'
import { savedStateOf, stateOf } from '../../../actors/user/parts.js'
import type { UserState } from '../../../actors/user/state.js'
import type { AbsenceEnded, ConnectionOpened, Entry, Fact, HandOverDue } from '../../../schemas/facts.js'
import {
  at, banned, closed, given, kicked, minute, opened as openedSilently, play, redelivered, reported, requested, shortly,
  skipped,
} from './history.js'

/* What business services hear of a user: the streams presence, receipts and offline. */

const opened = (connectionId: string, more: Partial<ConnectionOpened> = {}) =>
  openedSilently(connectionId, { presence: true, ...more })
const told = (messageId: string, more: object = {}) => requested(messageId, { receipts: true, ...more })
const absence = (sinceMs: number, more: Partial<AbsenceEnded> = {}): AbsenceEnded =>
  ({ type: 'AbsenceEnded', deviceId: 'phone', connectionId: 'c1', code: 'connection-lost', sinceMs, ...more })
const due = (messageId: string, requestedAtMs: number): HandOverDue =>
  ({ type: 'HandOverDue', messageId, requestedAtMs, payload: Buffer.from(messageId) })

/** The records of these streams that come of a history, in short. */
function heard (...history: Array<Fact | Entry>): string[] {
  return heardBy(given(), ...history)
}

function heardBy (state: UserState, ...history: Array<Fact | Entry>): string[] {
  return play(state, history).filter(({ type }) => type === 'publish')
    .map(effect => shortly(effect).slice('publish '.length))
}

t.test('presence', async t => {
  t.test('tells when a device comes and goes, and the user with it', async t => {
    t.strictSame(heard(opened('c1'), closed('c1', { code: 'connection-lost' })), [
      'presence 1 phone online user connected @0', 'presence 2 phone offline user connection-lost @1000',
    ])
  })
  t.test('tells of a second device that the user was there already, and of the first that he still is', async t => {
    t.strictSame(heard(opened('c1'), opened('c2', { deviceId: 'pad', sessionId: 's2' }), closed('c1'), closed('c2')), [
      'presence 1 phone online user connected @0',
      'presence 2 pad online connected @1000',
      'presence 3 phone offline disconnected @2000',
      'presence 4 pad offline user disconnected @3000',
    ])
  })
  t.test('does not change when a device takes over from itself, or moves', async t => {
    t.strictSame(heard(opened('c1'), opened('c2', { nodeId: 'n2' }), closed('c1', { code: 'superseded' }), closed('c2')), [
      'presence 1 phone online user connected @0', 'presence 2 phone offline user disconnected @3000',
    ])
  })
  t.test('is told by the end of the newer connection, whichever ends first', async t => {
    t.strictSame(heard(opened('c1'), opened('c2'), closed('c2', { code: 'connection-lost' }), closed('c1')), [
      'presence 1 phone online user connected @0', 'presence 2 phone offline user connection-lost @2000',
    ])
    t.strictSame(heard(opened('c1'), opened('c2'), kicked('k1'), closed('c1', { code: 'superseded' }),
      closed('c2', { code: 'kicked' })), [
      'presence 1 phone online user connected @0', 'presence 2 phone offline user kicked @4000',
    ])
  })
  t.test('knows nothing of a connection that is kept out', async t => {
    t.strictSame(heard(banned('b1'), opened('c1'), closed('c1', { code: 'banned' })), [])
  })
  t.test('hears a repeat once', async t => {
    t.strictSame(heard(opened('c1'), opened('c1'), closed('c1'), closed('c1'), opened('c1')).length, 2)
  })
  t.test('hears an end that comes before its beginning not at all', async t => {
    t.strictSame(heard(closed('c1'), opened('c1')), [])
  })
  t.test('is told that a device went which had to make room, or ended its session', async t => {
    const devices = Array.from({ length: 65 }, (_, i) => opened(`c${i}`, { deviceId: `d${i}`, sessionId: `s${i}` }))
    t.strictSame(heard(...devices).slice(64), [
      'presence 65 d0 offline kicked @64000', 'presence 66 d64 online connected @64000',
    ])
    t.strictSame(heard(opened('c1'), closed('c1', { endSession: true, presenceGraceMs: 5_000 })).slice(1),
      ['presence 2 phone offline user disconnected @1000'])
  })
  t.test('says nothing where its connections say that it is off, but the end of what it has told', async t => {
    t.strictSame(heard(openedSilently('c1'), closed('c1')), [])
    t.strictSame(heard(opened('c1'), openedSilently('c2'), closed('c2')).length, 2)
  })

  t.test('with a grace', async t => {
    const lost = closed('c1', { code: 'connection-lost', presenceGraceMs: 5_000 })
    t.test('says nothing of a device that comes back', async t => {
      t.strictSame(heard(opened('c1'), lost, opened('c2')), ['presence 1 phone online user connected @0'])
    })
    t.test('says that it went, when it did, once the grace is over', async t => {
      t.strictSame(heard(opened('c1'), lost, at(6_500, absence(1_000)), at(6_600, absence(1_000))), [
        'presence 1 phone online user connected @0', 'presence 2 phone offline user connection-lost @1000',
      ])
    })
    t.test('goes by the end of the newer connection, whichever ends first', async t => {
      const newer = closed('c2', { code: 'connection-lost', presenceGraceMs: 5_000 })
      for (const older of [
        closed('c1', { code: 'superseded', presenceGraceMs: 5_000 }), closed('c1', { code: 'kicked' }),
      ]) {
        const state = given(opened('c1'), opened('c2'))
        t.strictSame(heardBy(state, at(2_000, newer), at(3_000, older)), [])
        t.equal(state.sessions.get('phone')!.touchedAtMs, 2_000)
        t.equal(dueFactOf(state, at(3_000, older)), undefined)
        t.strictSame(dueFactOf(state, at(2_000, newer)), absence(2_000, { connectionId: 'c2' }))
        t.strictSame(heardBy(state, at(4_000, opened('c3'))), [], 'it has come back in time')
      }
      const state = given(opened('c1'), opened('c2'))
      play(state, [at(2_000, newer), at(2_000, closed('c1', { code: 'superseded', presenceGraceMs: 5_000 }))])
      t.equal(dueFactOf(state, at(2_000, closed('c1', { presenceGraceMs: 5_000 }))), undefined, 'nor at the same time')
    })
    t.test('knows nothing of a connection that never had the session', async t => {
      const [ahead, refused] = [opened('c2', { downlinkSeq: 9 }), closed('c2', { code: 'protocol' })]
      const last = absence(4_000)
      for (const history of [[ahead, refused, kicked('k1'), lost], [ahead, kicked('k1'), lost, refused]]) {
        const state = given(opened('c1'))
        t.strictSame(heardBy(state, ...history.map((fact, i) => at(fact === lost ? 4_000 : i, fact))), [])
        t.strictSame(heardBy(state, at(9_000, last)), ['presence 2 phone offline user connection-lost @4000'])
      }
      t.strictSame(heard(opened('c1'), ahead, refused, kicked('k1'), closed('c1', { code: 'kicked' })).slice(1),
        ['presence 2 phone offline user kicked @4000'], 'and none without a grace')
    })
    t.test('takes no absence for another one', async t => {
      const state = given(opened('c1'), lost, opened('c2'))
      t.strictSame(heardBy(state, absence(1_000)), [], 'it has come back')
      t.strictSame(heardBy(state, at(4_000, closed('c2', { presenceGraceMs: 5_000 })), absence(1_000)), [],
        'it has left again')
      t.strictSame(heardBy(state, absence(4_000, { connectionId: 'c2' })),
        ['presence 2 phone offline user connection-lost @4000'])
    })
  })
})

t.test('receipts', async t => {
  t.test('tell of each device how a downlink ended', async t => {
    t.strictSame(heard(openedSilently('c1'), openedSilently('c2', { deviceId: 'pad', sessionId: 's2' }), told('m1'),
      reported('c2', 1), skipped('c1', 1)), [
      'receipt 1 m1 pad#1 acked', 'receipt 2 m1 phone#1 skipped(skipped)',
    ])
  })
  t.test('tell of what was for nobody, expired or had to go', async t => {
    t.strictSame(heard(openedSilently('c1'), told('m1', { platforms: ['android'] }),
      told('m2', { ttlMs: 1 }), closed('c1', { endSession: true })), [
      'receipt 1 m1 #0 dropped(no-target)', 'receipt 2 m2 phone#1 dropped(session-ended)',
    ])
    t.strictSame(heard(told('m1', { ttlMs: 1 }), openedSilently('c1')), ['receipt 1 m1 phone#0 expired(ttl)'])
  })
  t.test('say when it was requested and when it ended', async t => {
    const [, , settled] = play(given(), [openedSilently('c1'), told('m1', { service: 'chat' }), reported('c1', 1)])
      .filter(({ type }) => type === 'publish' || type === 'settle' || type === 'welcome')
    t.match(settled, { record: { userId: 'ann', service: 'chat', requestedAtMs: 1_000, settledAtMs: 2_000 } })
  })
  t.test('say nothing of a repeat, nor of a request that wants none', async t => {
    t.strictSame(heard(openedSilently('c1'), told('m1'), told('m1'), reported('c1', 1)), ['receipt 1 m1 phone#1 acked'])
    t.strictSame(heard(openedSilently('c1'), requested('m1'), reported('c1', 1)), [])
  })
  t.test('tell of a redelivery as well', async t => {
    const again = { ...redelivered('m1'), receipts: true }
    t.strictSame(heard(openedSilently('c1'), requested('m1'), reported('c1', 1), again, reported('c1', 2)),
      ['receipt 1 m1 phone#2 acked'])
  })
})

t.test('offline', async t => {
  const [phone, pad] = [openedSilently('c1'), openedSilently('c2', { deviceId: 'pad', sessionId: 's2' })]
  t.test('has a downlink that no device acked, once, and for whom it waits', async t => {
    t.strictSame(heard(phone, pad, requested('m1'), due('m1', 2_000), due('m1', 2_000)), ['offline 1 m1 due phone,pad'])
  })
  t.test('has one whose user had no device yet', async t => {
    t.strictSame(heard(requested('m1'), due('m1', 0)), ['offline 1 m1 due '])
  })
  t.test('has its payload and its times', async t => {
    const effects = play(given(), [requested('m1', { service: 'chat', ttlMs: minute }), at(9_000, due('m1', 0))])
    t.match(effects, [{
      record: { service: 'chat', payload: Buffer.from('m1'), requestedAtMs: 0, expiresAtMs: minute, atMs: 9_000 },
    }])
  })
  t.test('has none that one device acked, that is gone, or that is another one', async t => {
    t.strictSame(heard(phone, pad, requested('m1'), reported('c1', 1), due('m1', 2_000)), [])
    t.strictSame(heard(phone, requested('m1'), closed('c1', { endSession: true }), due('m1', 1_000)), [])
    t.strictSame(heard(phone, requested('m1'), due('m1', 7), due('m2', 1_000)), [])
  })
  t.test('takes back what a device acks after all, once', async t => {
    t.strictSame(heard(phone, pad, requested('m1'), due('m1', 2_000), reported('c2', 1), reported('c1', 1),
      due('m1', 2_000)), ['offline 1 m1 due phone,pad', 'offline 2 m1 withdrawn(acked) pad'])
  })
  t.test('keeps what ends without an ack', async t => {
    t.strictSame(heard(phone, requested('m1'), due('m1', 1_000), skipped('c1', 1)), ['offline 1 m1 due phone'])
  })
})

t.test('what was heard is saved with the state', async t => {
  const before = [
    opened('c1'), openedSilently('c2', { deviceId: 'pad', sessionId: 's2' }),
    told('m1'), told('m2'), told('m3'), reported('c2', 1), due('m2', 3_000),
  ]
  const after = [
    due('m1', 2_000), due('m2', 3_000), due('m3', 4_000), reported('c1', 3),
    at(9_000, closed('c1', { presenceGraceMs: 5 })), absence(9_000),
  ]
  const state = given(...before)
  const expected = heardBy(given(...before), ...after)
  t.strictSame(heardBy(stateOf(savedStateOf(state)), ...after), expected)
  t.strictSame(expected, [
    'offline 2 m3 due phone,pad',
    'receipt 2 m1 phone#1 acked',
    'receipt 3 m2 phone#2 acked',
    'offline 3 m2 withdrawn(acked) phone',
    'receipt 4 m3 phone#3 acked',
    'offline 4 m3 withdrawn(acked) phone',
    'presence 2 phone offline user connection-lost @9000',
  ])
})
