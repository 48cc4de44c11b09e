import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { presence } from '../../projections/presence.js'
import type { Projection } from '../../projections/projection.js'
import { routing, routingKey } from '../../projections/routing.js'
import { Runner } from '../../projections/runner.js'
import type { Poison } from '../../projections/table-writer.js'
import { bytesOf, put } from '../../projections/tables/tables.js'
import type { Entry } from '../../schemas/facts.js'
import { followedBy, options } from './followed-by.js'
import { closed, opened, story, uplink, withRepeats } from './given.js'
import { MemoryLog } from './memory-log.js'
import { MemoryTables } from './memory-tables.js'

const both = [presence, routing]

async function until (what: () => boolean | Promise<boolean>) {
  for (const end = performance.now() + 60_000; performance.now() < end && !await what();) await delay(2)
  assert.ok(await what(), 'it never came to be')
}

function given (more: { partitions?: number, gap?: bigint } = {}) {
  return { log: new MemoryLog<Entry>(more), tables: new MemoryTables() }
}

t.test('a block with writes', async t => {
  t.test('is in every table in the turn in which it was received', async t => {
    const { log, tables } = given()
    const runner = await Runner.start(options(log, tables, both))
    t.teardown(() => runner.stop())
    tables.held = true
    for (const offset of [0n, 1n, 2n]) log.hand({ partition: 0, offset, items: [opened('ann', `c${offset}`)] })
    t.strictSame(Object.keys(tables.dump('routing')['0/user:ann']!), ['c0', 'c1', 'c2'])
    t.strictSame(Object.keys(tables.dump('presence')['0/ann']!), ['c0', 'c1', 'c2'])
    tables.release()
  })

  t.test('joins the step before without a hole, whatever gaps the offsets have', async t => {
    const { tables } = await followedBy(both, [[opened('ann', 'c1')], [uplink('ann', 'c1')], [closed('ann', 'c1')]])
    const steps = tables.applies.filter(({ table }) => table === 'routing').map(({ step }) => step)
    t.strictSame(steps, [{ from: 0n, next: 3n, atMs: 1000 }, { from: 3n, next: 9n, atMs: 2000 }])
  })
})

t.test('a store that is slower than the stream', async t => {
  t.test('gets what waits in one step, and past the bound the next block waits', async t => {
    const { log, tables } = given()
    const unkeptBytesMax = 5 * [...routing.project(opened('ann', 'c0'))].reduce((sum, write) => sum + bytesOf(write), 0)
    const runner = await Runner.start({ ...options(log, tables, [routing]), appliesMax: 2, unkeptBytesMax })
    t.teardown(() => runner.stop())
    tables.held = true
    const outcomes = [0n, 1n, 2n, 3n, 4n, 5n].map(offset =>
      log.hand({ partition: 0, offset, items: [opened('ann', `c${offset}`)] }))
    t.strictSame(outcomes.map(outcome => outcome instanceof Promise), [false, false, false, false, false, true])
    t.equal(tables.applies.length, 2)
    t.match(runner.lag(), [{ table: 'routing', partition: 0, next: 6n, blocks: 6, items: 6 }])
    tables.release()
    await outcomes[5]
    t.equal(tables.applies.length, 3)
    t.equal((await tables.get('routing', 0, routingKey('ann'))).size, 6)
  })

  t.test('gets whole blocks, and no more of them in one step than a script should take', async t => {
    const { log, tables } = given()
    const runner = await Runner.start({ ...options(log, tables, [routing]), appliesMax: 1, unkeptBytesMax: Infinity })
    t.teardown(() => runner.stop())
    tables.held = true
    for (const [i, openings] of [1, 400, 400, 400, 2_500, 10].entries()) {
      const items = Array.from({ length: openings }, (_, j) => opened('ann', `c${i}-${j}`))
      log.hand({ partition: 0, offset: BigInt(i), items })
    }
    tables.release()
    await until(() => tables.applies.length === 5)
    t.strictSame(tables.applies.map(({ writes, step: { from, next } }) => [writes.length, from, next]),
      [[1, 0n, 1n], [800, 1n, 3n], [400, 3n, 4n], [2_500, 4n, 5n], [10, 5n, 6n]])
    await until(() => runner.lag()[0]!.blocks === 0)
  })

  t.test('gets little in one step where what is written is large', async t => {
    const { log, tables } = given()
    const large: Projection<Entry> = {
      table: 'presence',
      concerns: () => true,
      * project ({ userId, atMs }) { yield put(userId, `${atMs}`, 'x'.repeat(200_000)) },
    }
    const runner = await Runner.start({ ...options(log, tables, [large]), appliesMax: 1, unkeptBytesMax: Infinity })
    t.teardown(() => runner.stop())
    tables.held = true
    for (let i = 0; i < 6; i++) log.hand({ partition: 0, offset: BigInt(i), items: [uplink('ann', 'c1', i + 1)] })
    tables.release()
    await until(() => runner.lag()[0]!.blocks === 0)
    t.strictSame(tables.applies.map(({ writes }) => writes.length), [1, 2, 2, 1])
  })

  t.test('has few large rows of it in memory, however few their writes are', async t => {
    const { log, tables } = given()
    const large: Projection<Entry> = {
      table: 'presence',
      concerns: () => true,
      * project ({ userId, atMs }) { yield put(userId, `${atMs}`, 'x'.repeat(100_000)) },
    }
    const runner = await Runner.start(options(log, tables, [large]))
    t.teardown(() => runner.stop())
    tables.held = true
    let taken = 0
    let outcome: unknown
    while (taken < 50 && !(outcome instanceof Promise)) {
      outcome = log.hand({ partition: 0, offset: BigInt(taken), items: [uplink('ann', 'c1', ++taken)] })
    }
    t.equal(taken, 11, '1 MiB of them')
    tables.release()
    await outcome
  })
})

