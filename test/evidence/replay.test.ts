import t, { type Test } from 'tap'
import { fold } from '../../actors/user/fold.js'
import { newUser } from '../../actors/user/state.js'
import { parsePolicy } from '../../evidence/replay/policy-words.js'
import { tryPolicy } from '../../evidence/replay/policy.js'
import { comparePublished } from '../../evidence/replay/published.js'
import type { Fact } from '../../schemas/facts.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import { closed, minute, opened, requested, uplink } from '../actors/user/history.js'
import { StoredLog } from './stored-log.js'

/** A user who sends three uplinks, and what the fold publishes of them. */
async function givenUplinks (t: Test, userId = 'ann', retentionMs?: number) {
  const stored = await StoredLog.open(t, retentionMs)
  const facts: Fact[] = [opened('c1'), uplink('c1', 1), uplink('c1', 2), uplink('c1', 2), uplink('c1', 3)]
  const state = newUser()
  const published: UplinkAccepted[] = []
  for (const [i, fact] of facts.entries()) {
    const entry = { userId, atMs: 1_000 * i, fact }
    await stored.put(entry)
    for (const effect of fold(state, entry)) if (effect.type === 'publishUplink') published.push(effect.uplink)
  }
  return { stored, published }
}

t.test('A replay against what was published', async t => {
  const compared = async (stored: StoredLog, options = {}) =>
    await comparePublished(stored.log, await stored.everything(), options)

  await t.test('finds everything where production did what the fold does', async t => {
    const { stored, published } = await givenUplinks(t)
    await stored.publish(...published)
    t.match(await compared(stored), {
      entries: 5, users: 1, matching: 3, missing: 0, different: 0, unexplained: 0, repeated: 0, differences: [],
    })
  })
  await t.test('takes repeated records for what they are', async t => {
    const { stored, published } = await givenUplinks(t)
    await stored.publish(...published, published[1]!)
    t.match(await compared(stored), { matching: 3, repeated: 1, missing: 0, unexplained: 0 })
  })
  await t.test('names what is missing, different, or without an entry', async t => {
    const { stored, published } = await givenUplinks(t)
    const [first, , third] = published as [UplinkAccepted, UplinkAccepted, UplinkAccepted]
    await stored.publish(first, { ...third, payload: Buffer.from('other') }, { ...third, seq: 9, userSeq: 9 })
    t.match(await compared(stored), {
      matching: 1,
      missing: 1,
      different: 1,
      unexplained: 1,
      differences: [
        { kind: 'different', userSeq: 3, text: 'payload: other bytes' },
        { kind: 'missing', userSeq: 2 },
        { kind: 'unexplained', userSeq: 9, position: '' },
      ],
    })
  })
  await t.test('waits for what is not published yet', async t => {
    const { stored, published } = await givenUplinks(t)
    await stored.publish(...published.slice(0, 2))
    const report = await comparePublished(stored.log, await stored.everything(), {}, 5_000)
    t.match(report, { matching: 2, pending: 1, missing: 0 })
  })
  await t.test('judges its range alone, though it folds what was before', async t => {
    const { stored, published } = await givenUplinks(t)
    await stored.publish(...published.slice(1))
    const ranges = (await stored.everything()).filter(({ to }) => to > 0n).map(range => ({ ...range, from: 2n }))
    t.match(await comparePublished(stored.log, ranges), { entries: 3, matching: 2, missing: 0 })
  })
  await t.test('leaves other users out', async t => {
    const { stored, published } = await givenUplinks(t)
    await stored.at(9_000, 'bob', opened('b1'), uplink('b1', 1))
    await stored.publish(...published)
    t.match(await compared(stored, { userId: 'ann' }), { users: 1, matching: 3, missing: 0, unexplained: 0 })
    t.match(await compared(stored), { users: 2, matching: 3, missing: 1 })
  })
  await t.test('judges numbers by their distance where the beginning of the ledger is deleted', async t => {
    const { stored, published } = await givenUplinks(t, 'ann', 20 * minute)
    await stored.publish(...published)
    await stored.at(30 * minute, 'ann', opened('c2', { sessionId: 's2' }), uplink('c2', 1), uplink('c2', 2))
    await stored.log.sweep()
    const [last] = published.slice(-1) as [UplinkAccepted]
    const later = [4, 5].map((userSeq, i) => ({
      ...last, userSeq, seq: i + 1, connectionId: 'c2', sessionId: 's2', receivedAtMs: 30 * minute, payload: Buffer.from(`u${i + 1}`),
    }))
    await stored.publish(...later)
    t.match(await compared(stored), { matching: 2, different: 0, missing: 0, unexplained: 0, unjudged: 3 })
  })
})

