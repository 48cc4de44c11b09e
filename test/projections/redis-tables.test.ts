import { setTimeout as delay } from 'node:timers/promises'
import { Redis, type Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import { presence } from '../../projections/presence.js'
import { connectionOf, connectionsOf, routing } from '../../projections/routing.js'
import { Runner } from '../../projections/runner.js'
import { redisTables, type RedisTablesOptions } from '../../projections/tables/redis.js'
import { isIndexRow } from '../../projections/tables/route-index.js'
import { put, remove, type Tables } from '../../projections/tables/tables.js'
import type { Entry } from '../../schemas/facts.js'
import { connectedRedis, redisMissing, startRedis, startRedisCluster } from '../cluster/redis.js'
import { until } from '../faults/node-process.js'
import { followedBy } from './followed-by.js'
import { closed, opened } from './given.js'
import { MemoryLog } from './memory-log.js'
import { at, indexIn, scanned, tablesContract } from './tables-contract.js'

const missing = redisMissing()
if (missing) {
  t.plan(0, missing)
} else {
  await all(t)
}

async function all (t: Test) {
  const server = await startRedis(t)
  const cluster = await startRedisCluster(t)
  const urls = [
    ['in Redis', server.url],
    ['in a Redis Cluster', cluster.url],
  ] as const

  let prefixes = 0
  const made = new Map<Tables, { url: string, options: Partial<RedisTablesOptions> }>()

  async function tablesAt (t: Test, url: string, more: Partial<RedisTablesOptions> = {}, redis?: Redis | Cluster) {
    const options = { prefix: `t${++prefixes}`, identity: 'a log', partitions: () => 9, ...more }
    const tables = redisTables(redis ?? await connectedRedis(t, url), options)
    t.teardown(() => tables.close())
    made.set(tables, { url, options })
    return tables
  }

  for (const [name, url] of urls) {
    tablesContract(t, name, {
      open: t => tablesAt(t, url),
      reopen: (t, tables) => tablesAt(t, url, made.get(tables)!.options),
    })
  }

  t.test('tables that were made of another log', async t => {
    const foreign = await tablesAt(t, server.url, { identity: 'another log' })
    const { options } = made.get(foreign)!
    await foreign.apply('presence', 0, [put('ada', 'theirs', 1)], { ...at(5), from: 0n })
    await foreign.apply('nodes', 0, [put('n1', 'theirs', 1)], at(5))
    const tables = await tablesAt(t, server.url, { ...options, identity: 'a log' })
    t.strictSame(await tables.get('presence', 0, 'ada'), new Map(), 'count as empty')
    t.strictSame([await scanned(tables, 'presence'), await scanned(tables, 'nodes')], [{}, {}])
    t.match(await tables.position('presence', 0), at(0))
    await t.rejects(tables.apply('presence', 0, [put('ada', 'ours', 1)], { ...at(6), from: 5n }), /want one from 0 on/)
    await tables.apply('presence', 0, [put('bob', 'ours', 1)], { ...at(1), from: 0n })
    t.strictSame(await scanned(tables, 'presence'), { '0/bob': { ours: 1 } }, 'and begin anew')
    t.strictSame(await foreign.get('presence', 0, 'ada'), new Map(), 'which their owner notices')
    await t.rejects(foreign.apply('presence', 0, [], { ...at(6), from: 5n }), /want one from 0 on/)
    await foreign.apply('presence', 0, [put('eve', 'theirs', 1)], { ...at(1), from: 0n })
    t.strictSame(await scanned(foreign, 'presence'), { '0/eve': { theirs: 1 } }, 'and what they had does not come back')
  })

  for (const [name, url] of urls) {
    t.test(`routes ${name} that an earlier version has written`, async t => {
      const redis = await connectedRedis(t, url)
      const tables = await tablesAt(t, url, {}, redis)
      const { prefix } = made.get(tables)!.options
      const route = { nodeId: 'n1', nodeEpoch: 5, platform: 'ios', deviceId: 'phone' }
      const users = Array.from({ length: 500 }, (_, i) => put(`user:u${i}`, `c${i}`, route))
      for (const partition of [1, 2]) await tables.apply('routing', partition, users, at(1))
      const meta = `{${prefix}.1}:routing`
      const live = (await redis.hget(meta, 'live'))!
      /** It knows of no index: it writes rows and the position. */
      const before = async (next: number, userId: string, connectionId: string, gone: number) => {
        await redis.hset(`${meta}:${live}:user:${userId}`, connectionId, JSON.stringify({ ...route, nodeId: 'n2' }))
        await redis.hdel(`${meta}:${live}:user:u${gone}`, `c${gone}`)
        await redis.hset(meta, `next:${live}`, next, `atMs:${live}`, next * 1000)
      }
      await before(2, 'eve', 'c-eve', 7)
      const unseen = await indexIn(tables, 1)
      t.notSame(unseen.found, unseen.walked, 'are not in the index')
      await tables.apply('routing', 1, [put('user:zoe', 'c-zoe', route), remove('user:u8', 'c8')], at(3))
      const making = Promise.all([tables.index('routing', [1, 2]), tables.index('routing', [2, 1])])
      await tables.apply('routing', 1, [put('user:yan', 'c-yan', route), remove('user:u499', 'c499')], at(4))
      await making
      t.strictSame(await tables.index('routing', [1, 2]), [], 'until somebody asks for it')
      const { found, walked } = await indexIn(tables, 1)
      t.strictSame(sorted(found), sorted(walked))
      t.equal(Object.keys(found['node:n1/5']!).length, 499)
      await tables.apply('routing', 1, [remove('user:u9', 'c9')], at(5))
      t.strictSame(await connectionOf(tables, [1, 2], 'c-eve'), { partition: 1, userId: 'eve', connectionId: 'c-eve' })

      // While it is filled the partition goes to the earlier version and comes back.
      await before(6, 'max', 'c-max', 10)
      const masters = redis instanceof Redis ? [redis] : redis.nodes('master')
      let isBack = false
      for (const master of masters) {
        master.scan = (async (...args: Parameters<Redis['scan']>) => {
          if (!isBack) await before(7, 'ida', 'c-ida', 11)
          isBack = true
          return await Redis.prototype.scan.apply(master, args)
        }) as Redis['scan']
      }
      await tables.apply('routing', 1, [], at(6))
      t.strictSame(await tables.index('routing', [1, 2]), [1], 'or are known to be found by a walk alone')
      await before(8, 'pia', 'c-pia', 12)
      isBack = false
      t.strictSame(await connectionOf(tables, [1, 2], 'c-pia'), { partition: 1, userId: 'pia', connectionId: 'c-pia' })
      const found2: string[] = []
      isBack = false
      for await (const { userId } of connectionsOf(tables, [1, 2], ({ nodeId }) => nodeId === 'n2')) found2.push(userId)
      t.strictSame(found2.sort(), ['eve', 'ida', 'max', 'pia'])
      t.strictSame(await tables.index('routing', [1, 2]), [], 'for as long as it is there')
      const after = await indexIn(tables, 1)
      t.strictSame(sorted(after.found), sorted(after.walked))
    })
  }

  t.test('what a lost node had open among many users in Redis', async t => {
    const redis = await connectedRedis(t, server.url) as Redis
    const tables = await tablesAt(t, server.url, {}, redis)
    const users = Array.from({ length: 5_000 }, (_, i) =>
      put(`user:u${i}`, `c${i}`, { nodeId: i < 50 ? 'lost' : `n${i % 10}`, nodeEpoch: 1, platform: 'ios', deviceId: 'd' }))
    await tables.apply('routing', 0, users, at(1))
    const calls = async () => {
      const stats = await redis.info('commandstats')
      const of = (command: string) => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
      return { rows: of('hgetall'), scans: of('scan') }
    }
    const before = await calls()
    const found = []
    for await (const { userId } of connectionsOf(tables, [0, 1], ({ nodeId }) => nodeId === 'lost')) found.push(userId)
    const after = await calls()
    t.equal(found.length, 50)
    t.equal(after.scans - before.scans, 0, 'is found without a walk')
    // Two positions, the names of nodes in one partition that has begun and in one that has not, the row of the node.
    t.ok(after.rows - before.rows <= 5, `by five rows, not ${after.rows - before.rows}`)
  })

  t.test('a position beyond the end of the log', async t => {
    let end = 7n
    const before = await tablesAt(t, server.url)
    await before.apply('presence', 0, [put('ada', 'c1', 1)], at(7))
    const { options } = made.get(before)!
    const asked: string[] = []
    const endOf = async (table: string, partition: number) => { asked.push(`${table} ${partition}`); return end }
    const whole = await tablesAt(t, server.url, { ...options, endOf })
    t.match(await whole.position('presence', 0), at(7))
    t.match(await whole.position('presence', 0), at(7))
    t.strictSame(asked, ['presence 0'], 'is looked for once')
    end = 6n
    const cut = await tablesAt(t, server.url, { ...options, endOf })
    t.match(await cut.position('presence', 0), at(0), 'is that of a log that is gone: the table is empty')
    t.strictSame(await cut.get('presence', 0, 'ada'), new Map())
    await cut.apply('presence', 0, [put('bob', 'c2', 1)], { ...at(2), from: 0n })
    t.strictSame(await scanned(cut, 'presence'), { '0/bob': { c2: 1 } })
  })

  t.test('a row that loses its last field', async t => {
    const redis = await connectedRedis(t, server.url)
    const tables = await tablesAt(t, server.url, {}, redis)
    await tables.apply('nodes', 0, [put('n1', 'a', 1), put('n1', 'b', 1), put('n2', 'a', 1)], at(1))
    await tables.apply('nodes', 0, [remove('n1', 'a'), remove('n2', 'a')], at(2))
    const meta = `{${made.get(tables)!.options.prefix}.0}:nodes`
    const live = await redis.hget(meta, 'live')
    t.strictSame(await redis.smembers(`${meta}:${live}`), ['n1'], 'leaves the index')
  })

  t.test('what is asked in one turn', async t => {
    const client = await connectedRedis(t, server.url) as Redis
    const tables = await tablesAt(t, server.url)
    const scripts = async () => [...(await client.info('commandstats')).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)]
      .reduce((sum, [, calls]) => sum + Number(calls), 0)
    const all = Array.from({ length: 9 }, (_, partition) => partition)
    await Promise.all(all.map(partition => tables.apply('presence', partition, [put('ada', 'c', partition)], at(partition + 1))))
    await tables.apply('presence', 0, Array.from({ length: 300 }, (_, i) => put(`k${i}`, 'c', i)), at(2))
    const before = await scripts()
    const [positions, rows] = await Promise.all([
      Promise.all(all.map(partition => tables.position('presence', partition))),
      Promise.all(all.map(partition => tables.get('presence', partition, 'ada'))),
    ])
    t.equal(await scripts() - before, 1, 'goes in one call')
    t.strictSame(positions.map(({ next }) => next), [2n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n], 'and each has its answer')
    t.strictSame(rows, all.map(partition => new Map([['c', partition]])))
    const many = await Promise.all(Array.from({ length: 300 }, (_, i) => tables.get('presence', 0, `k${i}`)))
    t.strictSame(many, Array.from({ length: 300 }, (_, i) => new Map([['c', i]])))
    t.equal(await scripts() - before, 4, 'or in some, where a script would read too much')

    await client.set(`{${made.get(tables)!.options.prefix}.3}:presence`, 'of somebody else')
    const outcomes = await Promise.allSettled(all.map(partition => tables.position('presence', partition)))
    t.strictSame(outcomes.map(({ status }) => status === 'fulfilled'), all.map(partition => partition !== 3),
      'without one that fails for itself taking the others with it')
  })

  t.test('two processes that begin a table at once', async t => {
    const one = await tablesAt(t, server.url)
    const other = await tablesAt(t, server.url, made.get(one)!.options)
    for (const tables of [one, other]) await tables.position('presence', 0)
    await Promise.all([one, other].map((tables, i) =>
      tables.apply('presence', 0, [put('ada', 'c', i)], { ...at(1), from: 0n })))
    await other.apply('presence', 0, [put('ada', 'd', 1)], { ...at(2), from: 1n })
    t.strictSame([...(await one.get('presence', 0, 'ada')).keys()], ['c', 'd'], 'share it')
  })

  for (const [name, url] of urls) {
    t.test(`rows of a generation that was given up ${name}`, async t => {
      const redis = await connectedRedis(t, url)
      const foreign = await tablesAt(t, url, { identity: 'another log' }, redis)
      const { options } = made.get(foreign)!
      const writes = Array.from({ length: 3000 }, (_, i) => put(`k${i}`, 'f', i))
      await foreign.apply('nodes', 0, writes, at(5))
      const sweeping = { sweepAfterMs: 0, sweepPauseMs: 0, onSweepFailed: (error: unknown) => { throw error } }
      const tables = await tablesAt(t, url, { ...options, ...sweeping, identity: 'a log' }, redis)
      await tables.apply('nodes', 0, [put('n1', 'f', 1)], at(1))
      const pattern = `{${options.prefix}.0}:nodes*`
      const masters = redis instanceof Redis ? [redis] : redis.nodes('master')
      const left = async () => (await Promise.all(masters.map(node => node.keys(pattern)))).flat().length
      await until(async () => await left() <= 3)
      t.equal(await left(), 3, 'are removed, and the table, its index and its row are not')
      t.strictSame(await scanned(tables, 'nodes'), { '0/n1': { f: 1 } })
    })
  }

  /** A log, a runner that follows it into Redis, and a way to wait until Redis has what belongs there. */
  async function following (t: Test, url: string, commandTimeoutMs: number) {
    const log = new MemoryLog<Entry>()
    const redis = await connectedRedis(t, url, commandTimeoutMs)
    const tables = await tablesAt(t, url, {}, redis)
    const errors: unknown[] = []
    const runner = await Runner.start({
      log,
      stream: log.stream,
      group: 'projections',
      tables,
      projections: [presence, routing],
      onPoison: ({ error }) => { throw error },
      retryMs: 10,
      positionEveryMs: 20,
      onFailed: ({ error }) => errors.push(error),
    })
    t.teardown(() => runner.stop())
    const blocks: Entry[][] = []
    const add = async (...block: Entry[]) => {
      blocks.push(block)
      log.add(block)
      await log.pump()
    }
    const healed = async () => {
      const fresh = (await followedBy([presence, routing], blocks)).tables
      const wanted = [fresh.dump('presence'), fresh.dump('routing')]
      let found: unknown
      for (const end = performance.now() + 60_000; performance.now() < end;) {
        found = await Promise.all([scanned(tables, 'presence'), routesIn(tables)]).catch(error => error)
        if (JSON.stringify(sorted(found)) === JSON.stringify(sorted(wanted))) break
        await delay(20)
      }
      t.strictSame(sorted(found), sorted(wanted), 'has what a table made from scratch has')
    }
    return { redis, add, healed, errors }
  }

  for (const [name, url] of urls) {
    t.test(`what a runner keeps ${name} that is flushed`, async t => {
      const { redis, add, healed, errors } = await following(t, url, 2000)
      const flush = () => Promise.all((redis instanceof Redis ? [redis] : redis.nodes('master')).map(node => node.flushall()))
      for (let i = 0; i < 20; i++) await add(opened(`u${i % 5}`, `c${i}`), closed(`u${i % 5}`, `c${i - 5}`))
      await healed()
      await flush()
      for (let i = 20; i < 25; i++) await add(opened(`u${i % 5}`, `c${i}`))
      await healed()
      t.match(errors[0], /want one from 0 on|went back/)
      await flush()
      await healed()
    })
  }

  t.test('a cluster without one of its masters', async t => {
    const { url } = await startRedisCluster(t)
    const redis = await connectedRedis(t, url, 500) as Cluster
    const tables = await tablesAt(t, '', {}, redis)
    const partitions = Array.from({ length: 9 }, (_, partition) => partition)
    for (const partition of partitions) await tables.apply('presence', partition, [put('ada', 'c', partition)], at(1))
    const [, pid] = /process_id:(\d+)/.exec(await redis.nodes('master')[0]!.info('server'))!
    process.kill(Number(pid), 'SIGKILL')
    await until(() => redis.nodes('master').length <= 2)
    const gets = await Promise.allSettled(partitions.map(partition => tables.get('presence', partition, 'ada')))
    t.strictSame(new Set(gets.map(({ status }) => status)), new Set(['rejected', 'fulfilled']), 'has the rows of the others')
    for (let i = 0; i < 40; i++, await delay(25)) {
      const rows = await scanned(tables, 'presence').catch(() => {})
      if (rows) t.fail(`a scan lacks rows: ${Object.keys(rows)}`)
    }
  })

  t.test('a Redis that is frozen for longer than commands may take', async t => {
    const frozen = await startRedis(t)
    const { add, healed, errors } = await following(t, frozen.url, 100)
    await add(opened('ann', 'c1'))
    await healed()
    process.kill(frozen.pid, 'SIGSTOP')
    for (let i = 2; i < 9; i++) {
      await add(opened('ann', `c${i}`), closed('ann', `c${i - 1}`))
      await delay(60)
    }
    await until(() => errors.length > 0)
    t.match(errors[0], /timed out/)
    process.kill(frozen.pid, 'SIGCONT')
    await healed()
  })

  t.test('a Redis that comes back empty', async t => {
    const emptied = await startRedis(t)
    const { add, healed, errors } = await following(t, emptied.url, 2_000)
    await add(opened('ann', 'c1'), opened('bob', 'c2'))
    await healed()
    const restarted = emptied.restart({ empty: true })
    await add(closed('ann', 'c1'))
    await restarted
    await healed()
    t.ok(errors.length > 0)
  })
}

/** What the projection has written. */
async function routesIn (tables: Tables): Promise<Record<string, unknown>> {
  const rows = Object.entries(await scanned(tables, 'routing'))
  return Object.fromEntries(rows.filter(([name]) => !isIndexRow('routing', name.slice(name.indexOf('/') + 1))))
}

/** With the names in order, whatever order a hash has them in. */
function sorted (value: unknown): unknown {
  if (value instanceof Error) return value.message
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => [k, sorted(v)]))
}
