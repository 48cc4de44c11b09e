import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { fold } from '../../../actors/user/fold.js'
import { outcomeOfRecall } from '../../../actors/user/recall.js'
import { newUser } from '../../../actors/user/state.js'
import type { Entry, Fact } from '../../../schemas/facts.js'
import { at, closed, effectsOf, given, opened, recalled, redelivered, reported, requested, shortly } from './history.js'
import { assertAlike, restored } from './saved-parts.js'

const receipts = { receipts: true }

t.test('A recall', async t => {
  t.test('takes out what waits for the first session', async t => {
    const state = given(requested('m1', receipts), requested('m2'))
    t.strictSame(effectsOf(state, recalled('m1')), [
      'dropped(recalled) m1 #0', 'publish receipt 1 m1 #0 dropped(recalled)',
    ])
    t.strictSame(state.waiting.map(({ messageId }) => messageId), ['m2'])
    t.equal(state.messages.size, 1)
    t.equal(state.waitingBytes, state.waiting[0]!.bytes)
  })
  t.test('takes out what waits for a device that is offline, and leaves no hole and nothing missed', async t => {
    const state = given(opened('c1'), closed('c1'), requested('m1'), requested('m2'), requested('m3'))
    effectsOf(state, recalled('m2'))
    const session = state.sessions.get('phone')!
    t.equal(session.missed, 0)
    const effects = effectsOf(state, opened('c2'))
    t.notOk(effects.some(each => each.includes('m2')))
    t.strictSame(session.outbox.map(({ messageId }) => messageId), ['m1', 'm3'])
    t.equal(session.nextSeq, 3)
  })
  t.test('leaves what has a number, which may have been written', async t => {
    const state = given(opened('c1'), requested('m1'), closed('c1'))
    t.strictSame(effectsOf(state, recalled('m1')), [])
    t.equal(state.sessions.get('phone')!.outbox.length, 1)
  })
  t.test('takes it from one device, and leaves it to the one that may have it', async t => {
    const state = given(opened('c1'), closed('c1'), opened('c2', { deviceId: 'pad', sessionId: 's2' }), requested('m1'))
    effectsOf(state, recalled('m1'))
    t.strictSame(['phone', 'pad'].map(deviceId => state.sessions.get(deviceId)!.outbox.length), [0, 1])
    t.equal(state.messages.size, 1)
  })
  t.test('of what is not there does nothing, and does not keep a later request out', async t => {
    const state = given(opened('c1'), closed('c1'))
    t.strictSame(effectsOf(state, recalled('m1')), [])
    effectsOf(state, requested('m1'))
    t.equal(state.sessions.get('phone')!.outbox.length, 1)
  })
  t.test('that comes once more takes nothing that was redelivered since', async t => {
    const state = given(opened('c1'), closed('c1'), requested('m1'), recalled('m1'), redelivered('m1'))
    t.strictSame(effectsOf(state, recalled('m1')), [])
    t.equal(state.sessions.get('phone')!.outbox.length, 1)
    effectsOf(state, recalled('m1', 'another request'))
    t.equal(state.sessions.get('phone')!.outbox.length, 0)
  })
  t.test('withdraws what was handed over, once nobody may get it', async t => {
    const due: Fact = { type: 'HandOverDue', messageId: 'm1', requestedAtMs: 2_000, payload: Buffer.from('x') }
    const state = given(opened('c1'), closed('c1'), requested('m1'), due)
    t.strictSame(effectsOf(state, recalled('m1')), [
      'dropped(recalled) m1 phone#0', 'publish offline 2 m1 withdrawn(recalled) ',
    ])
  })

  t.test('tells what has become of the downlink', async t => {
    const offline = [opened('c1'), closed('c1'), requested('m1')]
    t.equal(outcomeOfRecall(given(...offline, recalled('m1')), 'm1'), 'recalled')
    t.equal(outcomeOfRecall(given(requested('m1'), recalled('m1')), 'm1'), 'recalled')
    t.equal(outcomeOfRecall(given(opened('c1'), requested('m1'), recalled('m1')), 'm1'), 'written')
    t.equal(outcomeOfRecall(given(opened('c1'), requested('m1'), reported('c1', 1), recalled('m1')), 'm1'), 'ended')
    t.equal(outcomeOfRecall(given(opened('c1'), recalled('m1')), 'm1'), 'unknown')
    const ackedByPad = [
      opened('c1'), closed('c1'), opened('c2', { deviceId: 'pad', sessionId: 's2' }), requested('m1'), reported('c2', 1),
    ]
    t.equal(outcomeOfRecall(given(...ackedByPad, recalled('m1')), 'm1'), 'ended')
  })

  const notice = { noticeId: 'n1' }
  t.test('tells the device that may have it, behind it, and no other one', async t => {
    const state = given(opened('c1'), closed('c1'), opened('c2', { deviceId: 'pad', sessionId: 's2' }), requested('m1'))
    t.strictSame(effectsOf(state, recalled('m1', 'q1', notice)), ['dropped(recalled) m1 phone#0', 'deliver c2 2 n1'])
    const [phone, pad] = ['phone', 'pad'].map(deviceId => state.sessions.get(deviceId)!)
    t.equal(phone!.outbox.length, 0)
    t.match(pad!.outbox[1], { messageId: 'n1', service: 'ledgerline.recall', payload: Buffer.from('m1') })
    t.strictSame(effectsOf(state, recalled('m1', 'q1', notice)), [], 'once')
  })
  t.test('tells every device where nobody knows any more which one has it', async t => {
    const both = [opened('c1'), opened('c2', { deviceId: 'pad', sessionId: 's2' })]
    const state = given(...both, requested('m1'), reported('c1', 1), reported('c2', 1))
    t.strictSame(effectsOf(state, recalled('m1', 'q1', notice)), ['deliver c1 2 n1', 'deliver c2 2 n1'])
  })
  t.test('tells no device that it was not for', async t => {
    const both = [opened('c1'), opened('c2', { deviceId: 'pad', sessionId: 's2' })]
    const state = given(...both, requested('m1', { devices: ['pad'] }))
    t.strictSame(effectsOf(state, recalled('m1', 'q1', notice)), ['deliver c2 2 n1'])
  })

  const replacing = (messageId: string, replaces: string) => requested(messageId, { replaces })
  t.test('is part of a request that replaces, in one turn', async t => {
    const state = given(opened('c1'), closed('c1'), requested('m1'), requested('m2'))
    t.strictSame(effectsOf(state, replacing('m3', 'm1')), ['dropped(recalled) m1 phone#0'])
    t.strictSame(state.sessions.get('phone')!.outbox.map(({ messageId }) => messageId), ['m2', 'm3'])
    t.equal(outcomeOfRecall(state, 'm1'), 'recalled')
  })
  t.test('is not done by a request that is a repeat', async t => {
    const state = given(opened('c1'), closed('c1'), requested('m1'), replacing('m2', 'm0'))
    t.strictSame(effectsOf(state, replacing('m2', 'm1')), ['duplicate(duplicate) m2 #0'])
    t.equal(state.sessions.get('phone')!.outbox.length, 2)
  })

  const id = (prefix: string) => fc.nat({ max: 3 }).map(i => `${prefix}${i}`)
  const anyFact: fc.Arbitrary<Fact> = fc.oneof(
    fc.tuple(id('c'), id('d')).map(([connectionId, deviceId]) => opened(connectionId, { deviceId })),
    id('c').map(connectionId => closed(connectionId)),
    id('m').map(messageId => requested(messageId, receipts)),
    fc.tuple(id('m'), id('m')).map(([messageId, replaces]) => requested(messageId, { ...receipts, replaces })),
    fc.tuple(id('m'), id('q')).map(names => recalled(...names)),
    fc.tuple(id('m'), id('q')).map(([messageId, requestId]) =>
      recalled(messageId, requestId, { noticeId: `${requestId}/${messageId}`, noticeTtlMs: 20_000 })),
    fc.tuple(id('m'), id('q'), id('d')).map(names => redelivered(...names)),
    fc.tuple(id('c'), fc.nat({ max: 5 })).map(([connectionId, seq]) => reported(connectionId, seq)))

  t.test('is the same through a saved state, and once more later, in any history', async () => {
    fc.assert(fc.property(fc.array(anyFact, { maxLength: 40 }), fc.nat(), (facts, pick) => {
      const entries = facts.map((fact, i) => at(1_000 * i, fact))
      const through = folded(entries)
      const place = pick % (entries.length + 1)
      const second = folded(entries.slice(place), restored(folded(entries.slice(0, place)).state))
      assertAlike(second.state, through.state)
      const recalls = entries.filter(({ fact }) => fact.type === 'DownlinkRecalled')
      const again = folded([...entries, ...recalls])
      assert.deepEqual(again.effects, through.effects)
      for (const { numbered, outbox } of through.state.sessions.values()) assert.ok(numbered <= outbox.length)
      const { sessions, waiting, messages } = through.state
      const held = new Set([...sessions.values()].flatMap(({ outbox }) => outbox).concat(waiting))
      assert.equal(messages.size, held.size)
    }), { numRuns: 300 })
  })
})

function folded (entries: readonly Entry[], state = newUser()) {
  return { state, effects: entries.flatMap(entry => fold(state, entry).map(shortly)) }
}
