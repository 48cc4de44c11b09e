import { Kafka, logLevel } from 'kafkajs'
import t from 'tap'
import { readConfig } from '../../../gateway/read-config.js'
import { kafkaFindings } from '../../../gateway/doctor/kafka.js'
import type { Finding } from '../../../gateway/doctor/finding.js'
import { until } from '../../faults/node-process.js'
import { kafkaMissing, startKafka } from '../../cluster/kafka.js'

t.setTimeout(110_000)

t.test('what a node needs of Kafka', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)
  const look = async (prefix: string) => await kafkaFindings(readConfig({
    KAFKA_BROKERS: brokers.join(), REDIS_URL: 'redis://127.0.0.1:6379', LEDGERLINE_TOPIC_PREFIX: prefix,
  }))
  const bad = async (prefix: string) =>
    (await look(prefix)).filter(({ verdict, subject }) => verdict !== 'ok' && subject !== 'brokers')

  await t.test('topics that are not there yet are fine', async t => {
    const findings = await look('absent')
    t.match(findings[0], { area: 'kafka', subject: 'brokers', verdict: 'warning', found: '1', wanted: 'at least 3' })
    t.match(findings.find(({ subject }) => subject === 'absent.ledger'), { verdict: 'ok', found: /not there yet/ })
    t.match(findings.at(-1), { subject: 'groups', verdict: 'ok' })
    t.strictSame(await bad('absent'), [])
  })

  await t.test('topics that somebody made otherwise are told, with what to type', async t => {
    const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    const settings = (of: Record<string, string>) => Object.entries(of).map(([name, value]) => ({ name, value }))
    await admin.createTopics({
      waitForLeaders: false, // which fails where the broker does not know of them yet
      topics: [
        { topic: 'odd.ledger', numPartitions: 4, configEntries: settings({ 'cleanup.policy': 'compact', 'retention.ms': '1000' }) },
        { topic: 'odd.uplinks', numPartitions: 1, configEntries: settings({ 'max.message.bytes': '1000' }) },
        { topic: 'odd.states', numPartitions: 4, configEntries: settings({ 'cleanup.policy': 'delete' }) },
      ],
    })
    await admin.disconnect()
    let told: Finding[] = []
    await until(async () => {
      told = (await bad('odd')).filter(({ wanted }) => wanted !== '3') // replicas, of which one broker has one
      return told.length === 5
    })
    t.match(told, [
      { subject: 'odd.ledger', verdict: 'fatal', found: 'cleanup.policy=compact', wanted: 'cleanup.policy=delete', fix: /odd\.ledger --add-config cleanup\.policy=delete/ },
      { subject: 'odd.ledger', verdict: 'warning', found: 'retention.ms=1000', fix: /odd\.ledger --add-config retention\.ms=-1$/ },
      { subject: 'odd.uplinks', verdict: 'fatal', found: '1 partitions', wanted: '4, as the ledger has' },
      { subject: 'odd.uplinks', verdict: 'warning', found: 'max.message.bytes=1000' },
      { subject: 'odd.states', verdict: 'fatal', found: 'cleanup.policy=delete', wanted: 'cleanup.policy=compact' },
    ])
  })

  await t.test('brokers that do not answer are a finding', async t => {
    const config = readConfig({ KAFKA_BROKERS: '127.0.0.1:1', REDIS_URL: 'redis://127.0.0.1:6379' })
    t.match(await kafkaFindings(config), [{ subject: 'connection', verdict: 'fatal', found: /127\.0\.0\.1:1/ }])
  })
})
