import t from 'tap'
import { bansMax } from '../../../actors/user/bans.js'
import { membershipsMax } from '../../../actors/user/memberships.js'
import { savedStateOf, stateOf } from '../../../actors/user/parts.js'
import { outboxMax, sessionsMax, type UserState } from '../../../actors/user/state.js'
import {
  at, banned, closed, effectsOf, given, granted, kicked, lifted, minute, opened, play, redelivered, renewed, reported,
  requested, revoked, shortly, skipped, uplink,
} from './history.js'

t.test('UplinkReceived', async t => {
  t.test('gets the next userSeq when its seq is the next one', async t => {
    const state = given(opened('c1'), uplink('c1', 1))
    t.strictSame(effectsOf(state, uplink('c1', 2)), ['publish phone 2=2', 'ack c1 2=2'])
  })
  t.test('shares the userSeq with the other devices of the user', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'pad' }), uplink('c1', 1), uplink('c2', 1))
    t.strictSame(effectsOf(state, uplink('c1', 2)), ['publish phone 2=3', 'ack c1 2=3'])
  })
  t.test('gets its first answer again when it is repeated', async t => {
    const state = given(opened('c1'), uplink('c1', 1), uplink('c1', 2))
    t.strictSame(effectsOf(state, uplink('c1', 1)), ['ack c1 1=1'])
  })
  t.test('gets an answer without its number when it is repeated long after', async t => {
    const state = given(opened('c1'), ...Array.from({ length: 20 }, (_, i) => uplink('c1', i + 1)))
    t.strictSame(effectsOf(state, uplink('c1', 1)), ['ack c1 1=0'])
    for (let seq = 17; seq <= 20; seq++) t.strictSame(effectsOf(state, uplink('c1', seq)), [`ack c1 ${seq}=${seq}`])
  })
  t.test('is refused with the expected seq after a gap', async t => {
    const state = given(opened('c1'), uplink('c1', 1))
    t.strictSame(effectsOf(state, uplink('c1', 3)), ['refuse c1 gap expected 2'])
    t.strictSame(effectsOf(state, uplink('c1', 2)), ['publish phone 2=2', 'ack c1 2=2'])
  })
  t.test('goes on on the next connection of the session', async t => {
    const state = given(opened('c1'), uplink('c1', 1), opened('c2'))
    t.strictSame(effectsOf(state, uplink('c2', 2)), ['publish phone 2=2', 'ack c2 2=2'])
  })
  t.test('that was under way on a connection since superseded is that of the later one', async t => {
    const state = given(opened('c1'), uplink('c1', 1), opened('c2'))
    t.strictSame(effectsOf(state, uplink('c1', 2)), [], 'it may stand for something that the device has forgotten')
    t.strictSame(effectsOf(state, uplink('c2', 2)), ['publish phone 2=2', 'ack c2 2=2'])
  })
  t.test('of a connection is not accepted behind a later one that has ended', async t => {
    const state = given(opened('c1'), opened('c2'), closed('c2'), closed('c1'))
    t.strictSame(effectsOf(state, uplink('c1', 1)), [])
  })
  t.test('is accepted behind the end of its connection where there is no later one', async t => {
    const state = given(opened('c1'), closed('c1'))
    t.strictSame(effectsOf(state, uplink('c1', 1)), ['publish phone 1=1', 'ack c1 1=1'])
  })
  t.test('that was under way is accepted once where the later connection does not take over, as before', async t => {
    const state = given(opened('c1'), opened('c2', { takesOver: false }))
    t.strictSame(effectsOf(state, uplink('c1', 1)), ['publish phone 1=1', 'ack c1 1=1'])
    t.strictSame(effectsOf(state, uplink('c2', 1)), ['ack c2 1=1'])
  })
  t.test('of a sessionId that the device has given up changes nothing', async t => {
    const state = given(opened('c1'), uplink('c1', 1), opened('c2', { sessionId: 's2' }))
    t.strictSame(effectsOf(state, uplink('c1', 2)), [])
    t.strictSame(effectsOf(state, uplink('c2', 1)), ['publish phone 1=2', 'ack c2 1=2'])
  })
  t.test('of a connection that the ledger never saw open changes nothing', async t => {
    t.strictSame(effectsOf(given(), uplink('c9', 1)), [])
  })
})

