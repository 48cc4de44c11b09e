import t from 'tap'
import { at, closed, effectsOf, given, kicked, minute, opened, requested } from './history.js'

t.test('A downlink that is gone', async t => {
  t.test('is announced again though an older one was announced on two connections at once', async t => {
    const brief = { ttlMs: minute }
    const state = given(opened('c1'), closed('c1'), requested('m1', brief))
    effectsOf(state, at(10 * minute, opened('c2')))
    t.match(effectsOf(state, at(10 * minute, opened('c3'))), ['close c2 superseded', /missed 1$/])
    effectsOf(state, at(10 * minute, closed('c2', { told: true })))
    effectsOf(state, at(10 * minute, kicked('k1', 'c3')))
    effectsOf(state, at(10 * minute, requested('m2', brief)))
    t.match(effectsOf(state, at(20 * minute, opened('c4'))), ['expired(ttl) m2 phone#0', /missed 1$/])
    effectsOf(state, at(20 * minute, closed('c3', { told: true })))
    effectsOf(state, at(20 * minute, closed('c4', { told: false })))
    t.strictSame(effectsOf(state, at(20 * minute, opened('c5'))), ['welcome c5 resumed up 0 down 0 missed 1'])
  })
  t.test('has left the outbox even where it had number 0', async t => {
    const state = given(opened('c1', { downlinkSeq: -1 }), requested('m1', { ttlMs: 0 }))
    effectsOf(state, at(minute, opened('c2', { downlinkSeq: -1 })))
    t.match(state.sessions.get('phone'), { outbox: [], numbered: 0 })
  })
})
