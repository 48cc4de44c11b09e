import t from 'tap'
import { inspectKafka } from '../../ledger/kafka/inspect.js'
import type { KafkaLogOptions } from '../../ledger/kafka/log.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { createTopics, kafkaMissing, outsideKafka, startKafka } from '../cluster/kafka.js'
import { until } from '../faults/node-process.js'
import { noteStream } from './log-contract.js'

t.test('topics that are not there', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)
  const stream = noteStream()
  const optionsOf = (topicPrefix: string, more: Partial<KafkaLogOptions>): KafkaLogOptions => ({
    brokers,
    topicPrefix,
    clientId: 'one',
    streams: [{ stream, partitions: 3 }],
    changelogs: [{ name: 'states', like: stream }],
    failed: () => {},
    ...more,
  })
  const name = (topicPrefix: string) => `${topicPrefix}.${stream.name}`

  await t.test('are told and not created where they are only to be checked', async t => {
    const options = optionsOf('checked', { topics: { checkOnly: true } })
    await t.rejects(openKafkaLog(options), {
      code: 'misconfigured',
      message: /^Kafka topics are not there, and KAFKA_TOPICS=check .* create checked\.\S+ \(partitions=3\)/,
    })
    const { topics } = await inspectKafka({
      brokers, clientId: 'one', topics: [{ topic: name('checked') }], groups: [], transactionalIds: [], deletedFrom: [],
    })
    t.equal(topics[0]!.error, 'UNKNOWN_TOPIC_OR_PARTITION')

    const admin = outsideKafka(brokers).admin()
    await admin.connect()
    await createTopics(admin, [name('checked'), `${name('checked')}.rejected`].map(topic => ({ topic, numPartitions: 3 })))
    await t.rejects(openKafkaLog(options), /create checked\.states \(partitions=3, cleanup\.policy=compact/)
    await createTopics(admin, [{
      topic: 'checked.states', numPartitions: 3, configEntries: [{ name: 'cleanup.policy', value: 'compact' }],
    }])
    await admin.disconnect()
    const log = await openKafkaLog(options)
    t.equal(log.partitions(stream), 3, 'and opened once somebody has created them')
    await log.close()
  })

  await t.test('are created as they are wanted', async t => {
    const policy = { replicationFactor: 1, minInsyncReplicas: 1, messageBytesMax: 200_000 }
    await (await openKafkaLog(optionsOf('made', { topics: policy }))).close()
    const { topics } = await inspectKafka({
      brokers,
      clientId: 'one',
      topics: [name('made'), 'made.states'].map(topic => ({ topic })),
      groups: [],
      transactionalIds: [],
      deletedFrom: [],
    })
    t.match(topics.map(({ partitions, replicas, settings }) => [
      partitions, replicas, settings.get('max.message.bytes'), settings.get('min.insync.replicas'),
      settings.get('cleanup.policy'),
    ]), [[3, 1, '200000', '1', 'delete'], [3, 1, '200000', '1', 'compact']])
  })

  await t.test('are told where they delete by themselves what must be kept', async t => {
    const id = 'deleting'
    const admin = outsideKafka(brokers).admin()
    await admin.connect()
    t.teardown(() => admin.disconnect())
    const options = optionsOf(id, { streams: [{ stream, partitions: 3, keepsAll: true }] })
    await (await openKafkaLog(options)).close()
    const alter = async (topic: string, name: string, value: string) => await admin.alterConfigs({
      validateOnly: false, resources: [{ type: 2, name: topic, configEntries: [{ name, value }] }],
    })
    await alter(name(id), 'retention.ms', '1000')
    const told: string[] = []
    const health = { begin: (_name: string, reason: string) => { told.push(reason) }, end () {} }
    // The broker hears of a setting a little later.
    await until(async () => {
      await (await openKafkaLog({ ...options, health })).close()
      return told.length > 0
    })
    t.match(told, [/has retention\.ms=1000\. .* Type: kafka-configs .* --add-config retention\.ms=-1$/])
    await alter(`${id}.states`, 'cleanup.policy', 'delete')
    let refusal: Error | undefined
    await until(async () => {
      await openKafkaLog(options).then(log => log.close(), err => { refusal = err })
      return refusal !== undefined
    })
    t.match(refusal, { code: 'misconfigured', message: /cleanup\.policy=delete\. The states of users/ })
  })
})
