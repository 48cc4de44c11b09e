import type { Redis } from 'ioredis'
import t from 'tap'
import { RedisClock } from '../../gateway/redis-clock.js'
import { connectedRedis, redisMissing, startRedis } from '../cluster/redis.js'
import { until } from './node.js'

t.test('A time of day that is not that of Redis is told of while it is not', { skip: redisMissing() ?? false }, async t => {
  const { url } = await startRedis(t)
  const redis = await connectedRedis(t, url) as Redis
  let aheadMs = 0
  const clock = new RedisClock(redis, { everyMs: 5, nowMs: () => Date.now() + aheadMs })
  t.teardown(() => { clock.stop() })
  const told = async (reason: RegExp) => { await until(String(reason), () => reason.test(clock.reason())) }
  await told(/^$/)
  aheadMs = 3_600_000
  await told(/^this machine's time of day is 3600 s ahead of that of Redis$/)
  aheadMs = -60_000
  await told(/^this machine's time of day is 60 s behind that of Redis$/)
  aheadMs = 3_000
  await told(/^$/)
})