t.test('ConnectionOpened', async t => {
  t.test('is welcomed as new for a device never seen', async t => {
    t.strictSame(effectsOf(given(), opened('c1')), ['welcome c1 new up 0 down 0'])
  })
  t.test('is welcomed where the session stands for a device that returns', async t => {
    const state = given(opened('c1'), uplink('c1', 1), requested('m1'), requested('m2'), closed('c1', { ackedSeq: 1 }))
    t.strictSame(effectsOf(state, opened('c2', { downlinkSeq: 1 })), ['welcome c2 resumed up 1 down 1..2'])
  })
  t.test('begins the uplink numbers anew, and keeps the downlink numbers, for a new sessionId', async t => {
    const state = given(opened('c1'), uplink('c1', 1), requested('m1'), closed('c1', { ackedSeq: 1 }))
    t.strictSame(effectsOf(state, opened('c2', { sessionId: 's2' })), ['welcome c2 resumed up 0 down 1'])
  })
  t.test('acks what the client says it has processed', async t => {
    const state = given(opened('c1'), requested('m1'), requested('m2'), closed('c1'))
    t.strictSame(effectsOf(state, opened('c2', { downlinkSeq: 2 })),
      ['acked m1 phone#1', 'acked m2 phone#2', 'welcome c2 resumed up 0 down 2'])
  })
  t.test('supersedes the older connection of the same device', async t => {
    t.strictSame(effectsOf(given(opened('c1')), opened('c2')), ['close c1 superseded', 'welcome c2 resumed up 0 down 0'])
  })
  t.test('leaves other devices alone under policy device', async t => {
    t.strictSame(effectsOf(given(opened('c1')), opened('c2', { deviceId: 'pad' })), ['welcome c2 new up 0 down 0'])
  })
  t.test('kicks the same platform under policy platform', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'mac', platform: 'mac' }))
    t.strictSame(effectsOf(state, opened('c3', { deviceId: 'pad', loginPolicy: 'platform' })),
      ['close c1 kicked', 'welcome c3 new up 0 down 0'])
  })
  t.test('kicks every other connection under policy user', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'mac', platform: 'mac' }))
    t.strictSame(effectsOf(state, at(minute, opened('c3', { deviceId: 'pad', loginPolicy: 'user' }))),
      ['close c1 kicked', 'close c2 kicked', 'welcome c3 new up 0 down 0'])
  })
  t.test('ends no other device under policy none, and still supersedes its own', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'pad' }))
    t.strictSame(effectsOf(state, opened('c3', { loginPolicy: 'none' })),
      ['close c1 superseded', 'welcome c3 resumed up 0 down 0'])
  })
  t.test('ends the older connection a moment later, and for good, whose time is ahead of it by however much', async t => {
    for (const aheadMs of [1, minute, 2 * minute, 60 * minute]) {
      for (const nodeId of ['n1', 'n9']) {
        const state = given(at(60 * minute + aheadMs, opened('c1')), at(60 * minute + aheadMs, opened('c2', { deviceId: 'mac' })))
        const first = play(state, [at(60 * minute, opened('c3', { deviceId: 'mac', nodeId, loginPolicy: 'user' }))]).slice(0, 2)
        t.strictSame(first.map(effect => [shortly(effect), 'isDoubtful' in effect]),
          [['close c1 kicked', true], ['close c2 superseded', true]])
        t.strictSame(effectsOf(state, closed('c3', { told: true })), [], 'its client knew of it')
      }
    }
  })
  t.test('that was stored late sends nobody away for ever once its end follows, by one node as by two', async t => {
    for (const nodeId of ['n1', 'n9']) {
      const state = given(at(2_000, opened('c2')), at(2_000, opened('c3', { deviceId: 'pad' })))
      effectsOf(state, at(1_000, opened('c1', { nodeId, loginPolicy: 'user' })))
      t.strictSame(effectsOf(state, at(3_000, closed('c1', { told: false }))), ['close c2 internal', 'close c3 internal'])
      t.strictSame(effectsOf(state, at(3_000, opened('c4'))), ['welcome c4 resumed up 0 down 0'])
    }
  })
  t.test('by another node, of which its client was never told, sends nobody away for ever, whatever the clocks say', async t => {
    for (const lateAtMs of [3_000, 365 * 24 * 60 * minute]) {
      const state = given(at(2_000, opened('c2')), at(2_000, opened('c3', { deviceId: 'pad' })))
      t.strictSame(play(state, [at(lateAtMs, opened('c1', { nodeId: 'n9', loginPolicy: 'user' }))]).slice(0, 2).map(
        effect => [shortly(effect), 'isDoubtful' in effect]), [['close c2 superseded', true], ['close c3 kicked', true]])
      t.strictSame(effectsOf(state, at(lateAtMs, closed('c1', { told: false }))), ['close c2 internal', 'close c3 internal'])
      t.strictSame(effectsOf(state, at(3_000, opened('c4'))), ['welcome c4 resumed up 0 down 0'])
    }
  })
  t.test('by another node ends the older connection for good once its client is told', async t => {
    const state = given(at(1_000, opened('c1')), at(9_000, opened('c2', { nodeId: 'n9' })))
    t.strictSame(effectsOf(state, closed('c2', { told: true })), [])
    t.equal(state.connections.get('c1')!.endCode, 'superseded')
  })
  t.test('is compared with the one before it, and not with the end of an older one by a clock that is ahead', async t => {
    const state = given(at(1_000, opened('c1', { nodeId: 'n9' })), at(2_000, opened('c2')), at(90 * minute, closed('c1')))
    t.strictSame(effectsOf(state, at(3_000, opened('c3'))), ['close c2 superseded', 'welcome c3 resumed up 0 down 0'])
  })
  t.test('that is repeated late does not bring its closed connection back', async t => {
    const state = given(opened('c1'), closed('c1'))
    t.strictSame(effectsOf(state, opened('c1')), [])
    t.equal(state.sessions.get('phone')!.connectionId, '')
  })
  t.test('that comes after its own end finds the connection closed', async t => {
    const state = given(closed('c1'))
    t.strictSame(effectsOf(state, opened('c1')), [])
    t.equal(state.sessions.size, 0)
  })
  t.test('is refused when the client has processed more than was ever sent, and nobody is kicked for it', async t => {
    const state = given(opened('c1'), requested('m1'))
    t.strictSame(effectsOf(state, opened('c2', { downlinkSeq: 2 })), ['close c2 protocol'])
    t.strictSame(effectsOf(state, requested('m2')), ['deliver c1 2 m2'])
  })
  t.test('of a forgotten device goes on after the seq that it has seen', async t => {
    const state = given(opened('c1', { downlinkSeq: 57 }))
    t.strictSame(effectsOf(state, requested('m1')), ['deliver c1 58 m1'])
  })
  t.test('forgets the device that was away longest when there are too many', async t => {
    const state = given()
    for (let i = 0; i < sessionsMax; i++) {
      effectsOf(state, at(i, opened(`c${i}`, { deviceId: `d${i}` })))
      effectsOf(state, at(i, closed(`c${i}`)))
    }
    effectsOf(state, requested('m1'))
    t.match(effectsOf(state, at(minute, opened('cx', { deviceId: 'dx' }))),
      ['dropped(sessions-full) m1 d0#0', 'welcome cx new up 0 down 0'])
    t.equal(state.sessions.size, sessionsMax)
  })
})

