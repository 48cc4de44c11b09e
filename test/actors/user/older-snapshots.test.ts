import avsc from 'avsc'
import t from 'tap'
import { requestsMax } from '../../../actors/requests.js'
import { stateOf } from '../../../actors/user/parts.js'
import { loadSchema } from '../../../schemas/avsc-files.js'
import { fingerprintOf, headerBytes, writeHeader } from '../../../schemas/single-object.js'
import { at, effectsOf, kicked, opened, redelivered, requested } from './history.js'
import { restored } from './saved-parts.js'

const old = loadSchema('history/user-state-1')

/** A state as the first format has it, of a user whose phone is away. */
function oldSnapshot (requests: string[]): Buffer {
  const body = avsc.Type.forSchema(old as any, { wrapUnions: true }).toBuffer({
    offset: 12,
    userSeq: 3,
    sessionsBegun: 1,
    sessions: [{
      deviceId: 'phone',
      ordinal: 1,
      platform: 'ios',
      sessionId: 's1',
      connectionId: '',
      touchedAtMs: 1_000_000,
      uplinkSeq: 3,
      answers: [1, 1, 1],
      answersMax: 4,
      nextSeq: 2,
      ackedSeq: 1,
      toldSeq: 0,
      missed: 0,
      numbered: 0,
      outbox: [{
        messageId: 'kept',
        service: '',
        payload: Buffer.from('hello'),
        requestedAtMs: 1_000_000,
        expiresAtMs: 9_000_000,
        platforms: [],
        exceptDevices: [],
      }],
    }],
    connections: [],
    requests,
    waiting: [],
  })
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(old), header, 0)
  return Buffer.concat([header, body])
}

t.test('A state that an older version saved', async t => {
  t.test('is read, and goes on', async t => {
    const state = stateOf({ head: oldSnapshot(['kept']), parts: new Map() })
    t.match(state, { offset: 12n, userSeq: 3, waiting: [] })
    t.equal(state.forgotten.size, 0)
    t.strictSame(effectsOf(state, at(1_100_000, opened('c1', { downlinkSeq: 1 }))), ['welcome c1 resumed up 3 down 1..2'])
    t.match(restored(state).sessions.get('phone'), { nextSeq: 3, outbox: [{ messageId: 'kept' }] })
  })
  t.test('knows repeats of what it remembers, of every kind', async t => {
    const state = stateOf({ head: oldSnapshot(['m1', 'r1/m1', 'a/b/c', 'k1']), parts: new Map() })
    effectsOf(state, at(1_100_000, opened('c1', { downlinkSeq: 1 })))
    for (let i = 0; i < 20; i++) effectsOf(state, at(1_100_000, requested(`new ${i}`)))
    t.strictSame(effectsOf(state, at(1_100_000, requested('m1'))), ['duplicate(duplicate) m1 #0'])
    t.strictSame(effectsOf(state, at(1_100_000, redelivered('m1', 'r1'))), ['duplicate(duplicate) m1 phone#0'])
    t.strictSame(effectsOf(state, at(1_100_000, redelivered('b/c', 'a'))), ['duplicate(duplicate) b/c phone#0'])
    t.strictSame(effectsOf(state, at(1_100_000, redelivered('c', 'a/b'))), ['duplicate(duplicate) c phone#0'])
    t.strictSame(effectsOf(state, at(1_100_000, kicked('k1'))), [])
  })
  t.test('knows the latest repeats, and no more than it has room for, where ids look like paths', async t => {
    const path = '/a'.repeat(100)
    const ids = Array.from({ length: 1_000 }, (_, i) => `${i}${path}`)
    const state = stateOf({ head: oldSnapshot(ids), parts: new Map() })
    t.equal(state.requests.size, requestsMax)
    t.strictSame(effectsOf(state, at(1_100_000, requested(ids.at(-1)!))), [`duplicate(duplicate) ${ids.at(-1)!} #0`])
  })
})
