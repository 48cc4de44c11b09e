import t from 'tap'
import { Backoff } from '../../../client/backoff.js'
import { settings } from '../../../gateway/config.js'
import { Admission, waitMaxMs } from '../../../gateway/edge/admission.js'
import { randomFrom } from '../../faults/node-process.js'

/** An admission whose clock the test sets. */
function given (acceptRate: number) {
  const clock = { nowMs: 5_000 }
  return { clock, admission: new Admission(acceptRate, () => clock.nowMs) }
}

function times<T> (count: number, ask: () => T): T[] { return Array.from({ length: count }, ask) }

/** When each client of an office is let in, ms after all were cut at once: after what it was told, or its backoff. */
function comeBack (size: number, acceptRate: number, random: () => number, isTold: boolean): number[] {
  const { clock, admission } = given(acceptRate)
  const startMs = clock.nowMs
  const attempts = times(size, () => {
    const backoff = new Backoff({ baseMs: 1_000, capMs: 60_000, random })
    return { backoff, atMs: startMs + backoff.nextMs() }
  })
  const backMs: number[] = []
  while (attempts.length > 0) {
    attempts.sort((a, b) => a.atMs - b.atMs)
    const next = attempts[0]!
    clock.nowMs = next.atMs
    const waitMs = admission.waitMs('192.0.2.1')
    if (waitMs === 0) {
      backMs.push(next.atMs - startMs)
      attempts.shift()
    } else {
      const toldMs = isTold && waitMs < Infinity ? waitMs : 0
      next.atMs += Math.max(toldMs, next.backoff.nextMs())
    }
  }
  return backMs
}

t.test('An address', async t => {
  t.test('may open as many connections at once as it may in a second', async t => {
    const { admission } = given(3)
    t.strictSame(times(3, () => admission.waitMs('a')), [0, 0, 0])
    t.ok(admission.waitMs('a') > 0)
    t.equal(admission.waitMs('b'), 0, 'and takes nothing from another one')
  })

  t.test('is told a wait that grows with those who are told to wait before it', async t => {
    const { admission } = given(10)
    times(10, () => admission.waitMs('a'))
    t.strictSame(times(4, () => admission.waitMs('a')), [100, 200, 300, 400])
  })

  t.test('is let in after the wait that it was told, and is no worse off for having asked early', async t => {
    const { clock, admission } = given(10)
    times(10, () => admission.waitMs('a'))
    const waits = times(50, () => admission.waitMs('a'))
    const startMs = clock.nowMs
    for (const waitMs of waits) {
      clock.nowMs = startMs + waitMs
      t.equal(admission.waitMs('a'), 0, `after ${waitMs} ms`)
    }
  })

  t.test('that asks without end gets no word beyond the longest wait, and is let in at its rate all the same', async t => {
    const { clock, admission } = given(10)
    const asked = times(1_000, () => admission.waitMs('a'))
    const told = asked.filter(waitMs => waitMs > 0 && waitMs < Infinity)
    t.equal(told.length, 10 * waitMaxMs / 1_000)
    t.ok(Math.max(...told) <= waitMaxMs)
    t.equal(asked.at(-1), Infinity)
    clock.nowMs += 1_000
    t.equal(times(1_000, () => admission.waitMs('a')).filter(waitMs => waitMs === 0).length, 10)
  })

  t.test('is remembered until it is back at its full credit and nobody is to come back', async t => {
    const { clock, admission } = given(2)
    times(12, () => admission.waitMs('a'))
    clock.nowMs += 2_000
    admission.sweep()
    t.strictSame(times(3, () => admission.waitMs('a') > 0), [false, false, true])
    clock.nowMs += 10_000
    admission.sweep()
    t.strictSame(times(3, () => admission.waitMs('a') > 0), [false, false, true])
  })

  t.test('has no limit where there is none', async t => {
    const { admission } = given(0)
    t.ok(times(10_000, () => admission.waitMs('a')).every(waitMs => waitMs === 0))
  })
})

t.test('An office of 500 behind one address that is cut at once', async t => {
  for (const isTold of [true, false]) {
    t.test(`is back within 20 s at the default rate, ${isTold ? 'told' : 'not told'} how long to wait`, async t => {
      const seed = Math.trunc(Math.random() * 2 ** 32)
      const random = randomFrom(seed)
      for (let i = 0; i < 20; i++) {
        const backMs = comeBack(500, Number(settings.acceptRate.fallback), random, isTold)
        const last = backMs.at(-1)!
        t.ok(last < 20_000, `the last one after ${Math.round(last)} ms, seed ${seed}`)
      }
    })
  }
})
