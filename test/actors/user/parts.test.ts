import t from 'tap'
import { changesOf, partsOf, stateOf, unsavable } from '../../../actors/user/parts.js'
import { outboxMax, sessionsMax, type UserState } from '../../../actors/user/state.js'
import { headCodec } from '../../../schemas/user-state.js'
import type { Fact } from '../../../schemas/facts.js'
import { at, closed, effectsOf, given, granted, kicked, minute, opened, reported, requested, revoked, skipped, uplink } from './history.js'
import { assertAlike, SavedParts } from './saved-parts.js'

const day = 1_440 * minute
const kb60 = Buffer.alloc(60_000, 7)

function save (saved: SavedParts, state: UserState): SavedParts {
  saved.save(changesOf(state))
  return saved
}

t.test('What a checkpoint writes', async t => {
  t.test('of an ordinary user is at most 2 KB, after a thousand pushes as after one', async t => {
    const state = given(opened('c1'))
    const saved = new SavedParts()
    let most = 0
    for (let i = 1; i <= 1_000; i++) {
      effectsOf(state, requested(`01890a5d-ac96-774b-bcce-b302099a${i}`, { payload: Buffer.alloc(200, 1) }))
      effectsOf(state, uplink('c1', i))
      effectsOf(state, reported('c1', i))
      most = Math.max(most, save(saved, state).bytes)
    }
    t.ok(most <= 2_048, `${most} bytes`)
    t.equal(saved.strays().length, 0)
  })
  t.test('of a user with 60 MB waiting goes with 8 small pushes, not with what waits', async t => {
    const alone = given(opened('c1'), closed('c1'))
    const loaded = given(opened('c1'), closed('c1'))
    const [few, many] = [new SavedParts(), new SavedParts()]
    for (let i = 0; i < outboxMax - 8; i++) effectsOf(loaded, requested(`big ${i}`, { payload: kb60, ttlMs: day }))
    save(few, alone)
    save(many, loaded)
    t.ok(many.bytes > 59e6)
    const owner = many.load()
    t.ok(owner.messages.bytes > 59e6)
    t.equal([...owner.messages].filter(({ payload }) => payload).length, 0, 'and none of it is in memory')
    for (const state of [alone, owner]) for (let i = 0; i < 8; i++) effectsOf(state, requested(`m${i}`))
    save(few, alone)
    save(many, owner)
    t.ok(many.bytes <= 1.5 * few.bytes, `${many.bytes} bytes, and ${few.bytes} with nothing waiting`)
  })
  t.test('has the rooms of a user where these have changed, and the last of their numbers for ever', async t => {
    const state = given(opened('c1'), granted('g1', 'chat'), granted('g2', 'news', 'r'))
    const saved = save(new SavedParts(), state)
    t.ok(saved.written.has('o0'))
    effectsOf(state, uplink('c1', 1))
    t.notOk(save(saved, state).written.has('o0'))
    effectsOf(state, revoked('g3', 'chat'))
    effectsOf(state, revoked('g4', 'news'))
    assertAlike(save(saved, state).load(), state)
    t.match(saved.load(), { membershipsVersion: 4 }, 'so that what is told late is known as such')
    t.equal(saved.strays().length, 0)
  })
  t.test('of 64 devices has each payload once, and goes with what changed', async t => {
    const state = given(...Array.from({ length: sessionsMax }, (_, i) => opened(`c${i}`, { deviceId: `d${i}` })),
      ...Array.from({ length: sessionsMax }, (_, i) => closed(`c${i}`)))
    const saved = save(new SavedParts(), state)
    const payload = Buffer.alloc(1_000)
    for (let i = 0; i < outboxMax; i++) effectsOf(state, requested(`m${i}`, { payload, ttlMs: day }))
    save(saved, state)
    t.equal([...saved.written.keys()].filter(id => id.startsWith('p')).length, outboxMax)
    t.ok(saved.bytes < 1.3 * outboxMax * 1_000, `${saved.bytes} bytes`)
    effectsOf(state, requested('one more'))
    save(saved, state)
    t.ok(saved.bytes < 16_384, `${saved.bytes} bytes for one push to 64 devices`)
    effectsOf(state, at(0, opened('again', { deviceId: 'd1' })))
    effectsOf(state, reported('again', 500))
    save(saved, state)
    t.ok(saved.bytes < 4_096, `${saved.bytes} bytes for 500 acks of one device`)
  })
  t.test('goes with one device, where each message is for another one', async t => {
    const state = given(...Array.from({ length: sessionsMax }, (_, i) => opened(`c${i}`, { deviceId: `d${i}` })),
      ...Array.from({ length: sessionsMax }, (_, i) => closed(`c${i}`)))
    const saved = new SavedParts()
    for (let i = 0; i < 100 * sessionsMax; i++) {
      effectsOf(state, requested(`m${i}`, { devices: [`d${i * 7 % sessionsMax}`], ttlMs: day }))
    }
    save(saved, state)
    effectsOf(state, requested('one more', { devices: ['d5'] }))
    save(saved, state)
    t.ok(saved.bytes < 4_096, `${saved.bytes} bytes`)
    t.equal(saved.whole().sessions.get('d5')!.outbox.at(-1)!.messageId, 'one more')
  })
  t.test('is a head alone where nothing else has changed', async t => {
    const state = given(opened('c1'), requested('m1'))
    const saved = save(new SavedParts(), state)
    effectsOf(state, uplink('c9', 1))
    save(saved, state)
    t.strictSame([...saved.written.keys()], [])
    t.ok(saved.bytes < 100, `${saved.bytes} bytes`)
  })
})

