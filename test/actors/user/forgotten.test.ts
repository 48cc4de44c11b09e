import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { forgottenMax, sessionsMax, type UserState } from '../../../actors/user/state.js'
import { at, closed, effectsOf, given, minute, opened, play, reported, requested } from './history.js'
import { restored } from './saved-parts.js'

const day = 1_440 * minute

/** So many devices come once and go, and ack what is pushed meanwhile or not. */
function devicesPass (state: UserState, count: number, atMs: number, name: string, acks = false): string[] {
  const effects: string[] = []
  for (let i = 0; i < count; i++) {
    const connectionId = `${name}${i}`
    effects.push(...effectsOf(state, at(atMs + i, opened(connectionId, { deviceId: connectionId }))))
    const ackedSeq = acks ? state.sessions.get(connectionId)!.nextSeq : 0
    if (acks) effectsOf(state, at(atMs + i, requested(`for ${connectionId}`, { devices: [connectionId] })))
    effects.push(...effectsOf(state, at(atMs + i, closed(connectionId, { ackedSeq }))))
  }
  return effects
}

/** The phone has acked one downlink and is away with `waiting` more. */
function phoneAway (waiting: number): UserState {
  const state = given(opened('c1'), requested('m0'), reported('c1', 1), closed('c1', { ackedSeq: 1 }))
  for (let i = 1; i <= waiting; i++) effectsOf(state, at(minute, requested(`m${i}`, { ttlMs: 60 * day })))
  return state
}

t.test('A device that acks', async t => {
  t.test('is not forgotten for those that never did, though they came later', async t => {
    const state = phoneAway(1)
    t.notMatch(devicesPass(state, 3 * sessionsMax, 2 * minute, 'page').join(), /sessions-full\) m1 phone/)
    t.strictSame(effectsOf(state, at(day, opened('c2', { downlinkSeq: 1 }))), ['welcome c2 resumed up 0 down 1..2'])
    t.equal(state.sessions.size, sessionsMax)
  })
  t.test('is forgotten for others that do, and is told how many downlinks went with it', async t => {
    const state = phoneAway(3)
    const effects = devicesPass(state, sessionsMax, 2 * minute, 'page', true)
    t.strictSame(effects.filter(effect => effect.includes('phone')),
      ['dropped(sessions-full) m1 phone#0', 'dropped(sessions-full) m2 phone#0', 'dropped(sessions-full) m3 phone#0'])
    t.strictSame(effectsOf(state, at(day, opened('c2', { downlinkSeq: 1 }))), ['welcome c2 new up 0 down 1 missed 3'])
  })
})

t.test('What went with a forgotten session', async t => {
  const forgotten = () => {
    const state = phoneAway(3)
    devicesPass(state, sessionsMax, 2 * minute, 'page', true)
    return state
  }
  t.test('is announced again until the client is known to have read it, and then no more', async t => {
    const state = forgotten()
    effectsOf(state, at(day, opened('c2', { downlinkSeq: 1 })))
    effectsOf(state, at(day, closed('c2', { told: false, code: 'connection-lost' })))
    t.strictSame(effectsOf(state, at(day, opened('c3', { downlinkSeq: 1 }))), ['welcome c3 resumed up 0 down 1 missed 3'])
    effectsOf(state, at(day, closed('c3', { told: true })))
    t.strictSame(effectsOf(state, at(day, opened('c4', { downlinkSeq: 1 }))), ['welcome c4 resumed up 0 down 1'])
  })
  t.test('is announced again though the device is forgotten once more before it has read that', async t => {
    const state = forgotten()
    effectsOf(state, at(day, opened('c2', { downlinkSeq: 1 })))
    effectsOf(state, at(day, closed('c2', { told: false, code: 'connection-lost' })))
    devicesPass(state, sessionsMax, 2 * day, 'other', true)
    t.notOk(state.sessions.has('phone'))
    t.strictSame(effectsOf(state, at(3 * day, opened('c3', { downlinkSeq: 1 }))), ['welcome c3 new up 0 down 1 missed 3'])
  })
  t.test('is not what the client has processed after all', async t => {
    const state = given(opened('c1'), ...[1, 2, 3, 4].map(i => requested(`m${i}`)), reported('c1', 1), closed('c1', { ackedSeq: 1 }))
    devicesPass(state, sessionsMax, minute, 'page', true)
    t.strictSame(effectsOf(state, at(day, opened('c2', { downlinkSeq: 3 }))), ['welcome c2 new up 0 down 3 missed 1'])
  })
  t.test('is known after 29 days and not after 31', async t => {
    const back = (after: number) => {
      const state = forgotten()
      devicesPass(state, 2 * sessionsMax, after, 'late', true)
      return effectsOf(state, at(after + minute, opened('c2', { downlinkSeq: 1 })))
    }
    t.strictSame(back(29 * day), ['welcome c2 new up 0 down 1 missed 3'])
    t.match(back(31 * day), ['welcome c2 new up 0 down 1'])
  })
  t.test('is kept of so many devices at most, of those that never acked the shortest', async t => {
    const state = phoneAway(1)
    devicesPass(state, sessionsMax, 2 * minute, 'a', true)
    t.ok(state.forgotten.has('phone'))
    for (let i = 0; i < forgottenMax + 10; i++) {
      effectsOf(state, at(day, requested(`x${i}`, { ttlMs: 60 * day })))
      devicesPass(state, sessionsMax, day + i, `page${i}-`)
    }
    t.equal(state.forgotten.size, forgottenMax)
    t.ok(state.forgotten.has('phone'))
    t.same([...restored(state).forgotten], [...state.forgotten])
  })
})

