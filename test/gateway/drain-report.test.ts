import t from 'tap'
import { savedStateOf } from '../../actors/user/parts.js'
import type { UserState } from '../../actors/user/state.js'
import { DrainReport, lostOf } from '../../gateway/drain-report.js'
import type { Departure } from '../../gateway/edge/drain.js'
import { at, closed, given, minute, opened, reported, requested, uplink } from '../actors/user/history.js'

function departure (more: Partial<Departure> = {}): Departure {
  const nowMs = Date.now()
  return {
    userId: 'ann',
    deviceId: 'phone',
    partition: 0,
    connectionId: 'c1',
    openedAtMs: nowMs - 60_000,
    askedAtMs: nowMs - 1_500,
    endedAtMs: nowMs - 500,
    closed: false,
    uplinkSeq: 0,
    writtenSeq: 0,
    ackedSeq: 0,
    rooms: 0,
    ...more,
  }
}

t.test('lostOf', async t => {
  const none = { uplinksLost: 0, downlinksLost: 0, isFinal: false }
  const nothing = { ...none, isFinal: true }

  t.test('counts uplinks that the edge took and the session has not accepted', async t => {
    const state = given(opened('c1'), uplink('c1', 1), uplink('c1', 2), opened('c2'), closed('c1'))
    t.strictSame(lostOf(departure({ uplinkSeq: 2 }), state), nothing)
    t.strictSame(lostOf(departure({ uplinkSeq: 5 }), state), { uplinksLost: 3, downlinksLost: 0, isFinal: true })
  })

  t.test('does not count what the client sent again on its next connection', async t => {
    const state = given(opened('c1'), uplink('c1', 1), opened('c2'), uplink('c2', 2), uplink('c2', 3))
    t.strictSame(lostOf(departure({ uplinkSeq: 3 }), state), none)
  })

  t.test('counts downlinks that were written and are neither acked nor kept', async t => {
    const short = { ttlMs: minute }
    const requests = ['m1', 'm2', 'm3', 'm4'].map(id => requested(id, id < 'm4' ? short : {}))
    const history = [opened('c1'), ...requests, reported('c1', 1, 4)]
    const written = departure({ writtenSeq: 4, ackedSeq: 1 })
    t.strictSame(lostOf(written, given(...history, opened('c2'))), none, 'kept for the next connection')
    t.strictSame(lostOf(written, given(...history, opened('c2', { downlinkSeq: 4 }))), none, 'acked there')
    const late = given(...history, at(10 * minute, opened('c2', { downlinkSeq: 1 })), at(10 * minute, closed('c1')))
    const lost = { uplinksLost: 0, downlinksLost: 2, isFinal: true }
    t.strictSame(lostOf(written, late), lost, 'm2 and m3 are past their time')
  })

  t.test('can not tell by a state from before the end of the connection, which is late and no loss', async t => {
    const left = departure({ uplinkSeq: 2, writtenSeq: 2 })
    const state = given(opened('c1'), requested('m1'), uplink('c1', 1))
    t.strictSame(lostOf(left, state), { uplinksLost: -1, downlinksLost: -1, isFinal: false })
    const newer = given(opened('c1'), requested('m1'), uplink('c1', 1), requested('m2'), uplink('c1', 2), closed('c1'))
    t.strictSame(lostOf(left, newer), nothing)
  })

  t.test('can not tell of a device that has begun anew', async t => {
    const state = given(opened('c1'), uplink('c1', 1), opened('c2', { sessionId: 's2' }))
    t.strictSame(lostOf(departure({ uplinkSeq: 1 }), state), { uplinksLost: -1, downlinksLost: 0, isFinal: false })
    const ended = given(opened('c1'), uplink('c1', 1), closed('c1', { endSession: true }))
    t.strictSame(lostOf(departure({ uplinkSeq: 1 }), ended), { uplinksLost: -1, downlinksLost: -1, isFinal: true })
  })
})

