import { createHash } from 'node:crypto'
import t from 'tap'
import { contentOf, digestOf } from '../../actors/digest.js'
import { nameOf, noContent, Requests, requestsMax } from '../../actors/requests.js'
import { outboxMax } from '../../actors/user/state.js'
import { at, closed, effectsOf, given, kicked, minute, opened, redelivered, requested } from './user/history.js'

const hour = 60 * minute
const day = 24 * hour

t.test('A request', async t => {
  t.test('is a repeat within a day, though a thousand others came in between', async t => {
    const state = given(opened('c1'), requested('first'))
    for (let i = 0; i < 1_001; i++) effectsOf(state, requested(`m${i}`))
    t.strictSame(effectsOf(state, requested('first')), ['duplicate(duplicate) first #0'])
    t.equal(state.sessions.get('phone')!.outbox.filter(({ messageId }) => messageId === 'first').length, 0)
    t.equal(state.sessions.get('phone')!.outbox.length, outboxMax)
  })
  t.test('is a repeat of none of another kind, whatever its id is made of', async t => {
    const state = given(opened('c1'), requested('r1/m1'), requested('k1'))
    t.strictSame(effectsOf(state, redelivered('m1', 'r1')), ['deliver c1 3 m1'])
    t.strictSame(effectsOf(state, redelivered('m/1', 'r')), ['deliver c1 4 m/1'])
    t.strictSame(effectsOf(state, redelivered('1', 'r/m')), ['deliver c1 5 1'])
    t.strictSame(effectsOf(state, redelivered('1', 'r/m')), ['duplicate(duplicate) 1 phone#0'])
    t.strictSame(effectsOf(state, kicked('k1')), ['close c1 kicked'])
    t.strictSame(effectsOf(state, opened('c2')), ['welcome c2 resumed up 0 down 0..5'])
    t.strictSame(effectsOf(state, kicked('k1')), [])
  })
  t.test('with an id that was taken for something else says so, and is not sent', async t => {
    const state = given(opened('c1'), requested('m1', { payload: Buffer.from('one') }))
    t.strictSame(effectsOf(state, requested('m1', { payload: Buffer.from('one') })), ['duplicate(duplicate) m1 #0'])
    t.strictSame(effectsOf(state, requested('m1', { payload: Buffer.from('two') })), ['duplicate(conflict) m1 #0'])
    t.strictSame(effectsOf(state, requested('m1', { payload: Buffer.from('one'), service: 'chat' })),
      ['duplicate(conflict) m1 #0'])
  })
})

t.test('Remembered requests', async t => {
  t.test('are forgotten after a day by the times of their entries, and before that past their number', async t => {
    const requests = new Requests()
    for (let i = 0; i < 100; i++) requests.take(`a${i}`, noContent, i)
    for (let i = 0; i < 8; i++) requests.take(`b${i}`, noContent, day + minute)
    t.equal(requests.look('a0', noContent), 'first')
    t.equal(requests.size, 8)
    for (let i = 0; i < requestsMax; i++) requests.take(`c${i}`, noContent, day + hour)
    t.equal(requests.size, requestsMax)
    t.equal(requests.look('b7', noContent), 'first')
    t.equal(requests.look('c0', noContent), 'duplicate')
  })
  t.test('survive a few that are dated a year ahead', async t => {
    const requests = new Requests()
    for (let i = 0; i < 100; i++) requests.take(`a${i}`, noContent, i * minute)
    for (let i = 0; i < 7; i++) requests.take(`ahead${i}`, noContent, 365 * day)
    requests.take('b', noContent, 2 * hour)
    t.equal(requests.size, 108)
    t.equal(requests.look('a0', noContent), 'duplicate')
  })
  t.test('are all found, and nothing else, through growth, forgetting and being saved', async t => {
    let requests = new Requests()
    const taken: string[] = []
    const parts = new Map<string, Uint8Array>()
    for (let i = 0; i < 35_000; i++) {
      const name = nameOf.downlink(`message ${i}`)
      if (requests.take(name, i + 1, i) === 'first') taken.push(name)
      if (i % 7_001 === 0) requests = restored(requests, parts)
    }
    t.equal(taken.length, 35_000)
    const kept = taken.slice(-requestsMax)
    t.ok(kept.every((name, i) => requests.look(name, taken.length - requestsMax + i + 1) === 'duplicate'))
    t.ok(kept.every(name => requests.look(name, 77_777) === 'conflict'))
    t.ok(taken.slice(0, -requestsMax).every(name => requests.look(name, noContent) === 'first'))
  })
})

t.test('A digest of a name is the first half of its BLAKE2s-256', async t => {
  for (const text of ['', 'a', 'x'.repeat(63), 'x'.repeat(64), 'x'.repeat(65), 'é😀'.repeat(60), 'd'.repeat(700)]) {
    const digest = Buffer.alloc(16)
    digestOf(text).forEach((word, i) => digest.writeInt32LE(word, 4 * i))
    t.same(digest, createHash('blake2s256').update(text).digest().subarray(0, 16))
  }
})

t.test('A digest of content goes with every byte of it', async t => {
  const contents = ['', 'a', 'b', 'ab', 'ba', 'abcd', 'abcde', 'abcd\0']
  const digests = contents.flatMap(text => [contentOf('', Buffer.from(text)), contentOf('chat', Buffer.from(text))])
  t.equal(new Set(digests).size, digests.length)
  t.notOk(digests.includes(noContent))
})

t.test('A waiting list that is full lets one go that has expired, before one that has not', async t => {
  const state = given(requested('valid', { ttlMs: day }))
  for (let i = 1; i < outboxMax; i++) effectsOf(state, at(0, requested(`m${i}`, { ttlMs: minute })))
  t.strictSame(effectsOf(state, at(hour, requested('late', { ttlMs: hour }))), ['expired(ttl) m1 #0'])
  for (let i = 0; i < outboxMax - 2; i++) effectsOf(state, at(hour, requested(`n${i}`, { ttlMs: hour })))
  t.strictSame(effectsOf(state, at(hour, requested('last'))), ['dropped(waiting-full) valid #0'])
})

t.test('An outbox that is full lets those go that have expired, before one that has not', async t => {
  const state = given(opened('c1'), requested('valid'), closed('c1'))
  for (let i = 1; i < outboxMax; i++) effectsOf(state, at(0, requested(`m${i}`, { ttlMs: minute })))
  t.match(effectsOf(state, at(30 * minute, requested('late'))), { length: outboxMax - 1, 0: 'expired(ttl) m1 phone#0' })
  t.strictSame(state.sessions.get('phone')!.outbox.map(({ messageId }) => messageId), ['valid', 'late'])
})

/** Those that come out of a store which has had the others all along. */
function restored (requests: Requests, parts: Map<string, Uint8Array>): Requests {
  requests.collect(parts, false)
  requests.saved()
  const next = new Requests()
  next.restoreParts(parts, requests.first, requests.end)
  return next
}
