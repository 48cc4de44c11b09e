import { createRequire } from 'node:module'
import t from 'tap'
import { run } from '../cli/given.js'
import { auditOfTopics } from '../faults/audit.js'
import { BusyClient } from '../faults/busy-client.js'
import { apiKey, type NodeProcess, request, startProcess, until } from '../faults/node-process.js'
import { kafkaMissing, outsideKafka, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

// Node finds no names of these in kafkajs.
const { ConfigResourceTypes } = createRequire(import.meta.url)('kafkajs') as typeof import('kafkajs')

t.test('The ledger of a cluster', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 450_000 }, async t => {
  const [{ brokers }, { url }] = await Promise.all([startKafka(t), startRedis(t)])
  const prefix = `kept-${process.pid}`
  const topic = `${prefix}.ledger`
  const env = {
    KAFKA_BROKERS: brokers.join(), REDIS_URL: url, LEDGERLINE_TOPIC_PREFIX: prefix, LEDGERLINE_PARTITIONS: '1',
  }
  const admin = outsideKafka(brokers).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const bounds = async () => {
    const [partition] = await admin.fetchTopicOffsets(topic)
    return { low: Number(partition!.low), high: Number(partition!.high) }
  }
  /** What a batch of saved states may have. */
  const statesTake = async (bytes: number) => {
    const configEntries = [{ name: 'cleanup.policy', value: 'compact' }, { name: 'max.message.bytes', value: `${bytes}` }]
    await admin.alterConfigs({
      validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: `${prefix}.states`, configEntries }],
    })
  }
  const troubles = async (node: NodeProcess): Promise<Array<{ condition: string, reason: string }>> =>
    (await request(node, '/v1/health')).body.troubles
  const retention = async (node: NodeProcess) =>
    (await troubles(node)).find(({ condition }) => condition === 'retention')?.reason

  const node = await startProcess(t, t.testdirName, { ...env, KAFKA_RETENTION_MS: 'ledger=1000,uplinks=86400000' })
  const { resources: [settings] } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms', 'retention.bytes'] }],
  })
  t.strictSame(settings!.configEntries.map(({ configValue }) => configValue), ['-1', '-1'], 'is not deleted from by brokers')

  const ann = new BusyClient({ userId: 'ann', deviceId: 'phone', transport: 'tcp', outstanding: 1, everyMs: 50 })
  t.teardown(() => { ann.stop() })
  await ann.open(node)
  await request(node, '/v1/downlinks', { to: { userIds: ['ann'] }, messageId: 'm1', payload: 'hello' })
  await until(() => ann.seen.length === 1)
  await until(async () => (await bounds()).low > 0, 100)
  t.pass('loses what is old and saved')

  await statesTake(100)
  await until(async () => await retention(node), 100)
  const reason = await retention(node) ?? ''
  t.match(reason, /and not deleted: what is saved of users includes what stands before \d+, and no more since 2/,
    'is held back where states can not be saved, and that is said')
  const saved = Number(/stands before (\d+)/.exec(reason)?.[1])
  await until(async () => (await bounds()).high > saved + 20, 100)
  await until(async () => Number(/^entries before (\d+)/.exec(await retention(node) ?? '')?.[1]) > saved + 10, 100)
  t.equal((await bounds()).low, saved, 'and nothing is deleted that is not saved')

  await statesTake(8 << 20)
  await until(async () => await retention(node) === undefined && (await bounds()).low > saved, 100)
  t.pass('goes on when they can be saved again')

  ann.busy = false
  await until(() => ann.unacked === 0)
  await until(async () => {
    const { low, high } = await bounds()
    return low === high
  }, 100)
  t.pass('may lose all of it')
  t.strictSame((await node.kill('SIGTERM')).code, 0)

  const successor = await startProcess(t, t.testdirName, { ...env, KAFKA_RETENTION_MS: 'ledger=86400000' })
  const acked = ann.acked.size
  await ann.open(successor)
  t.equal(ann.connected?.resumed, true, 'and a session resumes')
  ann.busy = true
  await until(() => ann.acked.size >= acked + 10)
  ann.busy = false
  await until(() => ann.unacked === 0)
  t.strictSame([...ann.acked], Array.from(ann.acked, (_, i) => [i + 1, i + 1]), 'the numbers of a user go on')
  const place = { cwd: t.testdir(), env: { LEDGERLINE_API_KEYS: apiKey } }
  const { stdout } = await run(['trace', 'ann', '--message', 'm1', '--url', successor.http], place)
  t.match(stdout, /begins at .*: retention has deleted what was before/, 'evidence says what is gone')
  await auditOfTopics(t, brokers, prefix)
})