t.test('A policy tried on recorded traffic', async t => {
  const tried = async (stored: StoredLog, ...words: string[]) =>
    await tryPolicy(stored.log, await stored.everything(), parsePolicy(words))

  await t.test('of logins names the connections that would have been kicked', async t => {
    const stored = await StoredLog.open(t)
    await stored.at(1_000, 'ann', opened('c1'))
    const second = await stored.at(2_000, 'ann', opened('c2', { deviceId: 'pc', platform: 'web', sessionId: 's2' }))
    await stored.at(3_000, 'bob', opened('b1'))
    t.match(await tried(stored, 'loginPolicy=user'), {
      entries: 3,
      users: 2,
      affectedUsers: 1,
      connectionsKicked: { recorded: 0, policy: 1 },
      mostAffected: [{ userId: 'ann', kicked: 1 }],
      kicked: [{ position: second, userId: 'ann', connectionId: 'c1', deviceId: 'phone', platform: 'ios' }],
    })
    t.match(await tried(stored, 'loginPolicy=platform'), { affectedUsers: 0, connectionsKicked: { policy: 0 }, kicked: [] })
  })
  await t.test('that is milder kicks fewer', async t => {
    const stored = await StoredLog.open(t)
    await stored.at(1_000, 'ann', opened('c1'), opened('c2', { deviceId: 'pc', loginPolicy: 'user' }))
    t.match(await tried(stored, 'loginPolicy=none'), {
      connectionsKicked: { recorded: 1, policy: 0 }, mostAffected: [{ userId: 'ann', kicked: -1 }],
    })
  })
  await t.test('of times to live counts the downlinks that would have expired', async t => {
    const stored = await StoredLog.open(t)
    await stored.at(1_000, 'ann', opened('c1'), closed('c1'), requested('m1'), requested('m2'))
    await stored.at(10 * minute, 'ann', opened('c2'))
    t.match(await tried(stored, 'ttlMs=60000'), {
      downlinksExpired: { recorded: 0, policy: 2 }, mostAffected: [{ userId: 'ann', lost: 2 }],
    })
  })
  await t.test('of rates counts the uplinks that would have been throttled', async t => {
    const stored = await StoredLog.open(t)
    await stored.at(1_000, 'ann', opened('c1'))
    for (let seq = 1; seq <= 10; seq++) await stored.at(1_000, 'ann', uplink('c1', seq))
    await stored.at(3_000, 'ann', uplink('c1', 11))
    t.match(await tried(stored, 'frameRate=5', 'frameBurst=8'), {
      uplinksThrottled: 2, connectionsRateLimited: 0, mostAffected: [{ userId: 'ann', throttled: 2 }],
    })
    t.match(await tried(stored, 'frameRate=0,frameBurst=8'), { uplinksThrottled: 0 })
    for (let seq = 12; seq <= 40; seq++) await stored.at(3_000, 'ann', uplink('c1', seq))
    t.match(await tried(stored, 'frameRate=1,frameBurst=1'), { uplinksThrottled: 39, connectionsRateLimited: 1 })
  })
})

t.test('A policy', async t => {
  const wrong = {
    'loginPolicy=all': /want device, platform, user, none/,
    'ttlMs=-1': /want a number/,
    'outboxMax=5': /part of the fold/,
    nonsense: /got "nonsense", want loginPolicy=/,
  }
  for (const [words, message] of Object.entries(wrong)) {
    await t.test(`is not ${words}`, async t => { t.throws(() => parsePolicy([words]), { message }) })
  }
})
