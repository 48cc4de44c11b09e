import t, { type Test } from 'tap'
import { entriesOf } from '../../evidence/entries.js'
import { findNumbered, type RedeliveryQuery } from '../../evidence/redelivery.js'
import type { Fact } from '../../schemas/facts.js'
import { at, closed, minute, opened, redelivered, reported, requested } from '../actors/user/history.js'
import { StoredLog } from './stored-log.js'

async function found (stored: StoredLog, query: Partial<RedeliveryQuery> = {}, complete = true) {
  const whole = { deviceId: 'phone', fromSeq: 1, toSeq: 1_000, requestId: 'r9', ...query }
  const { numbered, requested } = await findNumbered(entriesOf(stored.log, 'ann'), whole, complete)
  return { numbered: numbered.map(({ seq, messageId }) => `${seq} ${messageId}`), requested: [...requested.keys()] }
}

t.test('What a session had under its numbers', async t => {
  const given = async (t: Test, ...facts: Fact[]) => {
    const stored = await StoredLog.open(t)
    await stored.put(...facts.map((fact, i) => at(i * 1_000, fact)))
    return stored
  }

  await t.test('is found whether it is acked, unacked or gone', async t => {
    const stored = await given(t,
      opened('c1'), requested('m1'), reported('c1', 1), requested('m2', { ttlMs: 1 }), requested('m3'),
      closed('c1'), opened('c2', { downlinkSeq: 1 }))
    t.strictSame((await found(stored)).numbered, ['1 m1', '2 m2', '3 m3'])
    t.strictSame((await found(stored, { fromSeq: 2, toSeq: 2 })).numbered, ['2 m2'])
  })
  await t.test('has none that never got a number', async t => {
    const stored = await given(t, opened('c1'), closed('c1'), requested('m1'))
    t.strictSame((await found(stored)).numbered, [])
  })
  await t.test('has what waited for its first connection, and what came while it was offline', async t => {
    const stored = await given(t, requested('m1'), opened('c1'), closed('c1'), requested('m2'), opened('c2'))
    t.strictSame((await found(stored)).numbered, ['1 m1', '2 m2'])
  })
  await t.test('has nothing of an earlier session of the device', async t => {
    const stored = await given(t,
      opened('c1'), requested('m1'), closed('c1', { endSession: true }), opened('c2', { sessionId: 's2' }), requested('m2'))
    t.strictSame((await found(stored)).numbered, ['1 m2'])
  })
  await t.test('has a redelivered downlink under both numbers, and says what one request asked for already', async t => {
    const stored = await given(t, opened('c1'), requested('m1'), redelivered('m1', 'r9'))
    t.strictSame(await found(stored), { numbered: ['1 m1', '2 m1'], requested: ['m1'] })
    t.strictSame((await found(stored, { requestId: 'r8' })).requested, [])
  })
  await t.test('is not looked for where the device has no session', async t => {
    const stored = await given(t, opened('c1'), closed('c1', { endSession: true }))
    await t.rejects(found(stored), { code: 'not-found', message: 'the user has no session of device phone' })
  })
})

t.test('A session whose beginning is no longer kept', async t => {
  const stored = await StoredLog.open(t, minute)
  await stored.at(0, 'ann', opened('c1'), requested('m1'), requested('m2'), closed('c1'))
  await stored.at(10 * minute, 'ann', opened('c2'))
  await stored.log.sweep()

  await t.test('is trusted while nothing says that it had more', async t => {
    await stored.at(11 * minute, 'ann', requested('m3'))
    t.strictSame((await found(stored, {}, false)).numbered, ['1 m3'])
  })
  await t.test('is refused once a report names numbers that it can\'t have given', async t => {
    await stored.at(12 * minute, 'ann', reported('c2', 1, 3))
    await t.rejects(found(stored, {}, false), { code: 'not-found', message: /no longer in the ledger/ })
  })
})