t.test('DownlinkRequested', async t => {
  t.test('gets the next seq of each session and goes to its connection', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'pad' }), requested('m1', { exceptDevices: ['pad'] }))
    t.strictSame(effectsOf(state, requested('m2')), ['deliver c1 2 m2', 'deliver c2 1 m2'])
  })
  t.test('goes only to the platforms that it names', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'mac', platform: 'mac' }))
    t.strictSame(effectsOf(state, requested('m1', { platforms: ['mac'] })), ['deliver c2 1 m1'])
  })
  t.test('goes only to the devices that it names, and not to one that it leaves out as well', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'pad' }), opened('c3', { deviceId: 'tv' }))
    t.strictSame(effectsOf(state, requested('m1', { devices: ['pad', 'tv'], exceptDevices: ['tv'] })), ['deliver c2 1 m1'])
    t.strictSame(effectsOf(state, requested('m2', { devices: ['watch'] })), ['dropped(no-target) m2 #0'])
  })
  t.test('waits for the device that it names', async t => {
    const state = given(requested('m1', { devices: ['pad'] }), opened('c1'), opened('c2', { deviceId: 'pad' }))
    t.strictSame(state.sessions.get('phone')?.outbox, [])
    t.match(state.sessions.get('pad')?.outbox, [{ messageId: 'm1' }])
  })
  t.test('is taken once however often it is requested', async t => {
    const state = given(opened('c1'), requested('m1'))
    t.strictSame(effectsOf(state, requested('m1')), ['duplicate(duplicate) m1 #0'])
  })
  t.test('waits for the first session of a user who has none', async t => {
    const state = given(requested('m1'), requested('m2', { platforms: ['mac'] }))
    t.strictSame(effectsOf(state, opened('c1')), ['welcome c1 new up 0 down 0..1'])
    t.strictSame(effectsOf(state, opened('c2', { deviceId: 'mac', platform: 'mac' })), ['welcome c2 new up 0 down 0..1'])
  })
  t.test('that fits no session is dropped, and says so', async t => {
    t.strictSame(effectsOf(given(opened('c1')), requested('m1', { platforms: ['mac'] })),
      ['dropped(no-target) m1 #0'])
  })
  t.test('drops the oldest when the outbox is full, which the next connection announces', async t => {
    const state = given(opened('c1'), closed('c1'))
    for (let i = 1; i <= outboxMax; i++) effectsOf(state, requested(`m${i}`))
    t.strictSame(effectsOf(state, requested('mx')), ['dropped(outbox-full) m1 phone#0'])
    t.strictSame(effectsOf(state, opened('c2')), [`welcome c2 resumed up 0 down 0..${outboxMax} missed 1`])
  })
  t.test('drops the oldest from under a connection that does not ack, and counts it as missed until it is acked', async t => {
    const state = given(opened('c1'))
    for (let i = 1; i <= outboxMax + 2; i++) effectsOf(state, requested(`m${i}`))
    const late = effectsOf(state, reported('c1', 1))
    t.strictSame(late, [], 'an ack of what is gone settles nothing twice')
    effectsOf(state, closed('c1', { told: false }))
    t.strictSame(effectsOf(state, opened('c2', { downlinkSeq: 1 })),
      [`welcome c2 resumed up 0 down 2..${outboxMax + 2} missed 1`])
  })
})