t.test('a block without writes', async t => {
  t.test('costs no apply of its own, and the position follows later', async t => {
    const { log, tables } = given()
    const runner = await Runner.start({ ...options(log, tables, [routing]), positionEveryMs: 20 })
    t.teardown(() => runner.stop())
    for (let i = 0; i < 100; i++) log.add([uplink('ann', 'c1', i, 1000 + i)])
    await log.pump()
    t.equal(tables.applies.length, 0)
    t.match(runner.lag(), [{ blocks: 0, items: 0, ms: 0 }])
    await until(async () => (await tables.position('routing', 0)).next === 100n)
    t.match(await tables.position('routing', 0), { next: 100n, atMs: 1099 })
    await delay(60)
    t.equal(tables.applies.length, 1, 'and no more while nothing comes')
  })

  t.test('has its position stored when the runner stops', async t => {
    const { tables } = await followedBy([routing], [[uplink('ann', 'c1')], [uplink('ann', 'c1', 2)]])
    t.equal((await tables.position('routing', 0)).next, 6n)
  })
})

t.test('an assigned partition', async t => {
  t.test('is asked for from the position of the table that is furthest behind', async t => {
    const blocks = [[opened('ann', 'c1')], [opened('ann', 'c2')], [closed('ann', 'c1')]]
    const { log, tables } = await followedBy(both, blocks)
    const kept = tables.dump('routing')
    tables.clear('routing')
    const runner = await Runner.start(options(log, tables, both))
    await log.pump()
    await runner.stop()
    t.strictSame(tables.dump('routing'), kept)
    t.match(tables.dump('presence')['0/ann'], { lastSeen: { atMs: 2000 } })
  })

  t.test('is forgotten once it is revoked, with everything stored', async t => {
    const { log, tables } = given({ partitions: 2 })
    const runner = await Runner.start(options(log, tables, both))
    log.add([uplink('ann', 'c1')], 1)
    await log.pump()
    t.equal(runner.lag().length, 4)
    await runner.stop()
    t.strictSame(runner.lag(), [])
    t.equal((await tables.position('presence', 1)).next, 1n)
  })
})

t.test('an entry that a projection can not take', async t => {
  const fussy: Projection<Entry> = {
    ...routing,
    * project (entry) {
      yield * routing.project(entry)
      if (entry.userId === 'bad') throw new Error('not this one')
    },
  }

  t.test('is set aside with its position, with none of its writes, and the partition goes on', async t => {
    const { log, tables } = given()
    const poison: Poison<Entry>[] = []
    const runner = await Runner.start({ ...options(log, tables, [fussy, presence]), onPoison: p => poison.push(p) })
    const bad = opened('bad', 'c2')
    log.add([uplink('ann', 'c1')])
    log.add([opened('ann', 'c1'), bad, opened('bob', 'c3')])
    await log.pump()
    await runner.stop()
    t.strictSame(Object.keys(tables.dump('routing')), ['0/user:ann', '0/user:bob'])
    t.match(poison, [{ item: bad, table: 'routing', partition: 0, offset: 1n, index: 1, error: /not this one/ }])
    t.equal(poison.length, 1)
    t.equal(runner.poisoned, 1)
    t.ok(tables.dump('presence')['0/bad'], 'other tables have it')
  })
})

t.test('an entry whose key no store takes', async t => {
  t.test('is set aside rather than tried for ever', async t => {
    const { log, tables } = given()
    const poison: Poison<Entry>[] = []
    const runner = await Runner.start({ ...options(log, tables, [routing]), onPoison: p => poison.push(p) })
    log.add([opened('é'.repeat(448), 'c1'), opened('e'.repeat(895), 'c2')])
    await log.pump()
    await runner.stop()
    t.match(poison, [{ index: 0, error: /901 bytes/ }])
    t.strictSame(Object.keys(tables.dump('routing')), ['0/user:' + 'e'.repeat(895)])
  })
})

