import { readFileSync } from 'node:fs'
import { Writable } from 'node:stream'
import pino from 'pino'
import t from 'tap'
import { HealthRegistry } from '../../gateway/health.js'
import { conditions, conditionsMarkdown } from '../../schemas/conditions.js'

t.test('HealthRegistry', async t => {
  t.test('tells the log of the start and of the end of a trouble, and not of the tries between', async t => {
    const { health, logged } = given()
    for (let i = 0; i < 5; i++) health.begin('ledger', `try ${i}`)
    health.end('ledger')
    health.end('ledger')
    t.strictSame(logged.map(({ msg, reason, level }) => [msg, reason, level]), [
      ['trouble has begun', 'try 0', 40], ['trouble has ended', undefined, 40],
    ])
    t.match(logged[0], { condition: 'ledger', heals: conditions.ledger.heals })
  })

  t.test('is not ready while a condition lasts that stops the node, with the reason as of now', async t => {
    const { health } = given()
    t.match(health.readiness(), { ready: true, checks: { ledger: { ok: true, reason: '' } } })
    health.begin('ledger', 'no disk')
    health.begin('ledger', 'still no disk')
    t.match(health.readiness(), { ready: false, checks: { ledger: { ok: false, reason: 'still no disk' } } })
    health.end('ledger')
    t.match(health.readiness(), { ready: true, checks: { ledger: { ok: true, reason: '' } } })
  })

  t.test('stays ready, and says so, where other nodes would do no better', async t => {
    const { health, clock } = given()
    health.begin('snapshots', 'no answer', 'partition 1')
    clock.pass(5_000)
    t.match(health.readiness(), { ready: true, checks: { snapshots: { ok: false, reason: 'partition 1: no answer' } } })
  })

  t.test('says nothing of what is over within its grace', async t => {
    const { health, clock, logged } = given()
    health.begin('tables', 'a moment')
    clock.pass(4_999)
    t.ok(health.readiness().ready)
    health.end('tables')
    clock.pass(60_000)
    t.strictSame(logged, [])
    t.strictSame(health.answer(), { ready: true, troubles: [], total: 0 })
  })

  t.test('counts the grace from the first failure, however often it is tried again', async t => {
    const { health, clock, logged } = given()
    for (let i = 0; i < 6; i++) {
      health.begin('tables', `try ${i}`)
      clock.pass(1_000)
    }
    t.strictSame(logged.map(({ msg }) => msg), ['trouble has begun'])
    t.equal(health.seconds().get('tables'), 6)
    health.end('tables')
    t.equal(health.seconds().get('tables'), 0)
    t.match(logged[1], { msg: 'trouble has ended', tookMs: 6_000 })
  })

  t.test('takes what happens to many of a kind for one trouble, which ends with the last of them', async t => {
    const { health, clock, logged } = given()
    for (let partition = 0; partition < 300; partition++) health.begin('tables', 'no answer', `partition ${partition}`)
    clock.pass(5_000)
    const { troubles, total } = health.answer()
    t.equal(troubles.length, 200)
    t.equal(total, 300)
    t.match(health.readiness().checks.tables, { reason: 'partition 0: no answer (and 299 more)' })
    for (let partition = 0; partition < 300; partition++) health.end('tables', `partition ${partition}`)
    t.strictSame(logged.map(({ msg, instances }) => [msg, instances]), [
      ['trouble has begun', undefined], ['trouble has ended', 300],
    ])
  })

  t.test('answers with since when and what ends it, oldest first', async t => {
    const { health, clock } = given()
    health.begin('ledger', 'no disk')
    health.begin('users', 'stands still', 'partition 3')
    clock.pass(10_000)
    t.match(health.answer(), {
      ready: false,
      troubles: [
        { condition: 'ledger', what: '', reason: 'no disk', heals: conditions.ledger.heals, stops: true },
        { condition: 'users', what: 'partition 3', reason: 'stands still' },
      ],
      total: 2,
    })
    t.type(health.answer().troubles[0]!.sinceMs, 'number')
  })

  t.test('looks by itself at what can be looked at, and no longer once it is told to stop', async t => {
    const { health, clock, logged } = given()
    let reason = ''
    const stop = health.watch('ledger', () => reason)
    reason = 'full'
    clock.pass(1_000)
    t.strictSame(logged.map(({ msg }) => msg), ['trouble has begun'])
    reason = ''
    t.ok(health.readiness().ready, 'a question looks at once')
    reason = 'full'
    clock.pass(1_000)
    stop()
    t.ok(health.readiness().ready)
    clock.pass(5_000)
    t.ok(health.readiness().ready)
  })
})

t.test('docs/operations.md holds the table of schemas/conditions.ts', async t => {
  const page = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
  t.ok(page.includes(conditionsMarkdown()), 'run: node -e "import(\'./dist/schemas/conditions.js\').then(m => console.log(m.conditionsMarkdown()))"')
})

/** A registry in virtual time, and what it has logged at `info` and above. */
function given () {
  const logged: Array<Record<string, any>> = []
  const stream = new Writable({ write (line, _encoding, done) { logged.push(JSON.parse(String(line))); done() } })
  const tasks: Array<{ atMs: number, task: () => void, cancelled: boolean }> = []
  let nowMs = 0
  const clock = {
    nowMs: () => nowMs,
    after (ms: number, task: () => void) {
      const entry = { atMs: nowMs + ms, task, cancelled: false }
      tasks.push(entry)
      return () => { entry.cancelled = true }
    },
    pass (ms: number) {
      const endMs = nowMs + ms
      for (;;) {
        const due = tasks.filter(({ cancelled, atMs }) => !cancelled && atMs <= endMs)
        const [next] = due.sort((a, b) => a.atMs - b.atMs)
        if (!next) break
        next.cancelled = true
        nowMs = next.atMs
        next.task()
      }
      nowMs = endMs
    },
  }
  return { health: new HealthRegistry(pino({ level: 'info' }, stream), clock), clock, logged }
}