t.test('A downlink that is past its time', async t => {
  const brief = { ttlMs: minute }
  t.test('leaves no hole when the device was away, wherever it stood', async t => {
    const state = given(opened('c1'), closed('c1'), requested('m1'), requested('m2', brief), requested('m3'))
    t.strictSame(effectsOf(state, at(10 * minute, opened('c2'))),
      ['expired(ttl) m2 phone#0', 'welcome c2 resumed up 0 down 0..2 missed 1'])
  })
  t.test('is announced by where the numbers go on when it had one', async t => {
    const state = given(opened('c1'), requested('m1', brief), requested('m2'), closed('c1'))
    t.strictSame(effectsOf(state, at(10 * minute, opened('c2'))),
      ['expired(ttl) m1 phone#1', 'welcome c2 resumed up 0 down 1..2 missed 1'])
  })
  t.test('waits for those before it when it had a number', async t => {
    const state = given(opened('c1'), requested('m1'), requested('m2', brief), closed('c1'))
    t.strictSame(effectsOf(state, at(10 * minute, opened('c2'))), ['welcome c2 resumed up 0 down 0..2'])
  })
  t.test('is not announced twice to a client that was told', async t => {
    const state = given(opened('c1'), requested('m1', brief), closed('c1'), requested('m2', brief))
    t.match(effectsOf(state, at(10 * minute, opened('c2'))), [/./, /./, /missed 2$/])
    effectsOf(state, at(11 * minute, closed('c2', { told: true })))
    t.strictSame(effectsOf(state, at(12 * minute, opened('c3', { downlinkSeq: 1 }))), ['welcome c3 resumed up 0 down 1'])
  })
  t.test('is announced again to a client that may not have been told', async t => {
    const state = given(opened('c1'), requested('m1', brief), closed('c1'), requested('m2', brief))
    effectsOf(state, at(10 * minute, opened('c2')))
    effectsOf(state, at(11 * minute, closed('c2', { told: false, code: 'node-lost' })))
    t.strictSame(effectsOf(state, at(12 * minute, opened('c3'))), ['welcome c3 resumed up 0 down 1 missed 2'])
  })
})

