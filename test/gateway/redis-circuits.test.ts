import { Cluster, type Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { RedisCircuits } from '../../gateway/redis-circuits.js'
import { connectRedis } from '../../gateway/redis.js'
import { redisMissing, startRedis, startRedisCluster } from '../cluster/redis.js'
import { until } from './node.js'

t.test('Commands to a Redis', { skip: redisMissing() ?? false }, async t => {
  t.test('are refused at once while it is frozen, and taken as soon as it goes on', async t => {
    const server = await startRedis(t)
    const { redis, circuits, told } = await guarded(t, server.url)
    await redis.set('key', 'value')
    t.match(circuits.all(), [{ dependency: 'redis', state: 'closed', opened: 0, refused: 0 }])

    frozen(t, server.pid)
    const outcomes = await Promise.allSettled(Array.from({ length: 3 }, () => redis.get('key')))
    t.ok(outcomes.every(({ status }) => status === 'rejected'))
    // Until the connection is given up, which it is later.
    t.equal(redis.status, 'ready')
    await t.rejects(redis.get('key'), { name: 'CircuitOpen', message: /redis does not answer: Command timed out/ })
    t.match(circuits.all(), [{ opened: 1, refused: 1 }])
    t.ok(circuits.openMs >= 0)
    t.match(told[0], /^ away: Command timed out/)

    process.kill(server.pid, 'SIGCONT')
    await until('it is asked again', () => circuits.all()[0]!.state === 'closed')
    await until('it answers', () => redis.get('key').then(value => value === 'value', () => false))
    await until('its end is told', () => told.at(-1) === ' back')
    t.equal(circuits.openMs, 0)
  })

  t.test('wait for the answer of a probe alone, however many come', async t => {
    const server = await startRedis(t)
    const { redis, circuits } = await guarded(t, server.url, 60_000)
    frozen(t, server.pid)
    // Who waits longer than this test: what is refused is not in the way of what was sent.
    for (let i = 0; i < 100; i++) redis.get('key').catch(() => {})
    const breaker = circuits.all()[0] as { open? (reason: string): void }
    breaker.open!('as if they had failed')
    for (let i = 0; i < 1_000; i++) await t.rejects(redis.get('key'), { name: 'CircuitOpen' })
    await until('a probe is under way', () => circuits.all()[0]!.state === 'half-open')
    t.equal(circuits.all()[0]!.refused, 1_000)
    process.kill(server.pid, 'SIGCONT')
    await until('it is closed', () => circuits.all()[0]!.state === 'closed')
  })

  t.test('are not refused for errors that are answers', async t => {
    const server = await startRedis(t)
    const { redis, circuits } = await guarded(t, server.url)
    await redis.set('key', 'value')
    for (let i = 0; i < 10; i++) await t.rejects(redis.hget('key', 'field'), /WRONGTYPE/)
    t.match(circuits.all(), [{ state: 'closed', opened: 0 }])
  })

  t.test('are refused while it is gone, and its circuit says so', async t => {
    const server = await startRedis(t)
    const { redis, circuits, told } = await guarded(t, server.url)
    const restarted = server.restart()
    await until('it is open', () => circuits.all()[0]!.state !== 'closed')
    await t.rejects(redis.get('key'))
    await restarted
    await until('it is closed', () => circuits.all()[0]!.state === 'closed')
    await redis.get('key')
    t.notOk(told.some(what => what.includes('away')), 'who made the connection knows that it is gone')
  })
})

t.test('Commands to a Redis Cluster are refused for the node alone that does not answer', {
  skip: redisMissing() ?? false,
}, async t => {
  const { url, pids } = await startRedisCluster(t)
  const { redis, circuits, told } = await guarded(t, `redis+cluster${url.slice('redis'.length)}`)
  t.ok(redis instanceof Cluster)
  const keys = Array.from({ length: 60 }, (_, i) => `key ${i}`) // some twenty of each node
  for (const key of keys) await redis.set(key, key)
  t.equal(circuits.all().length, 3)

  frozen(t, pids[0]!)
  const round = () => Promise.allSettled(keys.map(key => redis.get(key)))
  await until('one is open', async () => {
    await round()
    return circuits.all().some(({ state }) => state !== 'closed')
  })
  const outcomes = await round()
  t.ok(outcomes.some(outcome => outcome.status === 'rejected'))
  t.ok(outcomes.some(outcome => outcome.status === 'fulfilled'), 'the others are asked')
  t.equal(circuits.all().filter(({ state }) => state !== 'closed').length, 1)
  t.equal(circuits.openMs, 0, 'one answers')
  t.match(told[0], /^127\.0\.0\.1:\d+ away/)
  process.kill(pids[0]!, 'SIGCONT')
  await until('all is well', async () => (await round()).every(({ status }) => status === 'fulfilled'))
  await until('all are closed', () => circuits.all().every(({ state }) => state === 'closed'))
})

async function guarded (t: Test, url: string, commandTimeoutMs = 500) {
  const redis = await connectRedis(url, { commandTimeoutMs }) as Redis
  const told: string[] = []
  const circuits = new RedisCircuits(redis, {
    dependency: 'redis',
    away: (server, reason) => { told.push(`${server} away: ${reason}`) },
    back: server => { told.push(`${server} back`) },
  })
  t.teardown(() => {
    circuits.stop()
    redis.disconnect()
  })
  return { redis, circuits, told }
}

function frozen (t: Test, pid: number): void {
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => {
    try {
      process.kill(pid, 'SIGCONT')
    } catch { /* it is gone */ }
  })
}
