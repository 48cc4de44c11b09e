import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { countsOf } from './file.js'
import { loads } from './loads.js'
import { type Load, Schedule } from './schedule.js'

function given (cores: number, loads: Record<string, Load>): Schedule {
  return new Schedule(Object.keys(loads), loads, cores)
}

t.test('A schedule', async t => {
  t.test('begins as many files as the cores bear, and another one when one has ended', async t => {
    const schedule = given(2, { a: {}, b: {}, c: {}, d: {} })
    t.strictSame(schedule.begin(), ['a', 'b', 'c'])
    t.strictSame(schedule.begin(), [])
    schedule.ended('b')
    t.strictSame(schedule.begin(), ['d'])
    for (const file of ['a', 'c', 'd']) schedule.ended(file)
    t.equal(schedule.isOver, true)
  })

  t.test('begins the longest first', async t => {
    const schedule = given(1, { a: {}, b: { seconds: 20 }, c: { seconds: 60 } })
    t.strictSame(schedule.begin(), ['c'])
    schedule.ended('c')
    t.strictSame(schedule.begin(), ['b'])
  })

  t.test('runs those beside each other that wait most of the time, up to a number of them', async t => {
    const loads = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`waits ${i}`, { cores: 0.1 }]))
    t.equal(given(2, loads).begin().length, 4)
  })

  t.test('lets a file that has not enough room wait, and those go before it that have', async t => {
    const schedule = given(2, { a: { seconds: 9, cores: 1.5 }, b: { seconds: 8, cores: 1.5 }, c: { cores: 0.5 } })
    t.strictSame(schedule.begin(), ['a', 'c'])
    schedule.ended('c')
    t.strictSame(schedule.begin(), [])
    schedule.ended('a')
    t.strictSame(schedule.begin(), ['b'])
  })

  t.test('runs a file that takes more than the machine has', async t => {
    t.strictSame(given(1, { a: { cores: 2 } }).begin(), ['a'])
  })

  t.test('runs first, and nothing beside them, those that must be alone', async t => {
    const schedule = given(4, { a: { seconds: 90 }, b: { alone: 'it takes all memory' }, c: { background: true } })
    t.strictSame(schedule.begin(), ['b'])
    t.strictSame(schedule.begin(), [])
    schedule.ended('b')
    t.strictSame(schedule.begin(), ['a', 'c'])
  })

  t.test('runs one that only computes beside as many as would run without it', async t => {
    const schedule = given(1, { a: {}, b: {}, c: { seconds: 9, background: true }, d: { background: true } })
    t.strictSame(schedule.begin(), ['c', 'a'])
    schedule.ended('c')
    t.strictSame(schedule.begin(), ['d'])
    t.equal(schedule.isBackground('d'), true)
    t.equal(schedule.isBackground('a'), false)
  })
})

t.test('The loads are of files that there are', async t => {
  const path = (name: string) => fileURLToPath(new URL(`../${name}.js`, import.meta.url))
  t.strictSame(Object.keys(loads).filter(name => !existsSync(path(name))), [])
})

t.test('What a file of tests has said', async t => {
  const empty = (plan: string) => `TAP version 14\n${plan}\n# { total: 0, pass: 0 }\n# time=1ms\n`
  const last = (counts: string) => `ok 1 - a\n1..1\n# { ${counts} }\n# time=1ms\n`
  for (const [what, output, code, expected] of [
    ['passes', last('total: 3, pass: 3'), 0, { ok: true, passed: 3, failed: 0, skipped: 0 }],
    ['passes with skipped ones', last('total: 3, pass: 2, skip: 1'), 0, { ok: true, passed: 2, failed: 0, skipped: 1 }],
    ['is one skip where its plan is to run nothing, and says why', empty('1..0 # no Redis here'), 0, { ok: true, passed: 0, failed: 0, skipped: 1 }],
    ['fails where its plan is to run nothing, and does not say why', empty('1..0'), 0, { ok: false, passed: 0, failed: 1, skipped: 0 }],
    ['fails where no test was registered', empty('1..0 # no tests found'), 0, { ok: false, passed: 0, failed: 1, skipped: 0 }],
    ['fails where it skips itself and ended badly', empty('1..0 # no Redis here'), 1, { ok: false, passed: 0, failed: 1, skipped: 0 }],
    ['fails where it says nothing', '', 0, { ok: false, passed: 0, failed: 1, skipped: 0 }],
    ['fails', last('total: 3, pass: 1, fail: 2'), 1, { ok: false, passed: 1, failed: 2, skipped: 0 }],
    ['fails where it ended badly all the same', last('total: 3, pass: 3'), 1, { ok: false, passed: 3, failed: 1, skipped: 0 }],
    ['fails where it did not come to its end', 'ok 1 - a\n', 0, { ok: false, passed: 0, failed: 1, skipped: 0 }],
  ] as const) {
    const { notes, ...counts } = countsOf(output, code, null)
    t.strictSame(counts, expected, what)
  }
  const notesOf = (output: string) => countsOf(output, 0, null).notes
  t.strictSame(notesOf(empty('1..0 # no Redis here')), ['skipped: no Redis here'], 'why a file has skipped itself')
  t.match(notesOf(empty('1..0')), [/no test ran/])
  t.strictSame(notesOf(`    ok 1 - a # SKIP no kcat here\n${last('total: 1, pass: 0, skip: 1')}`), ['ok 1 - a # SKIP no kcat here'])
  t.equal(countsOf(last('total: 3, pass: 3'), null, 'SIGKILL').ok, false, 'a file that was killed fails')
})
