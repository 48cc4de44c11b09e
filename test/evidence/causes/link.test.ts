import t from 'tap'
import { openKafkaLog } from '../../../ledger/kafka/open.js'
import { streams } from '../../../ledger/streams.js'
import { kafkaMissing, startKafka } from '../../cluster/kafka.js'
import { redisMissing, startRedis } from '../../cluster/redis.js'
import { startProcess } from '../../faults/node-process.js'
import type { Speaker } from '../../gateway/edge/dialects.js'
import { jwtSecret, TestNode } from '../../gateway/node.js'
import { judgeSettled, Place } from './met.js'
import { confusionTable, type Judged } from './planted.js'

const users = 8
const missing = kafkaMissing() ?? redisMissing() ?? false

t.test('A trace names what a link between nodes has lost', { skip: missing, timeout: 450_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const topicPrefix = `link-${process.pid}`
  const env = {
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: topicPrefix,
    LEDGERLINE_PARTITIONS: '2',
    LEDGERLINE_JWT_SECRET: jwtSecret,
    LEDGERLINE_API_KEYS: 'the-key-of-a-test-node',
  }
  const start = async (nodeId: string, roles: string) => {
    const named = { ...env, LEDGERLINE_NODE_ID: nodeId, LEDGERLINE_ROLES: roles }
    const running = await startProcess(t, t.testdirName, named)
    return new TestNode({ ...running, stop: async () => { await running.kill('SIGKILL') } }, [])
  }
  const [edge, other] = await Promise.all([start('edge', 'edge'), start('other', 'users,push,projections,ip-config')])
  const log = await openKafkaLog({
    brokers: kafka.brokers,
    topicPrefix,
    clientId: 'trace',
    streams: streams.map(stream => ({ stream, partitions: 0 })),
    readOnly: true,
    failed () {},
  })
  t.teardown(() => log.close())

  const judged: Judged[] = []
  const clients: Speaker[] = []
  const userIds = Array.from({ length: users }, (_, i) => `user${i}`)
  const connect = async () => {
    clients.splice(0)
    for (const userId of userIds) {
      const { client } = await new Place(t, edge, '', userId).connect()
      clients.push(client)
    }
  }
  const expect = async (fault: string, expected: string) => {
    const places = userIds.map(userId => new Place(t, edge, fault, userId))
    for (const place of places) place.plantDownlink('m', expected)
    judged.push(...await judgeSettled(log, places.flatMap(({ planted }) => planted)))
  }

  await connect()
  process.kill(redis.pid, 'SIGSTOP')
  await other.request('POST', '/v1/downlinks', { to: { userIds }, messageId: 'm', payload: 'hi' })
  await expect('the link is down', 'not-written')
  for (const client of clients) client.destroy()
  await expect('the link was down until the client left', 'unwritten/disconnected')
  process.kill(redis.pid, 'SIGCONT')
  await connect()
  for (const client of clients) {
    t.match(await client.next(), { op: 'downlink', messageId: 'm' })
    client.send({ op: 'downlinkAck', seq: 1 })
  }
  await expect('the link was down, and the next connection got it', 'acked/disconnected')

  for (const line of confusionTable(judged)) t.comment(line)
  const wrong = judged.filter(({ found, expected }) => found !== expected)
  t.strictSame(wrong, [], 'none is off the diagonal')
})
