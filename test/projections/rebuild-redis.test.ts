import t, { type Test } from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { presence } from '../../projections/presence.js'
import { rebuild } from '../../projections/rebuild.js'
import { routing } from '../../projections/routing.js'
import { Runner } from '../../projections/runner.js'
import { redisTables } from '../../projections/tables/redis.js'
import type { Entry } from '../../schemas/facts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { ledger } from '../../schemas/streams.js'
import { connectedRedis, redisMissing, startRedis } from '../cluster/redis.js'
import { closed, opened } from './given.js'
import { scanned } from './tables-contract.js'

const missing = redisMissing()
if (missing) {
  t.plan(0, missing)
} else {
  await all(t)
}

async function all (t: Test) {
  const server = await startRedis(t)
  const redis = await connectedRedis(t, server.url)

  async function given (t: Test, prefix: string) {
    const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
    t.teardown(() => store.close())
    const log = embeddedLog(store, { partitions: 4 })
    const tables = redisTables(redis, { prefix, identity: 'a log', partitions: () => 4 })
    const failures: unknown[] = []
    const runner = await Runner.start<Entry>({
      log,
      tables,
      stream: ledger,
      group: 'p',
      projections: [presence, routing],
      positionEveryMs: 20,
      onPoison: poison => { failures.push(poison) },
      onFailed: failure => { failures.push(failure) },
    })
    t.teardown(() => runner.stop())
    let count = 0
    const traffic = async (steps: number) => {
      for (let i = 0; i < steps; i++, count++) {
        const userId = `u${Math.trunc(count / 2) % 40}`
        const [open, close] = [opened(userId, `c${count}`), closed(userId, `c${count - 1}`)]
        await log.append(ledger, partitionOf(userId, 4), count % 2 === 0 ? [open] : count % 3 === 0 ? [close] : [])
          .catch(() => {}) // a step without an entry
      }
    }
    const settled = async () => {
      while (runner.lag().some(({ blocks }) => blocks > 0)) await new Promise(resolve => setTimeout(resolve, 5))
    }
    const run = (table: 'presence' | 'routing') =>
      rebuild({ table, log, tables, signal: new AbortController().signal, onRead () {}, onCaughtUp () {} })
    return { tables, traffic, settled, run, failures }
  }

  for (const table of ['presence', 'routing'] as const) {
    t.test(`Rebuilding ${table} in Redis`, async t => {
      const prefix = `rebuild-${table}`
      const { tables, traffic, settled, run, failures } = await given(t, prefix)
      await traffic(300)
      await settled()
      const live = await redis.hget(`{${prefix}.0}:${table}`, 'live')
      const rows = await redis.keys(`{${prefix}.*}:${table}:*:*u*`)
      const [wrong, lost] = rows
      await redis.hset(wrong!, 'c-wrong', JSON.stringify({ nodeId: 'n9', nodeEpoch: 1, openedAtMs: 1 }))
      await redis.del(lost!)
      const writing = new AbortController()
      const writes = (async () => { while (!writing.signal.aborted) await traffic(5) })()
      const { differences, ...counts } = await run(table)
      writing.abort()
      await writes
      t.equal(counts.extra, 1, 'finds a row that is wrong')
      t.match(differences.filter(({ kind }) => kind === 'extra'), [{ field: 'c-wrong' }])
      t.ok(counts.missing > 0, 'and one that is gone')
      t.ok(differences.every(({ kind, key }) => kind === 'extra' || lost!.endsWith(`:${key}`)), 'and nothing else')
      await settled()
      t.match(await run(table), { missing: 0, extra: 0, differing: 0 }, 'puts them right')
      t.not(await redis.hget(`{${prefix}.0}:${table}`, 'live'), live)
      t.strictSame(await redis.keys(`{${prefix}.0}:${table}:${live}:*`), [], 'and removes what it replaced')
      t.strictSame(failures, [], 'which the runner takes as it comes')
      t.ok(Object.keys(await scanned(tables, table)).length > 0)
    })
  }

  t.test('A draft in Redis that a crash left behind', async t => {
    const prefix = 'left-behind'
    const { tables, traffic, settled, run } = await given(t, prefix)
    await traffic(100)
    await settled()
    const before = await scanned(tables, 'routing')
    const draft = await tables.draft('routing')
    await draft.apply('routing', 0, [{ type: 'put', key: 'user:x', field: 'c', value: 1 }], { from: 0n, next: 3n, atMs: 1 })
    t.strictSame(await scanned(tables, 'routing'), before, 'is in nobody\'s way')
    await t.rejects(run('routing'), { code: 'not-ready' }, 'but for another one, while it may be alive')
    for (let partition = 0; partition < 4; partition++) {
      await redis.hset(`{${prefix}.${partition}}:routing`, 'draftUntil', 1) // its time is over
    }
    t.match(await run('routing'), { missing: 0, extra: 0, differing: 0 })
    t.strictSame(await redis.keys(`{${prefix}.0}:routing:*:user:x`), [], 'and is removed by the next one')
    await t.rejects(draft.apply('routing', 0, [], { from: 3n, next: 4n, atMs: 1 }), /its draft is gone/)
  })
}
