import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { redisSnapshots, type RedisSnapshotsOptions } from '../../actors/snapshots-redis.js'
import type { RebuildableSnapshots } from '../../actors/snapshots.js'
import { connectedRedis, redisMissing, startRedis, startRedisCluster } from '../cluster/redis.js'
import { until } from './given.js'
import { change, found, headOf, partsOf, snapshotsContract, states } from './snapshots-contract.js'
import { faultOf, offsetOf, Owner, stateAt, users } from './snapshots-model.js'

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
  const made = new Map<RebuildableSnapshots, { url: string, options: RedisSnapshotsOptions }>()

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
    await t.rejects(headOf(snapshots, 0, 'bob'), lost)
    t.equal(await snapshots.checkpoint(0), 0n, 'begins at offset 0 with the next assignment')
    t.equal(await headOf(snapshots, 0, 'ada'), undefined)
    await snapshots.save(0, 4n, states(['ada', 'a4']))
    await redis.call('FLUSHALL')
    await t.rejects(headOf(snapshots, 0, 'ada'), lost, 'never says that it knows no such user')
    await t.rejects(snapshots.save(0, 5n, states(['ada', 'a5'])), lost)
    t.equal(await redis.exists(`{${made.get(snapshots)!.options.prefix}.0}:states`), 0)
  })

  t.test('a Redis that is restored from an older copy', async t => {
    const redis = await connectedRedis(t, server.url)
    const snapshots = await snapshotsAt(t, server.url, {}, redis)
    const key = `{${made.get(snapshots)!.options.prefix}.0}:states`
    await snapshots.save(0, 10n, states(['ada', 'a10']))
    const copy = await redis.dumpBuffer(key)
    await snapshots.save(0, 20n, states(['ada', 'a20']))
    await redis.restore(key, 0, copy, 'REPLACE')
    await t.rejects(snapshots.save(0, 21n, states(['bob', 'b21'])), lost, 'gets no checkpoint over the gap')
    await snapshots.checkpoint(0)
    await snapshots.save(0, 20n, states(['ada', 'a20']))
    await redis.restore(key, 0, copy, 'REPLACE')
    await t.rejects(headOf(snapshots, 0, 'ada'), lost)
    t.equal(await snapshots.checkpoint(0), 10n)
    t.equal(await headOf(snapshots, 0, 'ada'), 'a10')
  })

  t.test('snapshots that were made of another log', async t => {
    const foreign = await snapshotsAt(t, server.url, { identity: 'another log' })
    await foreign.save(0, 10n, states(['ada', 'theirs'], ['eve', 'theirs']))
    const snapshots = await snapshotsAt(t, server.url, { ...made.get(foreign)!.options, identity: 'a log' })
    t.equal(await snapshots.checkpoint(0), 0n, 'count as not there')
    t.equal(await headOf(snapshots, 0, 'ada'), undefined)
    await snapshots.save(0, 5n, states(['ada', 'ours']))
    t.equal(await headOf(snapshots, 0, 'ada'), 'ours')
    t.equal(await headOf(snapshots, 0, 'eve'), undefined, 'are removed by the first save')
    await t.rejects(foreign.save(0, 11n, states(['ada', 'theirs'])), lost)
    await t.rejects(headOf(foreign, 0, 'eve'), lost)
  })

  t.test('an owner whose successor began before it saved anything', async t => {
    const old = await snapshotsAt(t, server.url)
    const older = await snapshotsAt(t, server.url, made.get(old)!.options)
    const successor = await snapshotsAt(t, server.url, made.get(old)!.options)
    for (const snapshots of [old, older, successor]) await snapshots.checkpoint(0)
    await successor.save(0, 10n, states(['ada', 'a10']))
    await t.rejects(old.save(0, 20n, states(['bob', 'b20'])), lost, 'saves nothing')
    await t.rejects(headOf(older, 0, 'ada'), lost, 'loads nothing')
    t.equal(await headOf(successor, 0, 'ada'), 'a10')
  })

  t.test('an owner that slept', async t => {
    const old = await snapshotsAt(t, server.url)
    await old.save(0, 10n, states(['ada', 'a10']))
    const successor = await snapshotsAt(t, server.url, made.get(old)!.options)
    await successor.save(0, 20n, states(['ada', 'a20']))
    await old.save(0, 15n, states(['ada', 'a15']))
    t.equal(await headOf(successor, 0, 'ada'), 'a20', 'does not undo its successor')
    t.equal(await successor.checkpoint(0), 20n)
  })

  t.test('a Redis that is flushed in the middle of a first save', async t => {
    const redis = await connectedRedis(t, server.url)
    const snapshots = await snapshotsAt(t, server.url, { callBytesMax: 100 }, redis)
    await snapshots.checkpoint(0)
    let calls = 0
    const { script } = tapped(redis)
    script.before = async () => { if (++calls === 2) await redis.call('FLUSHALL') }
    const saving = snapshots.save(0, 1n, states(['ann', 'a'.repeat(80)], ['bob', 'b'.repeat(80)]))
    await t.rejects(saving, lost, 'keeps no checkpoint with half of the states')
    t.equal(await snapshots.savedTo(0), 0n)
    await t.rejects(headOf(snapshots, 0, 'ann'), lost)
  })

  t.test('a save that is larger than a call', async t => {
    const redis = await connectedRedis(t, server.url)
    const snapshots = await snapshotsAt(t, server.url, {}, redis)
    const { script, sizes } = tapped(redis)
    const large = 'x'.repeat(60_000)
    const added = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`p${i}`, `${i}${large}`]))
    const names = Object.keys(added).join(' ')
    const all = new Map([
      ...Array.from({ length: 100 }, (_, i) => [`u${i}`, change('1 p1', { added: { p1: large } })] as const),
      ['ann', change(`1 s1 ${names}`, { added, changed: { s1: 'one' } })] as const,
    ])
    let seen: string[] = []
    script.before = async () => {
      const state = await snapshots.saved(0, 'ann', partsOf)
      if (state && state.parts.size !== 41) seen.push(`${state.parts.size} parts`)
    }
    await snapshots.save(0, 1n, all)
    t.ok(sizes.length > 12 && Math.max(...sizes) <= 520 * 1024, `is cut: ${sizes}`)
    t.strictSame(seen, [], 'and no head is ahead of its parts')
    t.strictSame((await snapshots.load(0, 'ann', () => []))!.others, [])
    t.equal((await snapshots.load(0, 'ann', partsOf))!.parts.get('p39')!.length, large.length + 2)

    await t.test('goes on in the middle', async t => {
      sizes.length = 0
      seen = []
      script.before = async () => { if (sizes.length === 3) throw new Error('Redis is away') }
      await snapshots.save(0, 2n, all)
      script.before = undefined
      t.ok(sizes.length < 20, `${sizes.length} calls`)
      t.equal(await snapshots.savedTo(0), 2n)
    })

    await t.test('of which an owner stored a part when it died', async t => {
      const dying = await snapshotsAt(t, server.url, made.get(snapshots)!.options, redis)
      await dying.checkpoint(0)
      const { script, sizes } = tapped(redis)
      script.before = async () => { if (sizes.length === 3) dying.close() }
      const parts = Object.fromEntries(Object.entries(added).map(([id, part]) => [id.replace('p', 'p1000'), part]))
      await t.rejects(dying.save(0, 3n, new Map([['ann', change('3', { added: parts })]])), /closed/)
      const next = await snapshotsAt(t, server.url, made.get(snapshots)!.options, redis)
      await next.checkpoint(0)
      const { head, others } = (await next.load(0, 'ann', partsOf))!
      t.match(head.toString(), /^1 /)
      t.ok(others.length > 0 && others.length < 40, 'tells the next one of it')
      t.ok(others.every(id => id.startsWith('p1000')))
      await next.save(0, 4n, new Map([['ann', change('4 s1', { gone: [...Object.keys(added), ...others] })]]))
      t.strictSame((await next.partIds(0, new Set(['ann']))).get('ann'), ['s1'])
      t.strictSame((await next.load(0, 'ann', partsOf))!.others, [])
    })
  })

  t.test('parts that an owner stored ahead of a head that never came', async t => {
    const redis = await connectedRedis(t, server.url)
    const first = await snapshotsAt(t, server.url, { callBytesMax: 200 }, redis)
    const { options } = made.get(first)!
    await first.save(0, 1n, new Map([['ann', change('1')]]))
    /** Dies in the middle: its parts are there, and not its head. */
    const dying = async (next: bigint, ids: string[]) => {
      const redis = await connectedRedis(t, server.url)
      const owner = await snapshotsAt(t, server.url, options, redis)
      await owner.checkpoint(0)
      const { script } = tapped(redis)
      let calls = 0
      script.before = async () => {
        if (++calls <= ids.length) return
        owner.close()
        throw new Error('it never went')
      }
      const added = Object.fromEntries(ids.map(id => [id, 'x'.repeat(150)]))
      await t.rejects(owner.save(0, next, new Map([['ann', change(`${next}`, { added })]])), /closed/)
    }
    const others = async (owner = first) => [...(await owner.load(0, 'ann', partsOf))!.others].sort()
    await dying(2n, ['p10', 'p11'])
    await dying(2n, ['p1', 'p10'])
    t.strictSame(await others(), ['p1', 'p10', 'p11'], 'are told of, whatever their names have in common')
    const added = { p1: 'y'.repeat(150), p2: 'y'.repeat(150) }
    await first.save(0, 3n, new Map([['ann', change('3 p1 p2', { added })]]))
    t.strictSame(await others(), ['p10', 'p11'], 'are told of after the head of another, which names some')
    const next = await snapshotsAt(t, server.url, options)
    await next.checkpoint(0)
    await next.save(0, 4n, new Map([['ann', change('4 p1 p2', { gone: await others(next) })]]))
    t.strictSame(await others(next), [], 'until they are removed')
    t.strictSame((await next.partIds(0, new Set(['ann']))).get('ann')!.toSorted(), ['p1', 'p2'])
    const { prefix } = options
    t.equal((await redis.hkeys(`{${prefix}.0}:states`)).filter(key => key.startsWith(':ann')).length, 3, 'with the note')
  })

  t.test('a head that is replaced while its parts are read', async t => {
    const redis = await connectedRedis(t, server.url)
    const snapshots = await snapshotsAt(t, server.url, {}, redis)
    const other = await snapshotsAt(t, server.url, made.get(snapshots)!.options)
    await snapshots.save(0, 1n, new Map([['ann', change('1 s1 m1', { added: { m1: 'one' }, changed: { s1: 'a' } })]]))
    await other.checkpoint(0)
    const loads = [() => found(snapshots, 0, 'ann'), () => snapshots.saved(0, 'ann', partsOf)]
    for (const [at, load] of loads.entries()) {
      let reads = 0
      const { reading } = tapped(redis)
      reading.before = async () => {
        if (++reads !== 2) return
        const next = BigInt(10 * (at + 1))
        const added = { [`m${next}`]: 'two' }
        const changes = change(`${next} s1 m${next}`, { added, changed: { s1: 'b' }, gone: ['m1'] })
        await other.save(0, next, new Map([['ann', changes]]))
      }
      await load()
      reading.before = undefined
      t.equal(reads, 4, 'is read again with parts of its time')
    }
    t.strictSame(await found(snapshots, 0, 'ann'), ['20 s1 m20', { s1: 'b', m20: 'two' }])
  })

  t.test('an owner that is behind in the middle of the save of one that is ahead', async t => {
    const ahead = await connectedRedis(t, server.url)
    const first = await snapshotsAt(t, server.url, { callBytesMax: 50 }, ahead)
    const second = await snapshotsAt(t, server.url, made.get(first)!.options)
    const [fast, slow] = [new Owner(first), new Owner(second)]
    await fast.begin()
    await fast.save(4)
    await slow.begin()
    for (const userId of users) await slow.load(userId)
    const { script } = tapped(ahead)
    const faults: Array<string | undefined> = []
    script.before = async () => {
      if (slow.at < 18) await slow.save(slow.at + 1)
      for (const userId of users) faults.push(faultOf(userId, (await second.saved(0, userId, partsOf))!))
    }
    await fast.save(19)
    script.before = undefined
    t.strictSame([...new Set(faults)], [undefined])
    await slow.save(25)
    for (const userId of users) {
      const state = (await second.saved(0, userId, partsOf))!
      t.equal(faultOf(userId, state), undefined)
      t.equal(offsetOf(state.head), 25)
    }
  })

  for (let round = 0; round < 3; round++) {
    t.test(`owners that do not know of each other, and calls that come late (${round})`, async t => {
      await manyOwners(t, server.url, `many${round}`)
    })
  }

  t.test('states of the build before', async t => {
    const redis = await connectedRedis(t, server.url)
    const whole = Buffer.from('c301ff', 'hex')
    const older = async (prefix: string, identity: string) => {
      await redis.hset(`{${prefix}.0}:snapshots`, { identity, generation: 'g', next: '7', ':ann': whole, ':': '[]' })
    }
    await older('older', 'a log')
    const snapshots = await snapshotsAt(t, server.url, { prefix: 'older', callBytesMax: 100 }, redis)
    t.equal(await snapshots.checkpoint(0), 7n, 'are taken over')
    t.strictSame((await snapshots.load(0, 'ann', () => []))!.head, whole)
    t.equal(await headOf(snapshots, 0, ''), '[]')
    for (const command of ['hmget', 'hset'] as const) {
      const call = redis.call(command, '{older.0}:snapshots', 'identity', 'x')
      await t.rejects(call, /WRONGTYPE/, 'and that build can not go on without')
    }
    await t.rejects(redis.call('HSCAN', '{older.0}:snapshots', '0'), /WRONGTYPE/)
    await snapshots.save(0, 8n, new Map([['ann', change('8 s1', { changed: { s1: 'phone' } })]]))
    t.strictSame(await found(snapshots, 0, 'ann'), ['8 s1', { s1: 'phone' }])
    const again = await snapshotsAt(t, server.url, { prefix: 'older' }, redis)
    t.equal(await again.checkpoint(0), 8n, 'once')

    await older('foreign', 'another log')
    const foreign = await snapshotsAt(t, server.url, { prefix: 'foreign' }, redis)
    t.equal(await foreign.checkpoint(0), 0n, 'count as not there where they are of another log')
    t.equal(await headOf(foreign, 0, 'ann'), undefined)
    t.equal(await redis.type('{foreign.0}:snapshots'), 'string')

    const fresh = await snapshotsAt(t, server.url, { prefix: 'fresh' }, redis)
    await fresh.checkpoint(0)
    t.equal(await redis.type('{fresh.0}:snapshots'), 'string', 'can not begin beside ours')
    await redis.del('{fresh.0}:snapshots')
    await fresh.save(0, 9n, states(['ann', '9']))
    await older('fresh', 'a log')
    t.equal(await fresh.checkpoint(0), 9n, 'stand behind ours')
    t.equal(await headOf(fresh, 0, 'ann'), '9')
  })

  t.test('a state that is put right and larger than a call', async t => {
    const redis = await connectedRedis(t, server.url)
    const snapshots = await snapshotsAt(t, server.url, { callBytesMax: 2000 }, redis)
    const wrong = change('5 p1', { added: { p1: 'wrong', p999: 'stray' } })
    await snapshots.save(0, 5n, new Map([['ann', wrong], ['bob', change('5')]]))
    const parts = new Map(Array.from({ length: 50 }, (_, i) => [`p${i}`, Buffer.alloc(500, i)]))
    const right = { head: Buffer.from(['5', ...parts.keys()].join(' ')), parts }
    const bob = { head: Buffer.from('5 right'), parts: new Map() }
    t.strictSame(await snapshots.replace(0, 5n, new Map([['ann', right], ['bob', bob]])), new Set(['ann', 'bob']))
    const state = (await snapshots.saved(0, 'ann', partsOf))!
    t.equal(state.parts.size, 50)
    for (const [id, part] of parts) if (!state.parts.get(id)!.equals(part)) t.fail(id)
    t.equal((await snapshots.partIds(0, new Set(['ann']))).get('ann')!.length, 50, 'and nothing else')
    t.equal((await snapshots.saved(0, 'bob', () => []))?.head.toString(), '5 right')
    const { options: { prefix } } = made.get(snapshots)!
    t.equal(await redis.exists(`{${prefix}.0}:replacing`), 0)
  })

  t.test('states that are removed', async t => {
    const redis = await connectedRedis(t, server.url) as Redis
    const snapshots = await snapshotsAt(t, server.url, { callBytesMax: 500 }, redis)
    const users = Array.from({ length: 100 }, (_, i) => `user-${i}`)
    await snapshots.save(0, 5n, new Map(users.map(userId => [userId, change('5 p1', { added: { p1: 'part' } })])))
    const scripts = async () => [...(await redis.info('commandstats')).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)]
      .reduce((sum, [, calls]) => sum + Number(calls), 0)
    const before = await scripts()
    const replaced = await snapshots.replace(0, 5n, new Map(users.map(userId => [userId, undefined])))
    t.ok(await scripts() - before >= 6, 'are so in several calls where they are many')
    t.equal(replaced.size, 100)
    for await (const key of snapshots.keys(0)) t.fail('all of them', key)
  })

  t.test('a save while Redis is frozen', async t => {
    const frozen = await startRedis(t)
    const failures: unknown[] = []
    const redis = await connectedRedis(t, frozen.url, 400)
    const snapshots = await snapshotsAt(t, frozen.url, { onFailed: error => failures.push(error) }, redis)
    await snapshots.checkpoint(0)
    process.kill(frozen.pid, 'SIGSTOP')
    const saves = [snapshots.save(0, 5n, states(['ada', 'a5'])), snapshots.save(0, 6n, states(['bob', 'b6']))]
    await until(() => failures.length >= 3)
    t.match(failures[0], /timed out/, 'is tried again')
    t.equal(await headOf(snapshots, 0, 'ada'), 'a5', 'and loaded from memory')
    await t.rejects(headOf(snapshots, 0, 'eve'), 'which knows nobody else')
    process.kill(frozen.pid, 'SIGCONT')
    await Promise.all(saves)
    t.equal(await headOf(snapshots, 0, 'bob'), 'b6', 'until it is kept')
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
    await until(() => failures.length > 1)
    snapshots.close()
    await t.rejects(saving, /closed/, 'is rejected when the snapshots are closed')
    await t.rejects(snapshots.save(1, 5n, states()), /closed/)
  })

  /** Owners come, go on, die and save at the same time, and some of what they sent arrives once more, later. */
  async function manyOwners (t: Test, url: string, prefix: string): Promise<void> {
    const options = { prefix, callBytesMax: 60, retryMs: 1 }
    const judge = await snapshotsAt(t, url, options)
    const sent: Array<() => Promise<unknown>> = []
    const run = { isOver: false, end: 0 }
    const latest = new Map<string, number>()

    async function own (): Promise<void> {
      while (!run.isOver) {
        const redis = await connectedRedis(t, url)
        const snapshots = await snapshotsAt(t, url, options, redis)
        const { script } = tapped(redis)
        script.before = async again => {
          sent.push(again)
          const luck = Math.random()
          if (luck < 0.05) throw new Error('it never went')
          if (luck < 0.2) await delay(Math.random() * 3)
          if (luck > 0.9) await sent[Math.floor(Math.random() * sent.length)]!()
          if (sent.length > 200) sent.splice(0, 100)
        }
        script.after = async () => { if (Math.random() < 0.05) throw new Error('it was not answered') }
        const owner = new Owner(snapshots)
        const lives = 2 + Math.floor(Math.random() * 8)
        try {
          await owner.begin()
          for (let i = 0; i < lives && !run.isOver; i++) {
            run.end++
            const offset = Math.min(run.end, owner.at + 1 + Math.floor(Math.random() * 6))
            if (Math.random() < 0.2) setTimeout(() => { snapshots.close() }, Math.random() * 5)
            if (offset > owner.at) await owner.save(offset)
          }
        } catch (error) {
          if (!/SnapshotsLost|closed/.test(`${(error as Error).name} ${(error as Error).message}`)) throw error
        }
        redis.disconnect()
      }
    }

    async function watch (): Promise<number> {
      let looks = 0
      while (!run.isOver) {
        for (const userId of users) {
          const state = await judge.saved(0, userId, partsOf)
          if (!state) continue
          looks++
          const fault = faultOf(userId, state)
          const offset = offsetOf(state.head)
          if (fault) throw new Error(fault)
          if (offset < (latest.get(userId) ?? 0)) throw new Error(`${userId} went back to ${offset}`)
          latest.set(userId, offset)
        }
      }
      return looks
    }

    const work = Promise.all([watch(), own(), own(), own()]).finally(() => { run.isOver = true })
    while (!run.isOver && !(run.end > 150 && Math.min(...users.map(userId => latest.get(userId) ?? 0)) > 50)) {
      await delay(10)
    }
    run.isOver = true
    const [looks] = await work
    t.ok(looks > 50, `looked ${looks} times`)
    const last = new Owner(await snapshotsAt(t, url, options))
    await last.begin()
    await last.save(run.end + 10)
    for (const userId of users) {
      const state = (await judge.saved(0, userId, partsOf))!
      t.equal(faultOf(userId, state), undefined)
      t.equal(offsetOf(state.head), run.end + 10)
      t.equal(state.parts.size, stateAt(userId, run.end + 10).parts.size)
    }
  }
}

/** What a store sends over this connection, seen and held up by a test. */
function tapped (redis: Redis | Cluster) {
  const script: { before?: (again: () => Promise<unknown>) => Promise<void>, after?: () => Promise<void> } = {}
  const reading: { before?: () => Promise<void> } = {}
  /** Bytes of each call of a save. */
  const sizes: number[] = []
  const whole = redis as any
  const { snapshotsSave, hmgetBuffer } = whole
  const raw = snapshotsSave.bind(redis)
  whole.snapshotsSave = async (key: string, argv: Array<string | Buffer>) => {
    sizes.push(argv.reduce((sum, arg) => sum + arg.length, 0))
    await script.before?.(() => raw(key, argv))
    const answer = await raw(key, argv)
    await script.after?.()
    return answer
  }
  const read = hmgetBuffer.bind(redis)
  whole.hmgetBuffer = async (...args: unknown[]) => {
    await reading.before?.()
    return await read(...args)
  }
  return { script, reading, sizes }
}
