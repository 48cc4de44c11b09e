import t from 'tap'
import type { UserState } from '../../../actors/user/state.js'
import type { Fact } from '../../../schemas/facts.js'
import { at, closed, effectsOf, given, minute, opened, redelivered, reported, requested } from './history.js'

const kb = 1_024
/** Each message counts for its payload and some 150 bytes. */
const room = 10 * kb

function large (messageId: string, with_: Parameters<typeof requested>[1] = {}): Fact {
  return requested(messageId, { payload: Buffer.alloc(3 * kb), outboxBytesMax: room, ...with_ })
}

const idsOf = (state: UserState, deviceId = 'phone') =>
  state.sessions.get(deviceId)!.outbox.map(({ messageId }) => messageId)

t.test('An outbox that has no room for the bytes of one more', async t => {
  t.test('drops the oldest, and its client is told', async t => {
    const state = given(opened('c1'), closed('c1'), large('m1'), large('m2'), large('m3'))
    t.strictSame(effectsOf(state, large('m4')), ['dropped(outbox-full) m1 phone#0'])
    t.strictSame(effectsOf(state, large('m5', { payload: Buffer.alloc(6 * kb) })),
      ['dropped(outbox-full) m2 phone#0', 'dropped(outbox-full) m3 phone#0'])
    t.strictSame(effectsOf(state, opened('c2')), ['welcome c2 resumed up 0 down 0..2 missed 3'])
  })
  t.test('drops those first that have expired', async t => {
    const state = given(opened('c1'), closed('c1'), large('m1'), large('m2', { ttlMs: minute }), large('m3'))
    t.strictSame(effectsOf(state, at(10 * minute, large('m4'))), ['expired(ttl) m2 phone#0'])
    t.strictSame(idsOf(state), ['m1', 'm3', 'm4'])
  })
  t.test('drops numbers at its head, of a device that is online and does not ack', async t => {
    const state = given(opened('c1'), large('m1'), large('m2'), large('m3'))
    t.strictSame(effectsOf(state, large('m4')), ['dropped(outbox-full) m1 phone#1', 'deliver c1 4 m4'])
    t.strictSame(effectsOf(state, opened('c2')), ['close c1 superseded', 'welcome c2 resumed up 0 down 1..4 missed 1'])
  })
  t.test('has room again for what is acked', async t => {
    const state = given(opened('c1'), large('m1'), large('m2'), large('m3'), reported('c1', 2))
    t.strictSame(effectsOf(state, large('m4')), ['deliver c1 4 m4'])
    t.equal(state.sessions.get('phone')!.outboxBytes, state.messages.bytes)
  })
  t.test('keeps one alone that is larger than all of it', async t => {
    const state = given(opened('c1'), closed('c1'), large('m1'))
    t.strictSame(effectsOf(state, large('huge', { payload: Buffer.alloc(20 * kb) })), ['dropped(outbox-full) m1 phone#0'])
    t.strictSame(idsOf(state), ['huge'])
  })
  t.test('makes room for one that an operator sends again', async t => {
    const state = given(opened('c1'), closed('c1'), large('m1'), large('m2'), large('m3'))
    t.strictSame(effectsOf(state, { ...redelivered('m0'), payload: Buffer.alloc(3 * kb), outboxBytesMax: room }),
      ['dropped(outbox-full) m1 phone#0'])
  })
  t.test('counts ids and names, too', async t => {
    const devices = Array.from({ length: 100 }, (_, i) => i === 0 ? 'phone' : `${i}`.padEnd(200, 'x'))
    const state = given(opened('c1'), closed('c1'), large('m1', { payload: Buffer.alloc(0), devices }))
    t.ok(state.messages.bytes > 20_000, `${state.messages.bytes} bytes`)
  })
  t.test('has no bound where the entry is of a version that had none', async t => {
    const state = given(opened('c1'), closed('c1'))
    for (let i = 0; i < 20; i++) t.strictSame(effectsOf(state, large(`m${i}`, { outboxBytesMax: 0 })), [])
  })
})

t.test('A waiting list that has no room for the bytes of one more', async t => {
  t.test('lets one go that has expired, else the oldest', async t => {
    const state = given(large('m1'), large('m2', { ttlMs: minute }), large('m3'))
    t.strictSame(effectsOf(state, at(10 * minute, large('m4'))), ['expired(ttl) m2 #0'])
    t.strictSame(effectsOf(state, at(10 * minute, large('m5'))), ['dropped(waiting-full) m1 #0'])
    t.strictSame(effectsOf(state, at(10 * minute, opened('c1'))), ['welcome c1 new up 0 down 0..3'])
    t.equal(state.waitingBytes, 0)
  })
})

t.test('All outboxes of a user', async t => {
  const devices = ['d0', 'd1', 'd2', 'd3', 'd4', 'd5']
  const away = () => given(
    ...devices.map((deviceId, i) => opened(`c${i}`, { deviceId })), ...devices.map((_, i) => closed(`c${i}`)))
  t.test('hold one message for many devices once', async t => {
    const state = away()
    for (let i = 0; i < 3; i++) t.strictSame(effectsOf(state, large(`m${i}`)), [])
    t.equal(state.messages.size, 3)
    t.ok(state.messages.bytes < room)
    t.equal(idsOf(state, 'd5').length, 3)
  })
  t.test('have four times the room of one: past it the largest loses its oldest, of equals the first', async t => {
    const state = away()
    for (const deviceId of devices.slice(0, 4)) {
      for (let i = 0; i < 3; i++) t.strictSame(effectsOf(state, large(`${deviceId} ${i}`, { devices: [deviceId] })), [])
    }
    for (let i = 0; i < 3; i++) {
      t.strictSame(effectsOf(state, large(`d4 ${i}`, { devices: ['d4'] })), [`dropped(outbox-full) d${i} 0 d${i}#0`])
    }
    t.ok(state.messages.bytes <= 4 * room)
  })
  t.test('lose in the largest what has expired, before what has not', async t => {
    const state = away()
    for (const deviceId of devices.slice(0, 4)) {
      for (const [i, ttlMs] of [60 * minute, 60 * minute, minute].entries()) {
        effectsOf(state, large(`${deviceId} ${i}`, { devices: [deviceId], ttlMs }))
      }
    }
    for (let i = 0; i < 2; i++) effectsOf(state, at(10 * minute, large(`d4 ${i}`, { devices: ['d4'] })))
    t.strictSame(idsOf(state, 'd0'), ['d0 0', 'd0 1'])
  })
})
