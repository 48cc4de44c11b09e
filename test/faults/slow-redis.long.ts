import { Redis } from 'ioredis'
import t from 'tap'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { redisMissing, startRedis } from '../cluster/redis.js'
import { auditOfTopics } from './audit.js'
import { BusyClient } from './busy-client.js'
import { request, startProcess, until } from './node-process.js'

/** Longer than a command may take, and shorter than a lease. */
const pauseMs = 3_000
const pauses = 8
const betweenMs = 300

t.test('A node whose Redis answers only now and then', {
  skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 600_000,
}, async t => {
  const [{ brokers }, { url }] = await Promise.all([startKafka(t), startRedis(t)])
  const prefix = `slow-${process.pid}`
  const node = await startProcess(t, t.testdirName, {
    KAFKA_BROKERS: brokers.join(),
    REDIS_URL: url,
    LEDGERLINE_TOPIC_PREFIX: prefix,
    LEDGERLINE_PARTITIONS: '2',
    LEDGERLINE_LEASE_MS: '10000',
  })
  const ann = new BusyClient({ userId: 'ann', deviceId: 'phone', transport: 'tcp', outstanding: 4 })
  t.teardown(() => { ann.stop() })
  await ann.open(node)
  await until(() => ann.acked.size >= 20)
  const { body: { nodes: [before] } } = await request(node, '/v1/nodes')

  const redis = new Redis(url)
  t.teardown(() => { redis.disconnect() })
  const ackedBefore = ann.acked.size
  for (let i = 0; i < pauses; i++) {
    await redis.client('PAUSE', pauseMs, 'ALL')
    await new Promise(resolve => setTimeout(resolve, pauseMs + betweenMs))
  }
  await until(() => ann.acked.size > ackedBefore)
  await until(async () => (await request(node, '/readyz')).status === 200, 100)

  const { body: { nodes: [after] } } = await request(node, '/v1/nodes')
  t.match(after, { nodeId: before.nodeId, epoch: before.epoch, state: 'up', alive: true }, 'stays in its lease')
  t.equal(ann.isOpen, true, 'keeps its connections')
  t.strictSame(ann.complaints, [])
  const told = node.lines.filter(line => line.level >= 40).map(({ msg }) => msg)
  t.ok(node.lines.some(line => line.level >= 40 && /Redis/.test(JSON.stringify(line))), `says why: ${told.join('; ')}`)
  ann.busy = false
  await until(() => ann.unacked === 0)
  t.strictSame([...ann.acked], Array.from(ann.acked, (_, i) => [i + 1, i + 1]), 'loses nothing')
  await ann.leave()
  await auditOfTopics(t, brokers, prefix)
  t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
})