t.test('Nothing is lost in silence when more devices come and go than are kept', async () => {
  const step = fc.record({
    device: fc.oneof(fc.nat({ max: 5 }), fc.nat({ max: sessionsMax + 20 })),
    pushes: fc.nat({ max: 2 }),
    reads: fc.boolean(),
    acks: fc.boolean(),
  })
  const story = fc.array(step, { minLength: 150, maxLength: 400, size: 'max' })
  fc.assert(fc.property(story, steps => {
    const state = given()
    /** For each device: its cursor, and the downlinks that it has got or was told to miss. */
    const clients = new Map<string, { seq: number, known: number }>()
    /** Downlinks that were for the device while it had a session. */
    const owed = new Map<string, number>()
    for (const [i, { device, pushes, reads, acks }] of steps.entries()) {
      const deviceId = `d${device}`
      const client = clients.get(deviceId) ?? { seq: 0, known: 0 }
      clients.set(deviceId, client)
      const before = new Set(state.sessions.keys())
      const waiting = state.waiting.length
      const effects = play(state, [at(i, opened(`c${i}`, { deviceId, loginPolicy: 'none', downlinkSeq: client.seq }))])
      if (before.size === 0) owed.set(deviceId, waiting)
      const welcome = effects.find(effect => effect.type === 'welcome')!
      assert(welcome.type === 'welcome')
      if (reads) {
        client.known += welcome.missed + welcome.lastSeq - welcome.downlinkSeq
        client.seq = welcome.lastSeq
      }
      const acked = reads && acks ? client.seq : 0
      effectsOf(state, at(i, closed(`c${i}`, { told: reads, ackedSeq: acked })))
      for (let n = 0; n < pushes; n++) {
        play(state, [at(i, requested(`m${i}.${n}`))])
        for (const id of state.sessions.keys()) owed.set(id, (owed.get(id) ?? 0) + 1)
      }
    }
    for (const [deviceId, client] of clients) {
      const session = state.sessions.get(deviceId)
      const lost = state.forgotten.get(deviceId)
      const gone = owed.get(deviceId) ?? 0
      if (client.known >= gone) continue
      assert(session ?? lost, `${deviceId} knows of ${client.known} of ${gone}, and nobody will tell it`)
      const effects = play(state, [at(1_000, opened(`last ${deviceId}`, { deviceId, loginPolicy: 'none', downlinkSeq: client.seq }))])
      const welcome = effects.find(effect => effect.type === 'welcome')!
      assert(welcome.type === 'welcome')
      const told = client.known + welcome.missed + welcome.lastSeq - welcome.downlinkSeq
      assert(told >= gone, `${deviceId} was told of ${told} of ${gone}`)
      effectsOf(state, at(1_000, closed(`last ${deviceId}`, { told: false })))
    }
  }), { numRuns: 60 })
})
