import { Redis } from 'ioredis'
import { Kafka, logLevel } from 'kafkajs'
import t from 'tap'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { redisMissing, startRedis } from '../cluster/redis.js'
import { auditOfTopics } from './audit.js'
import { BusyClient } from './busy-client.js'
import { readUplinks, request, startProcess, until } from './node-process.js'

t.test('A node whose ledger was cut back by the election of a broker without all of it', {
  skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 600_000,
}, async t => {
  const [kafka, { url }] = await Promise.all([startKafka(t, { brokers: 3 }), startRedis(t)])
  const admin = new Kafka({ brokers: kafka.brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const prefix = `back-${process.pid}`
  await admin.createTopics({
    waitForLeaders: false,
    topics: [{
      topic: `${prefix}.ledger`,
      replicaAssignment: [{ partition: 0, replicas: [1, 2] }],
      configEntries: [
        { name: 'unclean.leader.election.enable', value: 'true' }, { name: 'min.insync.replicas', value: '1' },
        { name: 'retention.ms', value: '-1' },
      ],
    }],
  })
  const start = () => startProcess(t, t.testdirName, {
    KAFKA_BROKERS: kafka.brokers.join(), REDIS_URL: url, LEDGERLINE_TOPIC_PREFIX: prefix, LEDGERLINE_PARTITIONS: '1',
  })
  const client = (deviceId: string) => {
    const ann = new BusyClient({ userId: 'ann', deviceId, transport: 'tcp', outstanding: 1, everyMs: 50 })
    t.teardown(() => { ann.stop() })
    return ann
  }
  const node = await start()
  const phone = client('phone')
  await phone.open(node)
  const sends = async (from: BusyClient, count: number) => {
    const end = from.acked.size + count
    from.busy = true
    await until(() => from.acked.size >= end)
    from.busy = false
    await until(() => from.unacked === 0)
  }
  await sends(phone, 20)
  const kept = phone.acked.size
  await kafka.stopBroker(1)
  await sends(phone, 20)
  await phone.leave()
  const published = async (from: { http: string }) =>
    new Set((await readUplinks(from)).map(({ userSeq }) => userSeq)).size
  await until(async () => await published(node) === phone.acked.size, 100)
  await until(async () => /^ledgerline_active_users 0$/m.test((await request(node, '/metrics')).text), 100)
  const ended = async () => (await admin.fetchTopicOffsets(`${prefix}.ledger`))[0]!.high
  const known = async () => {
    const [topic] = await admin.fetchOffsets({ groupId: `${prefix}.users.ledger`, topics: [`${prefix}.ledger`] })
    return topic!.partitions[0]!.metadata ?? ''
  }
  await until(async () => (await known()).startsWith(`${await ended()}@`), 100) // its group knows how far it has come
  await kafka.stopBroker(0, 'SIGKILL')
  await kafka.startBroker(1)

  await t.test('stands still in that partition, and says why, and what to do', async t => {
    const standing = async () => {
      const { body } = await request(node, '/v1/lag')
      return body?.followers?.find(({ follower }: any) => follower === 'users')?.standing ?? []
    }
    await until(async () => JSON.stringify(await standing()).includes('cut back'), 200)
    const reason = /ledger\/0 was cut back.*stands still until.*docs\/operations\.md/
    t.match(await standing(), [{ partition: 0, reason }])
    const { body: { troubles } } = await request(node, '/v1/health')
    t.ok(troubles.some(({ condition }: any) => condition === 'cut-back'))
  })

  await t.test('goes on after what docs/operations.md says, with all that the ledger has', async t => {
    await node.kill('SIGTERM')
    const redis = new Redis(url)
    await redis.flushall()
    redis.disconnect()
    const made = ['states', 'uplinks', 'presence', 'receipts', 'offline', 'connections']
    await admin.deleteTopics({ topics: made.map(name => `${prefix}.${name}`) })
    const again = await start()
    await until(async () => await published(again) === kept, 100)
    const laptop = client('laptop')
    await laptop.open(again)
    await sends(laptop, 30)
    t.strictSame([...laptop.acked.values()].filter(userSeq => userSeq !== 0)[0], kept + 1, 'numbers go on from the ledger')
    const total = kept + laptop.acked.size
    await until(async () => await published(again) === total, 100)
    t.strictSame(laptop.complaints, [])
    const pushed = await request(again, '/v1/downlinks', { to: { userIds: ['ann'] }, messageId: 'm', payload: 'm' })
    t.equal(pushed.status, 202)
    await until(() => laptop.seen.length === 1)
    await until(async () => (await request(again, '/v1/health')).body.troubles.length === 0, 200)
    const { body: { followers } } = await request(again, '/v1/lag')
    t.strictSame(followers.flatMap(({ standing }: any) => standing), [])
    await laptop.leave()
    await auditOfTopics(t, kafka.brokers, prefix)
  })
})
