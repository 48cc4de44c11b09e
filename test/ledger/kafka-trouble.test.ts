import t, { type Test } from 'tap'
import kafkajs, { Kafka, logLevel } from 'kafkajs'
import { parseAddress } from '../../ledger/kafka/address.js'
import { KafkaWriter } from '../../ledger/kafka/bytes.js'
import { Connection } from '../../ledger/kafka/connection.js'
import { openKafkaLog, type KafkaLogOptions } from '../../ledger/kafka/log.js'
import type { Api } from '../../ledger/kafka/wire.js'
import type { Stream } from '../../schemas/streams.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { collect, collector, note, noteStream, until, type Note } from './log-contract.js'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs
const everybody = { principal: 'User:ANONYMOUS', host: '*' }

t.setTimeout(110_000)

t.test('a Kafka that somebody else runs', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t, {
    properties: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'allow.everyone.if.no.acl.found': 'true',
      'min.insync.replicas': '1',
    },
  })
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())

  async function open (t: Test, streams: ReadonlyArray<Stream<Note>>, options: Partial<KafkaLogOptions> = {}) {
    const lasting = new Map<string, string>()
    const log = await openKafkaLog({
      brokers,
      topicPrefix: 'test',
      clientId: 'test',
      streams: streams.map(stream => ({ stream, partitions: 2 })),
      slowMs: 200,
      health: {
        begin: (name, reason, what = '') => { lasting.set(`${name} ${what}`, reason) },
        end: (name, what = '') => { lasting.delete(`${name} ${what}`) },
      },
      failed: (what, err) => { t.comment(what, err.message) },
      ...options,
    })
    t.teardown(() => log.close())
    return { log, lasting }
  }

  async function create (stream: Stream<Note>, settings: Record<string, string>, numPartitions = 2) {
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    await admin.createTopics({
      waitForLeaders: true, topics: [{ topic: `test.${stream.name}`, numPartitions, configEntries }],
    })
  }

  await t.test('and denies to write refuses at once, with what to do, and nothing else; the grant is noticed', async t => {
    const [denied, granted] = [noteStream(), noteStream()]
    const { log, lasting } = await open(t, [denied, granted])
    await log.append(denied, 0, [note('before')])
    const acl = {
      ...everybody,
      resourceType: AclResourceTypes.TOPIC,
      resourceName: `test.${denied.name}`,
      resourcePatternType: ResourcePatternTypes.LITERAL,
    }
    const deny = { ...acl, operation: AclOperationTypes.WRITE, permissionType: AclPermissionTypes.DENY }
    const allow = { ...acl, operation: AclOperationTypes.ALL, permissionType: AclPermissionTypes.ALLOW }
    await admin.createAcls({ acl: [allow, deny] })
    // The broker hears of it a little later.
    let error: Error | undefined
    for (const end = Date.now() + 20_000; !error && Date.now() < end;) {
      await log.append(denied, 0, [note('before')]).catch(err => { error = err })
    }
    t.match(error, { code: 'ledger-unavailable', message: /TOPIC_AUTHORIZATION_FAILED: grant READ, WRITE and DESCRIBE/ })
    await t.rejects(log.append(denied, 0, [note('denied')]), { message: /TOPIC_AUTHORIZATION_FAILED/ })
    t.match([...lasting.keys()], [`refused test.${denied.name}/0`])
    await t.resolves(log.append(granted, 0, [note('granted')]))
    t.ok(log.health().ok, 'it is not the ledger')
    await admin.deleteAcls({ filters: [deny] })
    await until(() => lasting.size === 0)
    await t.resolves(log.append(denied, 0, [note('after')]))
    t.notOk((await collect(log.read(denied, 0, { from: 0n }))).includes('denied'))
  })

  await t.test('with a compacted topic refuses, with the setting to change, and notices the change', async t => {
    const stream = noteStream()
    await create(stream, { 'cleanup.policy': 'compact' })
    const { log, lasting } = await open(t, [stream])
    await t.rejects(log.append(stream, 0, [note('a')]), { message: /INVALID_RECORD: set cleanup\.policy of the topic to delete/ })
    t.match([...lasting.keys()], [`refused test.${stream.name}/0`])
    await admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: `test.${stream.name}`, configEntries: [{ name: 'cleanup.policy', value: 'delete' }] }],
    })
    let isStored = false
    await until(() => {
      log.append(stream, 0, [note('b')]).then(() => { isStored = true }, () => {})
      return isStored
    })
    t.equal(lasting.size, 0)
  })

  await t.test('with a quota is left alone for as long as it asks for: each append is sent once, on one connection', async t => {
    const stream = noteStream()
    const { log, lasting } = await open(t, [stream], { clientId: 'held', sendDeadlineMs: 1_000 })
    await log.append(stream, 0, [note('first')])
    await setProducerQuota(brokers[0]!, 'held', 20_000)
    const long = 'x'.repeat(20_000)
    const sent = Array.from({ length: 15 }, (_, i) => `${i} ${long}`)
    for (const text of sent) await log.append(stream, 0, [note(text)])
    t.match([...lasting.keys()], ['throttled appends, broker 1'], 'which is told')
    t.match([...lasting.values()], [/^broker 1 wants no append for \d{4,} ms$/], 'longer than the deadline of a send')
    const stored = await collect(log.read(stream, 0, { from: 0n }))
    t.strictSame(stored, ['first', ...sent])
    t.notOk([...lasting.keys()].some(name => name.startsWith('appends')), 'nothing was tried again')
  })

  await t.test('that may not be read by a follower is asked slowly; what it may read goes on', async t => {
    const [denied, granted] = [noteStream(), noteStream()]
    const { log, lasting } = await open(t, [denied, granted])
    const [follower, other] = [collector(), collector()]
    await log.follow(denied, 'group', follower)
    await log.follow(granted, 'group', other)
    const acl = {
      ...everybody,
      resourceType: AclResourceTypes.TOPIC,
      resourceName: `test.${denied.name}`,
      resourcePatternType: ResourcePatternTypes.LITERAL,
    }
    const deny = { ...acl, operation: AclOperationTypes.READ, permissionType: AclPermissionTypes.DENY }
    const allow = { ...acl, operation: AclOperationTypes.ALL, permissionType: AclPermissionTypes.ALLOW }
    await admin.createAcls({ acl: [allow, deny] })
    const name = `test.${denied.name}.group.${denied.name}`
    await until(() => [...lasting.keys()].some(key => key.startsWith('refused') && key.includes('fetch of partition')))
    t.match([...lasting.values()].join(), /TOPIC_AUTHORIZATION_FAILED: grant READ/, name)
    await log.append(granted, 0, [note('read')])
    await until(() => other.texts().length === 1)
    await log.append(denied, 0, [note('later')])
    await admin.deleteAcls({ filters: [deny] })
    await until(() => follower.texts().length === 1)
    await until(() => ![...lasting.keys()].some(key => key.startsWith('refused')))
  })
})

