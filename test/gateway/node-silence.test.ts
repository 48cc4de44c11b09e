import fc from 'fast-check'
import assert from 'node:assert/strict'
import t from 'tap'
import { NodeSilence } from '../../gateway/node-silence.js'
import { nodeRow, type NodeRow } from '../../projections/nodes.js'
import { started } from '../projections/given.js'

const leaseMs = 15_000
const minute = 60_000
const nowMs = Date.UTC(2026, 0, 1)

/** A node whose clock is off, as the table shows it. */
function row (nodeId: string, reportedAtMs: number, { epoch = 1, ended = {} } = {}): NodeRow {
  const fields = new Map<string, object>([['started', { ...started, leaseMs, epoch, atMs: reportedAtMs }]])
  if (Object.keys(ended).length > 0) fields.set('ended', { epoch, atMs: reportedAtMs, ...ended })
  return nodeRow(nodeId, fields, nowMs)!
}

const alive = (rows: readonly NodeRow[]) => rows.filter(({ alive }) => alive).map(({ nodeId }) => nodeId)

t.test('NodeSilence', async t => {
  t.test('takes no node for dead or alive by the clock of that node, however far off it is', async t => {
    for (const offMs of [-60 * minute, -2 * minute, 0, 2 * minute, 60 * minute]) {
      const silence = new NodeSilence()
      const look = (afterMs: number, reportMs: number) => silence.judge(
        [row('own', nowMs + afterMs), row('off', nowMs + offMs + reportMs)], { nowMs: nowMs + afterMs, steadyMs: afterMs })
      for (let ms = 0; ms <= minute; ms += 5_000) t.strictSame(alive(look(ms, ms).rows), ['own', 'off'], `${offMs} ms off`)
      t.strictSame(alive(look(minute + leaseMs - 1, minute).rows), ['own', 'off'], 'for its lease')
      t.strictSame(alive(look(minute + leaseMs, minute).rows), ['own'], 'and no longer')
      t.strictSame(alive(look(minute + leaseMs + 1, minute + 1).rows), ['own', 'off'], 'until it is heard again')
    }
  })

  t.test('goes by no time of day of its own either', async t => {
    const silence = new NodeSilence()
    for (const setMs of [0, -60 * minute, 60 * minute]) {
      const { rows, asOfMs } = silence.judge([row('own', nowMs + setMs), row('a', nowMs)], { nowMs: nowMs + setMs, steadyMs: 1_000 })
      t.strictSame(alive(rows), ['own', 'a'])
      t.equal(asOfMs, nowMs + setMs)
      t.ok(rows.every(({ aliveUntilMs }) => aliveUntilMs > asOfMs), 'the end of the lease is by the clock that asks')
    }
  })

  t.test('says nothing of anybody while nobody is heard, and says how old that is', async t => {
    const silence = new NodeSilence()
    const rows = [row('own', nowMs), row('a', nowMs)]
    silence.judge(rows, { nowMs, steadyMs: 0 })
    const { rows: later, asOfMs } = silence.judge(rows, { nowMs: nowMs + minute, steadyMs: minute })
    t.strictSame(alive(later), ['own', 'a'])
    t.equal(asOfMs, nowMs)
  })

  t.test('leaves the ended ended', async t => {
    const gone = row('a', nowMs, { ended: { state: 'stopped' } })
    t.strictSame(new NodeSilence().judge([gone], { nowMs, steadyMs: 0 }), { rows: [gone], asOfMs: nowMs })
  })

  t.test('finds the same with any clocks', async () => {
    const off = fc.integer({ min: -1e9, max: 1e9 })
    const heard = fc.tuple(fc.boolean(), fc.boolean(), fc.boolean())
    const looks = fc.array(fc.record({ afterMs: fc.integer({ min: 1, max: 20_000 }), heard }))
    const aliveAt = (steps: ReadonlyArray<{ afterMs: number, heard: boolean[] }>, offs: readonly number[]) => {
      const silence = new NodeSilence()
      const reports = [0, 0, 0]
      let steadyMs = 0
      return steps.map(({ afterMs, heard }) => {
        steadyMs += afterMs
        heard.forEach((isHeard, i) => { if (isHeard) reports[i] = steadyMs })
        const rows = reports.map((ms, i) => row(`n${i}`, nowMs + offs[i]! + ms))
        return alive(silence.judge(rows, { nowMs: nowMs + offs[0]! + steadyMs, steadyMs }).rows)
      })
    }
    fc.assert(fc.property(looks, fc.tuple(off, off, off), (steps, offs) => {
      assert.deepEqual(aliveAt(steps, offs), aliveAt(steps, [0, 0, 0]))
    }))
  })
})
