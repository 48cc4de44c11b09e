import t from 'tap'
import { Redis } from 'ioredis'
import { checkTopics } from '../../gateway/topic-record.js'
import { redisMissing, startRedis } from '../cluster/redis.js'

t.test('the record of topics', { skip: redisMissing() ?? false }, async t => {
  const { url } = await startRedis(t)
  const redis = new Redis(url)
  t.teardown(() => { redis.disconnect() })
  const topics = [{ topic: 'p.ledger', id: 'a', partitions: 8 }, { topic: 'p.nodes', id: 'b', partitions: 1 }]
  await checkTopics(redis, 'p', topics)

  await t.test('takes the same topics again, and new ones', async t => {
    await t.resolves(checkTopics(redis, 'p', [...topics, { topic: 'p.uplinks', id: 'c', partitions: 8 }]))
    await t.resolves(checkTopics(redis, 'other', [{ topic: 'other.ledger', id: 'z', partitions: 3 }]))
  })

  await t.test('refuses one that grew while no node ran, in words, and until somebody accepts it', async t => {
    const grown = [{ topic: 'p.ledger', id: 'a', partitions: 12 }]
    await t.rejects(checkTopics(redis, 'p', grown), {
      code: 'misconfigured',
      message: /^Kafka topic p\.ledger: has 12 partitions, and had 8 .* redis-cli HDEL '\{p\.topics\}:record' p\.ledger$/,
    })
    await t.rejects(checkTopics(redis, 'p', grown), { code: 'misconfigured' }, 'again')
  })

  await t.test('refuses one that was created anew', async t => {
    const another = [{ topic: 'p.nodes', id: 'd', partitions: 1 }]
    await t.rejects(checkTopics(redis, 'p', another), {
      code: 'misconfigured', message: /^Kafka topic p\.nodes: was deleted and created anew/,
    })
    await redis.hdel('{p.topics}:record', 'p.nodes')
    await t.resolves(checkTopics(redis, 'p', another), 'until somebody accepts it')
  })

  await t.test('learns an id where older brokers had none', async t => {
    await checkTopics(redis, 'q', [{ topic: 'q.ledger', id: '', partitions: 2 }])
    await checkTopics(redis, 'q', [{ topic: 'q.ledger', id: 'e', partitions: 2 }])
    await t.resolves(checkTopics(redis, 'q', [{ topic: 'q.ledger', id: '', partitions: 2 }]))
    await t.rejects(checkTopics(redis, 'q', [{ topic: 'q.ledger', id: 'f', partitions: 2 }]))
  })
})