t.test('DownlinkSkipped', async t => {
  t.test('acks what is before it, and says of itself that it was skipped, once', async t => {
    const state = given(opened('c1'), requested('m1'), requested('m2'), requested('m3'))
    t.strictSame(effectsOf(state, skipped('c1', 2)), ['acked m1 phone#1', 'skipped(skipped) m2 phone#2'])
    t.strictSame(effectsOf(state, skipped('c1', 2)), [])
    t.strictSame(effectsOf(state, reported('c1', 2)), [])
    t.strictSame(effectsOf(state, closed('c1')), [])
    t.strictSame(effectsOf(state, opened('c2', { downlinkSeq: 2 })), ['welcome c2 resumed up 0 down 2..3'])
  })
  t.test('says nothing of what is gone, or was never sent', async t => {
    const state = given(opened('c1'), requested('m1'), reported('c1', 1))
    t.strictSame(effectsOf(state, skipped('c1', 1)), [])
    t.strictSame(effectsOf(state, skipped('c1', 2)), [])
    t.strictSame(effectsOf(state, skipped('c9', 1)), [])
  })
})

t.test('DeliveryReported', async t => {
  t.test('acks everything up to its seq, once', async t => {
    const state = given(opened('c1'), requested('m1'), requested('m2'), requested('m3'))
    t.strictSame(effectsOf(state, reported('c1', 2)), ['acked m1 phone#1', 'acked m2 phone#2'])
    t.strictSame(effectsOf(state, reported('c1', 1)), [])
  })
  t.test('counts from a connection that another has superseded', async t => {
    const state = given(opened('c1'), requested('m1'), opened('c2'))
    t.strictSame(effectsOf(state, reported('c1', 1)), ['acked m1 phone#1'])
  })
  t.test('can not ack what has no number yet', async t => {
    const state = given(opened('c1'), requested('m1'))
    t.strictSame(effectsOf(state, reported('c1', 2)), [])
  })
  t.test('of a session that has ended does not touch the one that began since', async t => {
    const state = given(opened('c1'), requested('m1'), closed('c1', { endSession: true }), opened('c2'), requested('m2'))
    t.strictSame(effectsOf(state, reported('c1', 1)), [])
  })
})

