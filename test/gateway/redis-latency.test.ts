import type { Redis } from 'ioredis'
import t from 'tap'
import { RedisLatency } from '../../gateway/redis-latency.js'
import { connectedRedis, redisMissing, startRedis } from '../cluster/redis.js'
import { until } from './node.js'

t.test('A Redis that takes seconds to answer is told of while it does, and for a while after', {
  skip: redisMissing() ?? false,
}, async t => {
  const { url } = await startRedis(t)
  const redis = await connectedRedis(t, url, 60_000) as Redis
  const other = await connectedRedis(t, url)
  let nowMs = 0
  let answered = 0
  let isAsked = false
  const watched = new Proxy(redis, {
    get: (target, name) => name === 'ping'
      ? async () => {
        isAsked = true
        await target.ping()
        isAsked = false
        answered++
      }
      : Reflect.get(target, name),
  })
  const latency = new RedisLatency(watched, { everyMs: 5, nowMs: () => nowMs })
  t.teardown(() => { latency.stop() })
  await until('it is asked', () => answered > 2)
  t.equal(latency.reason(), '')

  await other.call('CLIENT', 'PAUSE', '1500', 'ALL')
  await until('a question waits', async () => {
    const before = answered
    await new Promise(resolve => setTimeout(resolve, 50))
    return isAsked && answered === before
  })
  t.equal(latency.reason(), '', 'not at once')
  nowMs += 1_000
  t.match(latency.reason(), /longer than 1 s/)

  const during = answered
  // None may be on its way while the clock is moved: it would have taken as long.
  await until('it answers again', () => answered > during + 1 && !isAsked)
  nowMs += 4_999
  t.match(latency.reason(), /longer than 1 s/, 'it may be slow again in a moment')
  nowMs += 1
  t.equal(latency.reason(), '')
})