t.test('a store that fails', async t => {
  t.test('is brought back to where the log is, with no write missing', async t => {
    const { log, tables } = given({ gap: 2n })
    let failures = 0
    const healed = new Set<string>()
    const runner = await Runner.start({
      ...options(log, tables, both), onFailed: () => failures++, onHealed: ({ table }) => healed.add(table),
    })
    t.teardown(() => runner.stop())
    log.add([opened('ann', 'c1')])
    await log.pump()
    tables.failures = 3
    for (let i = 2; i < 9; i++) {
      log.add([opened('ann', `c${i}`), closed('ann', `c${i - 1}`)])
      await log.pump()
      if (i === 4) await delay(2)
    }
    t.match(runner.lag(), [{ next: 16n }, { next: 16n }])
    await until(() => runner.lag().every(({ blocks, ms }) => blocks === 0 && ms === 0))
    await until(async () => (await tables.get('routing', 0, 'user:ann')).has('c8'))
    t.strictSame(Object.keys(tables.dump('routing')['0/user:ann']!), ['c8'])
    t.strictSame(Object.keys(tables.dump('presence')['0/ann']!).sort(), ['c8', 'lastSeen'])
    t.ok(failures > 0)
    await until(() => healed.size === 2)
    t.strictSame([...healed].sort(), ['presence', 'routing'], 'whoever was told of the failures is told of their end')
  })

  t.test('heals by replay from the beginning when it was emptied meanwhile', async t => {
    const { log, tables } = given()
    const runner = await Runner.start(options(log, tables, both))
    t.teardown(() => runner.stop())
    log.add([opened('ann', 'c1')])
    await log.pump()
    tables.clear('routing')
    log.add([opened('bob', 'c2')])
    await log.pump()
    await until(() => Object.keys(tables.dump('routing')).length === 2)
    t.strictSame(Object.keys(tables.dump('routing')), ['0/user:ann', '0/user:bob'])
  })

  t.test('is seen to have been emptied even while nothing comes', async t => {
    const { log, tables } = given()
    const runner = await Runner.start({ ...options(log, tables, both), positionEveryMs: 10 })
    t.teardown(() => runner.stop())
    log.add([opened('ann', 'c1')])
    await log.pump()
    tables.clear('presence')
    await until(() => tables.dump('presence')['0/ann']?.c1)
  })

  t.test('does not keep the runner from stopping while it is away', async t => {
    const { log, tables } = given()
    const runner = await Runner.start({ ...options(log, tables, both), retryMs: 600_000 })
    tables.failures = Infinity
    log.add([opened('ann', 'c1')])
    await log.pump()
    await delay(1)
    t.match(runner.lag(), [{ blocks: 1 }, { blocks: 1 }])
    await runner.stop()
    t.equal((await tables.position('routing', 0)).next, 0n)
  })

  t.test('is no trouble any more of a runner that has given the partition back, however that went', async t => {
    const { log, tables } = given()
    const troubles = new Set<string>()
    const told: string[] = []
    const runner = await Runner.start({
      ...options(log, tables, both),
      onFailed: ({ table }) => { troubles.add(table); told.push(table) },
      onHealed: ({ table }) => { troubles.delete(table) },
    })
    log.add([uplink('ann', 'c1')]) // brings a position alone, which is stored when the runner stops
    await log.pump()
    tables.failures = Infinity
    await runner.stop()
    t.strictSame(told.sort(), ['presence', 'routing'])
    t.strictSame([...troubles], [])
  })

  t.test('ends up with the same tables whenever it fails, and whatever is repeated', async t => {
    const failures = fc.array(fc.nat(4), { maxLength: 15 })
    await fc.assert(fc.asyncProperty(withRepeats(story), failures, async ({ items, blocks }, failures) => {
      const { log, tables } = given()
      const runner = await Runner.start({ ...options(log, tables, both), retryMs: 0 })
      for (const [i, block] of blocks.entries()) {
        tables.failures = failures[i] ?? 0
        log.add(block)
        await log.pump()
        if (i % 3 === 0) await delay(1)
      }
      tables.failures = 0
      await until(() => runner.lag().every(({ blocks, ms }) => blocks === 0 && ms === 0))
      await runner.stop()
      const undisturbed = (await followedBy(both, [items])).tables
      for (const table of ['presence', 'routing'] as const) {
        assert.deepEqual(tables.dump(table), undisturbed.dump(table))
      }
    }), { numRuns: 50 })
  })
})

t.test('a log that goes back', async t => {
  t.test('changes nothing, however far, and with two tables at different positions', async t => {
    const restarts = fc.array(fc.nat(20), { maxLength: 3 })
    const far = fc.bigInt({ min: 0n, max: 100n })
    await fc.assert(fc.asyncProperty(withRepeats(story), restarts, far, async (told, restartAfter, rewind) => {
      const { items, blocks } = told
      const { tables, log } = await followedBy(both, blocks, { restartAfter, rewind })
      const before = { presence: tables.dump('presence'), routing: tables.dump('routing') }
      tables.clear('presence')
      const runner = await Runner.start(options(log, tables, both))
      await log.pump()
      await runner.stop()
      assert.deepEqual({ presence: tables.dump('presence'), routing: tables.dump('routing') }, before)
      assert.deepEqual(before.routing, (await followedBy(both, [items])).tables.dump('routing'))
    }))
  })
})