t.test('ConnectionClosed', async t => {
  t.test('leaves the downlinks of the session for its next connection', async t => {
    const state = given(opened('c1'), closed('c1'))
    t.strictSame(effectsOf(state, requested('m1')), [])
    t.strictSame(effectsOf(state, opened('c2')), ['welcome c2 resumed up 0 down 0..1'])
  })
  t.test('of an older connection leaves the newer one its downlinks', async t => {
    const state = given(opened('c1'), opened('c2'), closed('c1'))
    t.strictSame(effectsOf(state, requested('m1')), ['deliver c2 1 m1'])
  })
  t.test('with endSession drops the outbox and forgets the numbers', async t => {
    const state = given(opened('c1'), uplink('c1', 1), requested('m1'))
    t.strictSame(effectsOf(state, closed('c1', { endSession: true })), ['dropped(session-ended) m1 phone#1'])
    t.strictSame(effectsOf(state, opened('c2')), ['welcome c2 new up 0 down 0'])
  })
  t.test('with endSession of one that was stored late ends nothing where its device has begun anew since', async t => {
    for (const [told, sessionId] of [[false, 's2'], [false, 's1'], [true, 's2']] as const) {
      // The user has signed out on c1, and in again on c2; the ledger had c1 last.
      const state = given(opened('c2', { sessionId, nodeId: 'n9' }), opened('c1', { sessionId: 's1' }))
      effectsOf(state, closed('c1', { told, endSession: true }))
      const goesOn = !told && sessionId === 's2'
      t.equal(state.sessions.has('phone'), goesOn)
    }
  })
  t.test('with endSession of a superseded connection ends nothing', async t => {
    const state = given(opened('c1'), opened('c2'), closed('c1', { endSession: true }))
    t.strictSame(effectsOf(state, requested('m1')), ['deliver c2 1 m1'])
  })
})

t.test('KickRequested', async t => {
  t.test('ends the connection that it names', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'pad' }))
    t.strictSame(effectsOf(state, kicked('k1', 'c2')), ['close c2 kicked'])
  })
  t.test('ends all that are open, and none that opens later when it is repeated', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'pad' }))
    t.strictSame(effectsOf(state, kicked('k1')), ['close c1 kicked', 'close c2 kicked'])
    effectsOf(state, opened('c3'))
    t.strictSame(effectsOf(state, kicked('k1')), [])
  })
  t.test('says who asked, to the edge at once, to one that asks later, and after a restart', async t => {
    const state = given(opened('c1'))
    t.match(play(state, [at(1, { ...kicked('k1'), by: 'key1', reason: 'enough' })]), [{ code: 'kicked', by: 'key1' }])
    const saved = stateOf(savedStateOf(state))
    t.match(saved.connections.get('c1'), { endCode: 'kicked', endReason: 'enough', endBy: 'key1' })
    effectsOf(saved, closed('c1'))
    t.match(saved.connections.get('c1'), { endCode: '', endReason: '', endBy: '' })
  })
  t.test('and bans say it, also of who opens later; the login policy names nobody', async t => {
    const state = given(opened('c1'), banned('b1', { by: 'key1' }), closed('c1'))
    const saved = stateOf(savedStateOf(state))
    t.match(play(saved, [at(1, opened('c2'))]), [{ code: 'banned', by: 'key1' }])
    t.match(play(given(opened('c1')), [at(1, opened('c2', { deviceId: 'pad', loginPolicy: 'user' }))])[0], { code: 'kicked', by: '' })
  })
})

