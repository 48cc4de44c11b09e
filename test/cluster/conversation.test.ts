import t, { type Test } from 'tap'
import { auditOfTopics } from '../faults/audit.js'
import { BusyClient } from '../faults/busy-client.js'
import { apiKey, type NodeProcess, readUplinks, request, startProcess, until } from '../faults/node-process.js'
import { kafkaMissing, startKafka, type TestKafka } from './kafka.js'
import { redisMissing, startRedis, startRedisCluster } from './redis.js'

let prefixes = 0

t.test('Nodes of a cluster', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 450_000 }, async t => {
  const kafka = await startKafka(t)

  await t.test('hold one conversation over one Redis', async t => {
    await converse(t, kafka, (await startRedis(t)).url)
  })

  await t.test('hold one conversation over a Redis Cluster', async t => {
    await converse(t, kafka, (await startRedisCluster(t)).url)
  })
})

/** One node has the sockets and the other one everything else, so that every word crosses between them. */
async function converse (t: Test, kafka: TestKafka, redisUrl: string): Promise<void> {
  const env = {
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redisUrl,
    LEDGERLINE_TOPIC_PREFIX: `conversation-${process.pid}-${++prefixes}`,
    LEDGERLINE_PARTITIONS: '4',
  }
  const start = (nodeId: string, roles: string) =>
    startProcess(t, t.testdirName, { ...env, LEDGERLINE_NODE_ID: nodeId, LEDGERLINE_ROLES: roles })
  const [edge, other] = await Promise.all([start('edge', 'edge'), start('other', 'users,push,projections,ip-config')])

  const client = new BusyClient({ userId: 'ann', deviceId: 'phone', transport: 'tcp', outstanding: 4 })
  t.teardown(() => { client.stop() })
  t.equal(await client.open(edge), true, 'a client is welcomed')
  await until(() => client.acked.size >= 20)
  client.busy = false
  await until(() => client.unacked === 0)
  t.strictSame([...client.acked], Array.from(client.acked, (_, i) => [i + 1, i + 1]), 'its uplinks are acked with userSeqs')
  await until(async () => (await readUplinks(other)).length === client.acked.size, 100)
  t.strictSame((await readUplinks(other)).map(({ seq }) => seq), [...client.acked.keys()], 'and are in the stream')

  const { body } = await push(other, 'ann', { messageId: 'm1' })
  t.match(body.users, [{ userId: 'ann', status: 'queued', position: /^\d@\d+\.0$/ }])
  await until(() => client.seen.length === 1)
  t.strictSame(client.seen, [{ seq: 1, messageId: 'm1' }], 'a downlink crosses to it')
  await until(async () => (await push(other, 'ann', { delivery: 'signal' })).body.users[0].status === 'sent')
  await until(() => client.signals > 0)
  t.pass('so does a signal')

  const presence = await request(other, '/v1/users/ann/presence')
  t.match(presence.body, { online: true, sessions: [{ deviceId: 'phone', nodeId: 'edge' }] })
  const endpoints = async () => (await request(other, '/v1/ip-config?transport=tcp')).body.endpoints
  await until(async () => (await endpoints()).length > 0, 50) // nodes have a stream and a projection of their own
  t.strictSame(await endpoints(), [edge.tcp], 'ip-config names the edge')
  t.equal((await request(edge, '/v1/ip-config?transport=tcp')).status, 404, 'which does not have that role')
  t.equal((await request(edge, '/v1/users/ann/presence')).status, 404)

  client.complaints.length = 0
  const kicked = await fetch(`${other.http}/v1/users/ann/connections`, {
    method: 'DELETE', headers: { authorization: `Bearer ${apiKey}` },
  })
  t.equal(kicked.status, 202, `a kick: ${await kicked.text()}`)
  await until(() => !client.isOpen)
  t.match(client.complaints, [/"op":"kick".*"code":"kicked"/], 'reaches it')
  await auditOfTopics(t, kafka.brokers, env.LEDGERLINE_TOPIC_PREFIX)
  for (const node of [edge, other]) t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null }, 'nodes stop as asked')
}

async function push (node: NodeProcess, userId: string, more: object) {
  return await request(node, '/v1/downlinks', { to: { userIds: [userId] }, payload: 'hello', ...more })
}
