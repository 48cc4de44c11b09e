import t from 'tap'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { kafkaMissing, outsideKafka, startKafka } from '../cluster/kafka.js'
import { lastingConditions } from '../lasting.js'
import { note, noteStream, until } from './log-contract.js'

t.setTimeout(450_000)

t.test('a Kafka that has too few replicas for one topic', { skip: kafkaMissing() ?? false }, async t => {
  const kafka = await startKafka(t, { brokers: 3 })
  const { brokers } = kafka
  const admin = outsideKafka(brokers).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const [short, enough] = [noteStream(), noteStream()]
  await admin.createTopics({
    waitForLeaders: false,
    timeout: 60_000,
    topics: [[short, '3'] as const, [enough, '1'] as const].map(([{ name }, value]) => ({
      topic: `test.${name}`,
      replicaAssignment: [{ partition: 0, replicas: [1, 2, 3] }],
      configEntries: [{ name: 'min.insync.replicas', value }],
    })),
  })
  const { lasting, health } = lastingConditions()
  const log = await openKafkaLog({
    brokers,
    topicPrefix: 'test',
    clientId: 'test',
    streams: [short, enough].map(stream => ({ stream, partitions: 1 })),
    sendDeadlineMs: 60_000,
    health,
    failed: (what, err) => { t.comment(what, err.message) },
  })
  t.teardown(() => log.close())
  await log.append(short, 0, [note('first')])
  await kafka.stopBroker(2)
  let isStored = false
  const waiting = log.append(short, 0, [note('late')]).finally(() => { isStored = true })
  await until(() => [...lasting.values()].some(reason => reason.includes('NOT_ENOUGH_REPLICAS')))
  for (let i = 0; i < 50; i++) await log.append(enough, 0, [note(`${i}`)])
  t.equal(isStored, false, 'keeps that one waiting, and none of the others')
  t.match([...lasting.keys()], [`appends test.${short.name}/0`])
  await kafka.startBroker(2)
  await waiting
  await until(() => lasting.size === 0)
})