t.test('UserBanned', async t => {
  const pad = { deviceId: 'pad', tokenId: 't2' }
  t.test('ends what is open, and what opens, until it is lifted', async t => {
    const state = given(opened('c1'), opened('c2', pad))
    t.strictSame(effectsOf(state, banned('b1')), ['close c1 banned', 'close c2 banned'])
    t.strictSame(effectsOf(state, opened('c3')), ['close c3 banned'])
    t.strictSame(effectsOf(state, lifted('b1')), [])
    t.strictSame(effectsOf(state, opened('c4')), ['welcome c4 resumed up 0 down 0'])
  })
  t.test('of a device or of a token ends no other', async t => {
    for (const [ban, other] of [[{ deviceId: 'pad' }, pad], [{ tokenId: 't2' }, { ...pad, deviceId: 'laptop' }]] as const) {
      const state = given(opened('c1', { tokenId: 't1' }), opened('c2', pad))
      t.strictSame(effectsOf(state, banned('b1', ban)), ['close c2 banned'])
      t.strictSame(effectsOf(state, opened('c3', other)), ['close c3 banned'])
      t.strictSame(effectsOf(state, opened('c4', { tokenId: 't1' })), ['close c1 superseded', 'welcome c4 resumed up 0 down 0'])
    }
  })
  t.test('ends by itself when its time is over', async t => {
    const state = given(banned('b1', { untilMs: 5_000 }))
    t.strictSame(effectsOf(state, at(4_999, opened('c1'))), ['close c1 banned'])
    t.strictSame(effectsOf(state, at(5_000, opened('c2'))), ['welcome c2 new up 0 down 0'])
  })
  t.test('that is over when it comes ends nobody', async t => {
    t.strictSame(effectsOf(given(opened('c1')), at(9_000, banned('b1', { untilMs: 5_000 }))), [])
  })
  t.test('tells nobody anything of a session, and takes nothing of what came behind connect', async t => {
    const state = given(opened('c1'), uplink('c1', 1), banned('b1'), closed('c1'), opened('c2'))
    t.strictSame(effectsOf(state, uplink('c2', 2)), [])
    t.equal(state.userSeq, 1)
  })
  t.test('takes no session along: what waits is there when it is lifted', async t => {
    const state = given(opened('c1'), uplink('c1', 1), banned('b1'), closed('c1'), requested('m1'), lifted('b1'))
    t.strictSame(effectsOf(state, opened('c2')), ['welcome c2 resumed up 1 down 0..1'])
  })
  t.test('brings back nothing that was lifted when it is repeated, nor a newer connection down', async t => {
    const state = given(banned('b1'), lifted('b1'), opened('c1'))
    t.strictSame(effectsOf(state, banned('b1')), [])
    t.strictSame(effectsOf(state, banned('b2')), ['close c1 banned'])
  })
  t.test('past the bound takes the place of one that is over, or else of the narrowest', async t => {
    const state = given(banned('over', { untilMs: 500 }), banned('user'), banned('device', { deviceId: 'pad' }))
    for (let i = 0; i < bansMax; i++) {
      effectsOf(state, at(1_000, banned(`t${i}`, { tokenId: `t${i}`, untilMs: 10_000 + i })))
    }
    t.strictSame([...state.bans.keys()].slice(0, 3), ['user', 'device', 't2'])
    t.equal(state.bans.size, bansMax)
  })
})

t.test('RoomGranted', async t => {
  const roomsOf = ({ memberships }: UserState) =>
    Array.from(memberships.values(), ({ roomId, rights }) => `${roomId} ${rights}`)

  t.test('keeps the room until it is revoked, and tells open connections of each change', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'pad' }), opened('c3', { deviceId: 'tv' }), closed('c3'))
    t.strictSame(effectsOf(state, granted('g1', 'chat')), ['rooms c1', 'rooms c2'])
    t.strictSame(effectsOf(state, at(5_000, granted('g2', 'news', 'r'))), ['rooms c1', 'rooms c2'])
    t.strictSame([...state.memberships.values()][1], { roomId: 'news', rights: 'r', grantedAtMs: 5_000 })
    t.strictSame(effectsOf(state, granted('g3', 'news')), ['rooms c1', 'rooms c2'])
    t.strictSame(roomsOf(state), ['chat rw', 'news rw'])
    t.strictSame(effectsOf(state, revoked('g4', 'chat')), ['rooms c1', 'rooms c2'])
    t.strictSame(roomsOf(state), ['news rw'])
    t.equal(state.membershipsVersion, 4)
  })
  t.test('of what he has, and the end of what he has not, change nothing', async t => {
    const state = given(opened('c1'), granted('g1', 'chat'))
    t.strictSame(effectsOf(state, granted('g2', 'chat')), [])
    t.strictSame(effectsOf(state, revoked('g3', 'news')), [])
    t.equal(state.membershipsVersion, 1)
  })
  t.test('that is repeated late undoes nothing that came since, nor does an end', async t => {
    const state = given(granted('g1', 'chat'), revoked('g2', 'chat'))
    effectsOf(state, granted('g1', 'chat'))
    t.strictSame(roomsOf(state), [])
    effectsOf(state, granted('g3', 'chat', 'r'))
    effectsOf(state, revoked('g2', 'chat'))
    t.strictSame(roomsOf(state), ['chat r'])
  })
  t.test('past the bound takes the place of the one granted first', async t => {
    const state = given()
    for (let i = 0; i <= membershipsMax; i++) effectsOf(state, granted(`g${i}`, `room ${i}`))
    t.equal(state.memberships.size, membershipsMax)
    t.notOk(state.memberships.has('room 0'))
    t.ok(state.memberships.has(`room ${membershipsMax}`))
  })
})