t.test('After each entry by itself, what is saved is the state, and nothing else is', async t => {
  const many = (count: number, make: (i: number) => Fact) => Array.from({ length: count }, (_, i) => make(i))
  const all = (atMs: number, facts: Fact[]) => facts.map((fact): [number, Fact] => [atMs, fact])
  const large = Buffer.alloc(600)
  const entries: Array<[number, Fact]> = [
    [0, requested('w1')], [0, requested('w2', { platforms: ['another'] })],
    [0, opened('c1')], [0, uplink('c1', 1)], [0, requested('m1')], [0, requested('m2')],
    [0, requested('m3', { payload: large })],
    [0, requested('m4')], [0, reported('c1', 1)], [0, reported('c1', 2)], [0, reported('c1', 3)], [0, skipped('c1', 4)],
    [0, reported('c1', 5)], [0, requested('m5', { ttlMs: 1 })], [0, closed('c1')], [1, requested('m6', { ttlMs: 1 })],
    [minute, opened('c2', { downlinkSeq: 5 })], [minute, reported('c2', 5)], [minute, requested('m7')],
    [minute, reported('c2', 7)],
    [minute, closed('c2', { told: false })], [minute, requested('m8', { ttlMs: 1 })],
    [2 * minute, opened('c3', { downlinkSeq: 7 })], [2 * minute, opened('c4', { downlinkSeq: 7 })],
    [2 * minute, closed('c4', { told: true })], [2 * minute, opened('c5')], [2 * minute, kicked('k1')],
    [2 * minute, closed('c9')], [2 * minute, opened('c6', { sessionId: 'another' })],
    [2 * minute, closed('c6', { endSession: true })],
    ...all(2 * minute, many(3, i => requested(`n${i}`))),
    ...all(3 * minute, many(sessionsMax + 2, i => opened(`x${i}`, { deviceId: `d${i}` }))),
    [3 * minute, requested('all')], [3 * minute, opened('y0', { deviceId: 'd0' })],
    ...all(4 * minute, many(140, i => opened(`z${i}`, { deviceId: 'd5' }))),
    ...all(4 * minute, many(100, i => requested(`q${i}`, { devices: [`d${9 + i % 3}`] }))),
    ...all(4 * minute + 2 * day, many(60, i => kicked(`k${i}`, 'none'))),
    [60 * day, opened('late', { deviceId: 'later' })], [60 * day, opened('later', { deviceId: 'latest' })],
  ]
  const state = given()
  const saved = new SavedParts()
  for (const [i, [atMs, fact]] of entries.entries()) {
    effectsOf(state, at(atMs, fact))
    save(saved, state)
    t.doesNotThrow(() => { assertAlike(saved.whole(), state) }, `${i} ${fact.type}`)
    if (saved.strays().length > 0) t.fail(`${i} ${fact.type}: nothing names ${saved.strays().join()}`)
  }
})

t.test('A message that goes before it was saved is never written', async t => {
  const state = given(opened('c1'))
  const saved = save(new SavedParts(), state)
  effectsOf(state, requested('m1', { payload: kb60 }))
  effectsOf(state, reported('c1', 1))
  const { added, gone } = changesOf(state)
  t.strictSame([added.size, gone], [0, []])
  t.equal(saved.strays().length, 0)
})

t.test('A payload is in its message up to 512 bytes, and a part of its own past that', async t => {
  const state = given(opened('c1'), requested('small', { payload: Buffer.alloc(512) }), requested('large', { payload: Buffer.alloc(513) }))
  const saved = save(new SavedParts(), state)
  t.equal(saved.parts.get('p1'), undefined)
  t.equal(saved.parts.get('p2')?.length, 513)
  t.strictSame(saved.load().sessions.get('phone')!.outbox.map(({ payload, payloadBytes }) => [payload?.length, payloadBytes]),
    [[512, 512], [undefined, 513]])
  effectsOf(state, reported('c1', 2))
  save(saved, state)
  t.strictSame([...saved.parts.keys()].filter(id => id.startsWith('m') || id.startsWith('p')), [])
})

t.test('A saved state', async t => {
  const whole = () => save(new SavedParts(), given(opened('c1'), requested('m1'), uplink('c1', 1)))
  for (const id of ['s1', 'c1', 'm1', 'r0']) {
    t.test(`without its part ${id} is no state`, async t => {
      const saved = whole()
      saved.parts.delete(id)
      t.throws(() => saved.load(), { code: 'bad-record', message: new RegExp(`part ${id} of`) })
    })
  }
  t.test('whose head names more than there can be is no state', async t => {
    const { head } = whole()
    const many = 2 ** 40
    for (const wrong of [
      { messages: [0, many] }, { messages: [-1, 1] }, { connections: [0, 129] }, { requestsEnd: many },
    ]) {
      const bytes = headCodec.encode({ ...headCodec.decode(head!), ...wrong })
      t.throws(() => partsOf(bytes), { code: 'bad-record' }, JSON.stringify(wrong))
    }
  })
  t.test('that could not be saved says so, and names no parts', async t => {
    const head = unsavable('too much')
    t.strictSame(partsOf(head), [])
    t.throws(() => stateOf({ head, parts: new Map() }), { code: 'bad-record', message: 'This state could not be saved: too much' })
  })
})
