import t from 'tap'
import { createClient } from '../../client/node.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { downlinks } from '../../schemas/streams.js'
import { auditOfTopics } from '../faults/audit.js'
import { type NodeProcess, request, startProcess, tokenFor, until } from '../faults/node-process.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

const missing = kafkaMissing() ?? redisMissing() ?? false

t.test('Downlinks that are taken back in a cluster of processes', { skip: missing, timeout: 400_000 }, async t => {
  const [{ brokers }, { url }] = await Promise.all([startKafka(t), startRedis(t)])
  const prefix = `recall-${process.pid}`
  const start = async (nodeId: string, roles: string) => await startProcess(t, t.testdirName, {
    KAFKA_BROKERS: brokers.join(),
    REDIS_URL: url,
    LEDGERLINE_TOPIC_PREFIX: prefix,
    LEDGERLINE_PARTITIONS: '4',
    LEDGERLINE_NODE_ID: nodeId,
    LEDGERLINE_ROLES: roles,
    LEDGERLINE_LEASE_MS: '3000',
    LEDGERLINE_DRAIN_MS: '0',
    LEDGERLINE_STOP_GRACE_MS: '0',
  })
  const [asked, owner] = await Promise.all([
    start('asked', 'users,push,projections,ip-config'), start('owner', 'users'), start('edge', 'edge'),
  ])
  const users = Array.from({ length: 8 }, (_, i) => `user${i}`)
  const push = async (userId: string, messageId: string, more: object = {}) => {
    const { body } = await request(asked, '/v1/downlinks', { to: { userIds: [userId] }, messageId, payload: messageId, ...more })
    return body.users[0]
  }
  const recall = async (userId: string, messageId: string, more = '') =>
    (await request(asked, `/v1/downlinks/${messageId}?userId=${userId}${more}`, undefined, 'DELETE')).body
  const verdictOf = async (userId: string, messageId: string) =>
    (await request(asked, `/v1/users/${userId}/trace?messageId=${messageId}`)).body.verdict.code
  /** Whoever owns the user's partition may be about to. */
  const told = async (ask: () => Promise<string>, status: string) => {
    await until(async () => await ask() === status, 100)
  }

  async function clientOf (node: NodeProcess, userId: string) {
    const token = await tokenFor(userId)
    const client = createClient({ endpoints: [node.tcp], getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    const heard: string[] = []
    client.on('downlink', ({ messageId }) => { heard.push(messageId) })
    client.on('recall', ({ messageId }) => { heard.push(`recall of ${messageId}`) })
    client.connect()
    await client.ready()
    return heard
  }

  await t.test('are told of by the owners of their users, through a kill -9 of one', async t => {
    for (const userId of users) {
      await push(userId, 'a')
      await told(async () => (await push(userId, 'b', { replaces: 'a' })).replaced, 'recalled')
      await push(userId, 'c')
      await told(async () => (await recall(userId, 'c', '&requestId=r1')).status, 'recalled')
    }
    await owner.kill('SIGKILL')
    for (const userId of users) {
      await told(async () => (await push(userId, 'b', { replaces: 'a' })).replaced, 'recalled')
      await told(async () => (await recall(userId, 'c', '&requestId=r1')).status, 'recalled')
    }
    t.strictSame([await verdictOf('user1', 'a'), await verdictOf('user1', 'c')], ['recalled', 'recalled'])
  })

  await t.test('do not come, and what takes their place does; who may have one is told so', async t => {
    const edge = await start('edge2', 'edge')
    const heard = new Map<string, string[]>()
    for (const userId of users) heard.set(userId, await clientOf(edge, userId))
    await until(() => users.every(userId => heard.get(userId)!.includes('b')), 100)
    for (const userId of users) {
      await told(async () => (await recall(userId, 'b', '&notify=true&requestId=r2')).status, 'ended')
      await push(userId, 'd')
    }
    await until(() => users.every(userId => heard.get(userId)!.includes('d')), 100)
    for (const userId of users) t.strictSame(heard.get(userId), ['b', 'recall of b', 'd'])
  })

  await t.test('may be replaced by commands of the topic', async t => {
    const log = await openKafkaLog({
      brokers: [...brokers], topicPrefix: prefix, clientId: 'test', streams: [{ stream: downlinks, partitions: 0 }], failed: () => {},
    })
    t.teardown(() => log.close())
    const command = {
      userIds: ['away'],
      service: '',
      payload: Buffer.from('x'),
      ttlMs: 60_000,
      delivery: 'durable' as const,
      platforms: [],
      exceptDevices: [],
      devices: [],
      app: '',
      roomId: '',
      receipts: true,
      offlineAfterMs: -1,
    }
    await log.append(downlinks, partitionOf('away', log.partitions(downlinks)), [
      { ...command, messageId: 'e', replaces: '' }, { ...command, messageId: 'f', replaces: 'e' },
    ])
    await until(async () => await verdictOf('away', 'f') === 'waiting', 100)
    t.equal(await verdictOf('away', 'e'), 'recalled')
    const { body } = await request(asked, '/v1/users/away/state')
    t.strictSame(body.waiting.map(({ messageId }: { messageId: string }) => messageId), ['f'])
  })

  await auditOfTopics(t, brokers, prefix)
})
