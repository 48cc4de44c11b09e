import t from 'tap'
import { createClient } from '../../client/node.js'
import { startProcess } from '../faults/node-process.js'
import { secret, WebhookService } from '../faults/webhook-service.js'
import { until } from '../gateway/node.js'
import { kafkaMissing } from './kafka.js'
import { startCluster } from './nodes.js'
import { redisMissing } from './redis.js'

const each = 100

t.test('A webhook of a cluster', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 300_000 }, async t => {
  const topicPrefix = `webhooks-${process.pid}`
  const cluster = await startCluster(t, topicPrefix)
  const edge = await cluster.start('n1', 'edge,users,push,projections,ip-config')
  const directory = t.testdir({ w1: {}, w2: {} })
  const service = await WebhookService.start(t, directory)
  const start = (nodeId: string) => startProcess(t, `${directory}/${nodeId}`, {
    KAFKA_BROKERS: cluster.kafka.brokers.join(','),
    REDIS_URL: cluster.redis.url,
    LEDGERLINE_TOPIC_PREFIX: topicPrefix,
    LEDGERLINE_NODE_ID: nodeId,
    LEDGERLINE_ROLES: 'webhooks',
    LEDGERLINE_PARTITIONS: '4',
    LEDGERLINE_LEASE_MS: '1500',
    LEDGERLINE_WEBHOOKS: JSON.stringify([{ name: 'crm', url: service.url, secret, streams: ['uplinks'], batch: 5 }]),
  })
  const [w1] = await Promise.all([start('w1'), start('w2')])

  const userIds = Array.from({ length: 12 }, (_, i) => `user ${i}`)
  const clients = await Promise.all(userIds.map(async userId => {
    const token = await edge.token(userId)
    const client = createClient({ endpoints: [`tcp://127.0.0.1:${edge.tcpPort}`], getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    return client.connect()
  }))
  const send = async (count: number) => {
    for (let i = 0; i < count; i++) await Promise.all(clients.map(client => client.send(`hello ${i}`)))
  }
  const count = () => [...service.first().values()].reduce((sum, { length }) => sum + length, 0)
  await send(each / 2)
  await until('some have come', () => count() > 0)
  const rest = send(each / 2)
  await w1.kill('SIGKILL')
  await rest
  await until('all have come, also of the partitions that the dead node had', () => count() >= each * userIds.length)
  const wanted = userIds.map(userId => [userId, Array.from({ length: each }, (_, i) => i + 1)])
  t.strictSame([...service.first()].sort(), wanted.sort(), 'each came, and those of each user in order')
})