t.test('a Kafka that has too few replicas for one topic', { skip: kafkaMissing() ?? false }, async t => {
  const kafka = await startKafka(t, { brokers: 3 })
  const { brokers } = kafka
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const [short, enough] = [noteStream(), noteStream()]
  await admin.createTopics({
    waitForLeaders: true,
    topics: [[short, '3'] as const, [enough, '1'] as const].map(([{ name }, value]) => ({
      topic: `test.${name}`,
      replicaAssignment: [{ partition: 0, replicas: [1, 2, 3] }],
      configEntries: [{ name: 'min.insync.replicas', value }],
    })),
  })
  const lasting = new Map<string, string>()
  const log = await openKafkaLog({
    brokers,
    topicPrefix: 'test',
    clientId: 'test',
    streams: [short, enough].map(stream => ({ stream, partitions: 1 })),
    sendDeadlineMs: 60_000,
    health: {
      begin: (name, reason, what = '') => { lasting.set(`${name} ${what}`, reason) },
      end: (name, what = '') => { lasting.delete(`${name} ${what}`) },
    },
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

/** @param bytes a second that a client with this id may append */
async function setProducerQuota (broker: string, clientId: string, bytes: number): Promise<void> {
  const alterClientQuotas: Api<undefined, Buffer> = {
    name: 'AlterClientQuotas',
    key: 49,
    version: 0,
    encode () {
      const writer = new KafkaWriter()
      writer.int32(1)
      writer.int32(1)
      writer.string('client-id')
      writer.string(clientId)
      writer.int32(1)
      writer.string('producer_byte_rate')
      const value = Buffer.alloc(8)
      value.writeDoubleBE(bytes)
      writer.raw(value)
      writer.int8(0) // it is not removed
      writer.int8(0) // nor only checked
      return writer.finish()
    },
    decode: answer => answer,
  }
  const connection = await Connection.open(parseAddress(broker), { clientId: 'test' }, 5_000)
  await connection.send(alterClientQuotas, undefined, 5_000)
  connection.destroy(new Error('done'))
}