t.test('DrainReport', async t => {
  const resumedAtMs = Date.now() + 500

  /** Tables and states as a test sets them. */
  function world () {
    const stored: { fields: Map<string, object>, state?: UserState } = { fields: new Map() }
    const report = new DrainReport({
      tables: { get: async () => stored.fields },
      snapshots: { load: async () => stored.state && { ...savedStateOf(stored.state), others: [] } },
    })
    return Object.assign(stored, { report })
  }
  const session = (nodeId: string, openedAtMs: number, deviceId = 'phone') => ({ deviceId, nodeId, openedAtMs })

  /** Nobody is looked for all the time. */
  const again = () => new Promise(resolve => setTimeout(resolve, 450))

  t.test('settles a connection when its device was seen and nothing is missing', async t => {
    const here = world()
    const { report, fields } = here
    const left = departure({ uplinkSeq: 2 })
    report.add([left])
    await report.look()
    t.strictSame(report.take(10), [], 'not seen yet')
    await again()
    fields.set('c0', session('n0', left.openedAtMs - 1)).set('c5', session('n5', resumedAtMs, 'tablet'))
    fields.set('c2', session('n2', resumedAtMs))
    await report.look()
    t.strictSame(report.take(10), [], 'its state is not known')
    await again()
    here.state = given(opened('c1'), uplink('c1', 1), opened('c2'))
    await report.look()
    t.strictSame(report.take(10), [], 'an uplink is not in it yet')
    await again()
    here.state = given(opened('c1'), uplink('c1', 1), opened('c2'), uplink('c2', 2))
    await report.look()
    t.match(report.take(10), [{ toNodeId: 'n2', uplinksLost: 0 }])
    t.equal(report.isSettled, true)
  })

  t.test('tells where it resumed, after how long, and how long it was without a connection', async t => {
    const here = world()
    const left = departure({ uplinkSeq: 1, rooms: 2 })
    here.report.add([left])
    here.fields.set('c2', session('n2', left.endedAtMs + 300))
    here.state = given(opened('c1'), uplink('c1', 1), opened('c2'))
    await here.report.look()
    t.strictSame(here.report.take(10), [{
      userId: 'ann',
      deviceId: 'phone',
      connectionId: 'c1',
      closed: false,
      toNodeId: 'n2',
      toConnectionId: 'c2',
      afterMs: 1_300,
      darkMs: 300,
      uplinksLost: 0,
      downlinksLost: 0,
      rooms: 2,
    }])
    t.match(here.report, {
      left: 1, closed: 0, resumed: 1, uplinksLost: 0, downlinksLost: 0, members: 2, membersResumed: 2, isSettled: true,
    })
  })

  t.test('gives up on who is not seen again, and tells what is lost all the same', async t => {
    const here = world()
    here.report.add([departure({ endedAtMs: Date.now() - 60_000, uplinkSeq: 4, closed: true, rooms: 3 })])
    here.state = given(opened('c1'), uplink('c1', 1), closed('c1'))
    await here.report.look()
    t.match(here.report.take(10), [{ closed: true, toNodeId: '', afterMs: -1, darkMs: -1, uplinksLost: 3 }])
    t.match(here.report, {
      left: 1, closed: 1, resumed: 0, uplinksLost: 3, members: 3, membersResumed: 0, isSettled: true,
    })
  })

  t.test('waits for a state that is late, and takes nothing for lost meanwhile', async t => {
    const here = world()
    here.report.add([departure({ endedAtMs: Date.now() - 6_000, uplinkSeq: 2 })])
    here.fields.set('c2', session('n2', resumedAtMs))
    here.state = given(opened('c1'), uplink('c1', 1), opened('c2'))
    await here.report.look()
    t.strictSame(here.report.take(10), [])
    await again()
    here.state = given(opened('c1'), uplink('c1', 1), opened('c2'), uplink('c2', 2), closed('c1'))
    await here.report.look()
    t.match(here.report.take(10), [{ toNodeId: 'n2', uplinksLost: 0 }])
    t.match(here.report, { uplinksLost: 0, isSettled: true })
  })

  t.test('is settled by its last look, whatever is known', async t => {
    const here = world()
    here.report.add([departure()])
    await here.report.end()
    t.match(here.report.take(10), [{ toNodeId: '', uplinksLost: -1, downlinksLost: -1 }])
  })
})
