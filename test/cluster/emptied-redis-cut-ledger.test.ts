import { Redis } from 'ioredis'
import t from 'tap'
import { BusyClient } from '../faults/busy-client.js'
import { readUplinks, request, startProcess, until } from '../faults/node-process.js'
import { kafkaMissing, outsideKafka, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

t.test('A cluster whose ledger was cut by retention and whose Redis has lost everything', {
  skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 450_000,
}, async t => {
  const [{ brokers }, { url }] = await Promise.all([startKafka(t), startRedis(t)])
  const prefix = `cut-${process.pid}`
  const node = await startProcess(t, t.testdirName, {
    KAFKA_BROKERS: brokers.join(), REDIS_URL: url, LEDGERLINE_TOPIC_PREFIX: prefix, LEDGERLINE_PARTITIONS: '2',
  })
  const ann = new BusyClient({ userId: 'ann', deviceId: 'phone', transport: 'tcp', outstanding: 4 })
  const bob = new BusyClient({ userId: 'bob', deviceId: 'phone', transport: 'ws', outstanding: 1 })
  t.teardown(() => {
    ann.stop()
    bob.stop()
  })
  const push = async (messageId: string) => await request(node, '/v1/downlinks', {
    to: { userIds: ['bob'] }, messageId, payload: messageId,
  })
  /** Nobody has an actor in memory, so everything is in the saved states. */
  const isSaved = async () => /^ledgerline_active_users 0$/m.test((await request(node, '/metrics')).text)

  await ann.open(node)
  await bob.open(node)
  await until(() => ann.acked.size >= 20 && bob.acked.size >= 5)
  await push('m1')
  await until(() => bob.seen.length === 1)
  for (const client of [ann, bob]) client.busy = false
  await until(() => ann.unacked + bob.unacked === 0)
  await bob.leave()
  for (const id of ['m2', 'm3']) t.equal((await push(id)).status, 202)
  await until(isSaved, 100)

  const acked = ann.acked.size
  const admin = outsideKafka(brokers).admin()
  await admin.connect()
  const topic = `${prefix}.ledger`
  const offsets = await admin.fetchTopicOffsets(topic)
  await admin.deleteTopicRecords({
    topic, partitions: offsets.map(({ partition, high }) => ({ partition, offset: high })),
  })
  await admin.disconnect()
  const redis = new Redis(url)
  await redis.flushall()
  redis.disconnect()

  ann.busy = true
  await until(() => ann.acked.size >= acked + 20)
  ann.busy = false
  await until(() => ann.unacked === 0)
  t.strictSame([...ann.acked], Array.from(ann.acked, (_, i) => [i + 1, i + 1]), 'the numbers of a user go on')
  t.strictSame(ann.complaints, [], 'and no connection was closed')
  await until(async () => (await readUplinks(node)).filter(({ userId }) => userId === 'ann').length >= ann.acked.size, 100)
  const published = (await readUplinks(node)).filter(({ userId }) => userId === 'ann').map(({ userSeq }) => userSeq)
  t.strictSame([...new Set(published)], Array.from(ann.acked.keys()), 'consumers have each of them')

  await bob.open(node)
  await until(() => bob.seen.length === 3)
  t.strictSame(bob.seen.map(({ seq, messageId }) => [seq, messageId]), [[1, 'm1'], [2, 'm2'], [3, 'm3']],
    'a session resumes with all that waited for it')
  const repeat = await push('m2')
  t.match(repeat.body.users, [{ status: 'duplicate' }], 'a request of before is still a repeat')
})