t.test('TokenRenewed', async t => {
  t.test('by a token that is banned ends the connection', async t => {
    const state = given(opened('c1', { tokenId: 't1' }), banned('b1', { tokenId: 't2' }))
    t.strictSame(effectsOf(state, renewed('c1', 1, 't3')), [])
    t.strictSame(effectsOf(state, renewed('c1', 2, 't2')), ['close c1 banned'])
  })
  t.test('is what a later ban goes by, and not the token before it', async t => {
    const state = given(opened('c1', { tokenId: 't1' }), renewed('c1', 2, 't3'), renewed('c1', 1, 't2'))
    for (const tokenId of ['t1', 't2']) t.strictSame(effectsOf(state, banned(`b ${tokenId}`, { tokenId })), [])
    t.strictSame(effectsOf(state, banned('b3', { tokenId: 't3' })), ['close c1 banned'])
  })
  t.test('of a connection that has ended, or that nobody knows, changes nothing', async t => {
    const state = given(opened('c1'), closed('c1'), banned('b1', { tokenId: 't2' }))
    for (const id of ['c1', 'c9']) t.strictSame(effectsOf(state, renewed(id, 1, 't2')), [])
  })
})

t.test('DownlinkRedelivered', async t => {
  t.test('is sent under a new seq, though it was acked', async t => {
    const state = given(opened('c1'), requested('m1'), reported('c1', 1))
    t.strictSame(effectsOf(state, redelivered('m1')), ['deliver c1 2 m1'])
  })
  t.test('reaches its own device alone, and waits while that is offline', async t => {
    const state = given(opened('c1'), opened('c2', { deviceId: 'pad' }), requested('m1'), closed('c1'))
    t.strictSame(effectsOf(state, redelivered('m1')), [])
    t.strictSame(effectsOf(state, opened('c3')), ['welcome c3 resumed up 0 down 0..2'])
  })
  t.test('is sent once however often it stands in the ledger, and again for another request', async t => {
    const state = given(opened('c1'), requested('m1'), reported('c1', 1), redelivered('m1'))
    t.strictSame(effectsOf(state, redelivered('m1')), ['duplicate(duplicate) m1 phone#0'])
    t.strictSame(effectsOf(state, redelivered('m1', 'r2')), ['deliver c1 3 m1'])
  })
  t.test('is dropped where the device is not known', async t => {
    const state = given(opened('c1'))
    t.strictSame(effectsOf(state, redelivered('m1', 'r1', 'pad')), ['dropped(no-target) m1 pad#0'])
  })
})

t.test('UplinksRefused', async t => {
  t.test('changes nothing', async t => {
    const state = given(opened('c1'), uplink('c1', 1))
    const refused = { type: 'UplinksRefused', connectionId: 'c1', fromSeq: 2, toSeq: 3, code: 'throttled', count: 2 } as const
    t.strictSame(effectsOf(state, refused), [])
    t.strictSame(effectsOf(state, uplink('c1', 2)), ['publish phone 2=2', 'ack c1 2=2'])
  })
})
