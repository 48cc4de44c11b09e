import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { redisSnapshots, type RedisSnapshotsOptions } from '../../actors/snapshots-redis.js'
import type { Snapshots } from '../../actors/snapshots.js'
import { connectedRedis, redisMissing, startRedis, startRedisCluster } from '../cluster/redis.js'
import { snapshotsContract, states } from './snapshots-contract.js'

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
  const lost = { name: 'SnapshotsLost' }
  let prefixes = 0
  const made = new Map<Snapshots, { url: string, options: RedisSnapshotsOptions }>()

  async function snapshotsAt (
    t: Test, url: string, more: Partial<RedisSnapshotsOptions> = {}, redis?: Redis | Cluster
  ) {
    const options = { prefix: `s${++prefixes}`, identity: 'a log', retryMs: 5, ...more }
    const snapshots = redisSnapshots(redis ?? await connectedRedis(t, url), options)
    t.teardown(() => snapshots.close())
    made.set(snapshots, { url, options })
    return snapshots
  }

  for (const [name, url] of urls) {
    snapshotsContract(t, name, {
      open: t => snapshotsAt(t, url),
      reopen: (t, snapshots) => snapshotsAt(t, url, made.get(snapshots)!.options),
    })
  }

  t.test('a Redis that is flushed', async t => {
    const redis = await connectedRedis(t, server.url)
    const snapshots = await snapshotsAt(t, server.url, {}, redis)
    await snapshots.checkpoint(0)
    await snapshots.save(0, 10n, states(['ada', 'a10']))
    await redis.call('FLUSHALL')
    await t.rejects(snapshots.save(0, 11n, states(['bob', 'b11'])), lost, 'gets no checkpoint without what went before')
    await t.rejects(snapshots.load(0, 'bob'), lost)
    t.equal(await snapshots.checkpoint(0), 0n, 'begins at offset 0 with the next assignment')
    t.equal(await snapshots.load(0, 'ada'), undefined)
    await snapshots.save(0, 4n, states(['ada', 'a4']))
    await redis.call('FLUSHALL')
    await t.rejects(snapshots.load(0, 'ada'), lost, 'never says that it knows no such user')
    await t.rejects(snapshots.save(0, 5n, states(['ada', 'a5'])), lost)
    t.equal(await redis.exists(`{${made.get(snapshots)!.options.prefix}.0}:snapshots`), 0)
  })

  t.test('a Redis that is restored from an older copy', async t => {
    const redis = await connectedRedis(t, server.url)
    const snapshots = await snapshotsAt(t, server.url, {}, redis)
    const key = `{${made.get(snapshots)!.options.prefix}.0}:snapshots`
    await snapshots.save(0, 10n, states(['ada', 'a10']))
    const copy = await redis.dumpBuffer(key)
    await snapshots.save(0, 20n, states(['ada', 'a20']))
    await redis.restore(key, 0, copy, 'REPLACE')
    await t.rejects(snapshots.save(0, 21n, states(['bob', 'b21'])), lost, 'gets no checkpoint over the gap')
    await snapshots.checkpoint(0)
    await snapshots.save(0, 20n, states(['ada', 'a20']))
    await redis.restore(key, 0, copy, 'REPLACE')
    await t.rejects(snapshots.load(0, 'ada'), lost)
    t.equal(await snapshots.checkpoint(0), 10n)
    t.equal((await snapshots.load(0, 'ada'))?.toString(), 'a10')
  })

  t.test('snapshots that were made of another log', async t => {
    const foreign = await snapshotsAt(t, server.url, { identity: 'another log' })
    await foreign.save(0, 10n, states(['ada', 'theirs'], ['eve', 'theirs']))
    const snapshots = await snapshotsAt(t, server.url, { ...made.get(foreign)!.options, identity: 'a log' })
    t.equal(await snapshots.checkpoint(0), 0n, 'count as not there')
    t.equal(await snapshots.load(0, 'ada'), undefined)
    await snapshots.save(0, 5n, states(['ada', 'ours']))
    t.equal((await snapshots.load(0, 'ada'))?.toString(), 'ours')
    t.equal(await snapshots.load(0, 'eve'), undefined, 'are removed by the first save')
    await t.rejects(foreign.save(0, 11n, states(['ada', 'theirs'])), lost)
    await t.rejects(foreign.load(0, 'eve'), lost)
  })

  t.test('a checkpoint beyond the end of the log', async t => {
    const before = await snapshotsAt(t, server.url)
    await before.save(0, 10n, states(['ada', 'a10']))
    const { options } = made.get(before)!
    const whole = await snapshotsAt(t, server.url, { ...options, endOf: async () => 10n })
    t.equal(await whole.checkpoint(0), 10n)
    const cut = await snapshotsAt(t, server.url, { ...options, endOf: async () => 9n })
    t.equal(await cut.checkpoint(0), 0n, 'is that of a log that is gone')
    t.equal(await cut.load(0, 'ada'), undefined)
    await t.rejects(whole.load(0, 'ada'), lost)
  })

  t.test('an owner whose successor began before it saved anything', async t => {
    const old = await snapshotsAt(t, server.url)
    const older = await snapshotsAt(t, server.url, made.get(old)!.options)
    const successor = await snapshotsAt(t, server.url, made.get(old)!.options)
    for (const snapshots of [old, older, successor]) await snapshots.checkpoint(0)
    await successor.save(0, 10n, states(['ada', 'a10']))
    await t.rejects(old.save(0, 20n, states(['bob', 'b20'])), lost, 'saves nothing')
    await t.rejects(older.load(0, 'ada'), lost, 'loads nothing')
    t.equal((await successor.load(0, 'ada'))?.toString(), 'a10')
  })

  t.test('an owner that slept', async t => {
    const old = await snapshotsAt(t, server.url)
    await old.save(0, 10n, states(['ada', 'a10']))
    const successor = await snapshotsAt(t, server.url, made.get(old)!.options)
    await successor.save(0, 20n, states(['ada', 'a20']))
    await old.save(0, 15n, states(['ada', 'a15']))
    t.equal((await successor.load(0, 'ada'))?.toString(), 'a20', 'does not undo its successor')
    t.equal(await successor.checkpoint(0), 20n)
  })

  t.test('a save while Redis is frozen', async t => {
    const frozen = await startRedis(t)
    const failures: unknown[] = []
    const redis = await connectedRedis(t, frozen.url, 50)
    const snapshots = await snapshotsAt(t, frozen.url, { onFailed: error => failures.push(error) }, redis)
    await snapshots.checkpoint(0)
    process.kill(frozen.pid, 'SIGSTOP')
    const saves = [snapshots.save(0, 5n, states(['ada', 'a5'])), snapshots.save(0, 6n, states(['bob', 'b6']))]
    for (let i = 0; i < 500 && failures.length < 3; i++) await delay(10)
    t.match(failures[0], /timed out/, 'is tried again')
    t.equal((await snapshots.load(0, 'ada'))?.toString(), 'a5', 'and loaded from memory')
    await t.rejects(snapshots.load(0, 'eve'), 'which knows nobody else')
    process.kill(frozen.pid, 'SIGCONT')
    await Promise.all(saves)
    t.equal((await snapshots.load(0, 'bob'))?.toString(), 'b6', 'until it is kept')
    t.equal(await snapshots.checkpoint(0), 6n)
  })

  t.test('a save that waits for a Redis that is away', async t => {
    const gone = await startRedis(t)
    const failures: unknown[] = []
    const snapshots = await snapshotsAt(t, gone.url, { onFailed: error => failures.push(error) })
    await snapshots.checkpoint(0)
    await snapshots.checkpoint(1)
    await gone.stop()
    const saving = snapshots.save(0, 5n, states(['ada', 'a5']))
    for (let i = 0; i < 500 && failures.length < 2; i++) await delay(10)
    t.ok(failures.length > 1)
    snapshots.close()
    await t.rejects(saving, /closed/, 'is rejected when the snapshots are closed')
    await t.rejects(snapshots.save(1, 5n, states()), /closed/)
  })
}
