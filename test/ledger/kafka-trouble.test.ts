import t, { type Test } from 'tap'
import kafkajs from 'kafkajs'
import { parseAddress } from '../../ledger/kafka/address.js'
import { KafkaWriter } from '../../ledger/kafka/bytes.js'
import { Connection } from '../../ledger/kafka/connection.js'
import type { KafkaLogOptions } from '../../ledger/kafka/log.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import type { Api } from '../../ledger/kafka/wire.js'
import type { Stream } from '../../schemas/streams.js'
import { kafkaMissing, outsideKafka, startKafka } from '../cluster/kafka.js'
import { lastingConditions } from '../lasting.js'
import { collect, collector, note, noteStream, until, type Note } from './log-contract.js'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs
const everybody = { principal: 'User:ANONYMOUS', host: '*' }

t.setTimeout(450_000)

t.test('a Kafka that somebody else runs', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t, {
    properties: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'allow.everyone.if.no.acl.found': 'true',
      'min.insync.replicas': '1',
    },
  })
  const admin = outsideKafka(brokers).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())

  async function open (t: Test, streams: ReadonlyArray<Stream<Note>>, options: Partial<KafkaLogOptions> = {}) {
    const { lasting, health } = lastingConditions()
    const log = await openKafkaLog({
      brokers,
      topicPrefix: 'test',
      clientId: 'test',
      streams: streams.map(stream => ({ stream, partitions: 2 })),
      slowMs: 200,
      health,
      failed: (what, err) => { t.comment(what, err.message) },
      ...options,
    })
    t.teardown(() => log.close())
    return { log, lasting }
  }

  async function create (stream: Stream<Note>, settings: Record<string, string>, numPartitions = 2) {
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    await admin.createTopics({
      waitForLeaders: false, timeout: 60_000, topics: [{ topic: `test.${stream.name}`, numPartitions, configEntries }],
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
    for (const end = Date.now() + 120_000; !error && Date.now() < end;) {
      await log.append(denied, 0, [note('before')]).catch(err => { error = err })
    }
    t.match(error, { code: 'ledger-unavailable', message: /TOPIC_AUTHORIZATION_FAILED: grant READ, WRITE, DESCRIBE/ })
    await t.rejects(log.append(denied, 0, [note('denied')]), { message: /TOPIC_AUTHORIZATION_FAILED/ })
    // The append, and the look at the topic.
    const both = [`refused test.${denied.name}/0`, `refused test.${denied.name}`]
    t.ok(lasting.has(both[0]!) && [...lasting.keys()].every(key => both.includes(key)))
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
    t.match([...lasting.keys()], [`topics test.${stream.name}`, `refused test.${stream.name}/0`], 'from the start on')
    t.match([...lasting.values()], [/cleanup.policy=compact\. Compaction keeps .* Type: kafka-configs --alter/])
    t.match(log.standing(), [{ stream: stream.name, partition: 0, group: undefined, reason: /INVALID_RECORD/ }])
    await admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: `test.${stream.name}`, configEntries: [{ name: 'cleanup.policy', value: 'delete' }] }],
    })
    let isStored = false
    await until(() => {
      log.append(stream, 0, [note('b')]).then(() => { isStored = true }, () => {})
      return isStored && lasting.size === 0
    })
  })

  await t.test('with a quota is left alone for as long as it asks for: each append is sent once, on one connection', async t => {
    const stream = noteStream()
    const { log, lasting } = await open(t, [stream], { clientId: 'held', sendDeadlineMs: 10_000 })
    await log.append(stream, 0, [note('first')])
    await setProducerQuota(brokers[0]!, 'held', 20_000)
    // Twenty-five times what it may append in a second: the broker wants to be left alone for longer than the deadline.
    const long = 'x'.repeat(500_000)
    const isHeld = () => [...lasting.values()].some(reason => /for \d{5,} ms/.test(reason))
    const sent: string[] = []
    while (!isHeld() && sent.length < 200) { // the quota reaches the broker in its own time
      sent.push(`${sent.length} ${long}`)
      await log.append(stream, 0, [note(sent.at(-1)!)])
    }
    t.match([...lasting.keys()], ['throttled appends, broker 1'], 'which is told')
    t.match([...lasting.values()], [/^broker 1 wants no append for \d{5,} ms$/], 'longer than the deadline of a send')
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
    t.match(log.standing().map(({ stream, group }) => [stream, group]), [[denied.name, 'group']])
    await log.append(granted, 0, [note('read')])
    await until(() => other.texts().length === 1)
    await log.append(denied, 0, [note('later')])
    await admin.deleteAcls({ filters: [deny] })
    await until(() => follower.texts().length === 1)
    await until(() => ![...lasting.keys()].some(key => key.startsWith('refused')))
  })
})

t.test('topics that somebody else changes', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)
  const admin = outsideKafka(brokers).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())

  async function open (t: Test, streams: KafkaLogOptions['streams']) {
    const { lasting, health } = lastingConditions()
    const log = await openKafkaLog({
      brokers,
      topicPrefix: 'test',
      clientId: 'test',
      streams,
      slowMs: 200,
      health,
      failed: (what, err) => { t.comment(what, err.message) },
    })
    t.teardown(() => log.close())
    return { log, lasting }
  }

  await t.test('and create anew are noticed: nothing is read from the other one, or acked in it', async t => {
    const stream = noteStream()
    const topic = `test.${stream.name}`
    const { log, lasting } = await open(t, [{ stream, partitions: 1 }])
    for (const text of ['a', 'b', 'c']) await log.append(stream, 0, [note(text)])
    const follower = collector()
    await log.follow(stream, 'group', follower)
    await until(() => follower.texts().length === 3)
    await admin.deleteTopics({ topics: [topic] })
    for (let isThere = true; isThere;) isThere = (await admin.listTopics()).includes(topic)
    await admin.createTopics({ waitForLeaders: false, timeout: 60_000, topics: [{ topic, numPartitions: 1 }] })
    const outcomes: unknown[] = []
    await until(() => {
      log.append(stream, 0, [note('other')]).then(position => outcomes.push(position), err => outcomes.push(err.message))
      return !log.health().ok
    })
    t.match(log.health().reason, /was deleted and created anew while this node was running/)
    await until(() => lasting.has(`refused ${topic}/0`))
    await t.rejects(log.append(stream, 0, [note('after')]), { message: /created anew/ })
    await t.rejects(log.bounds(stream, 0), { message: /created anew/ }, 'at once')
    t.notOk(outcomes.some(outcome => typeof outcome !== 'string'), 'none was acked')
    t.strictSame(follower.texts(), ['a', 'b', 'c'])
  })

  await t.test('and let grow go on by the partitions that they had, and are told of', async t => {
    const stream = noteStream()
    const topic = `test.${stream.name}`
    const { log, lasting } = await open(t, [{ stream, partitions: 2 }])
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    await until(() => lasting.has(`topics ${topic}`))
    t.match(lasting.get(`topics ${topic}`), /grew from 2 to 5 partitions/)
    t.equal(log.partitions(stream), 2)
    t.strictSame(log.topics().map(({ partitions }) => partitions), [5])
    t.match(await log.append(stream, 1, [note('a')]), { partition: 1 })
  })

  await t.test('and let take 1 MB only get batches of that size, without one that is refused', async t => {
    const stream = noteStream()
    const topic = `test.${stream.name}`
    const configEntries = [{ name: 'max.message.bytes', value: '1000012' }]
    const topics = [{ topic, numPartitions: 1, configEntries }]
    await admin.createTopics({ waitForLeaders: false, timeout: 60_000, topics })
    const { log } = await open(t, [{ stream, partitions: 1 }])
    const texts = Array.from({ length: 80 }, (_, i) => `${i} ${'ä'.repeat(30_000)}`)
    await Promise.all(texts.map(text => log.append(stream, 0, [note(text)])))
    const whole = Array.from({ length: 60 }, (_, i) => note(`all ${i} ${'ä'.repeat(30_000)}`))
    const { offset } = await log.append(stream, 0, whole, { derivedFrom: 9n })
    t.strictSame(await collect(log.read(stream, 0, { from: 0n })), [...texts, ...whole.map(({ text }) => text)])
    t.ok(offset > 0n)
    t.equal(await log.derivedFrom(stream, 0), 9n)
    await t.rejects(log.append(stream, 0, [note('x'.repeat(1_100_000))]), { code: 'payload-too-large', message: /1000012/ })
    await t.resolves(log.append(stream, 0, [note('next')]))
  })

  await t.test('and let take less than an append cut it, and tell of an item that is larger', async t => {
    const stream = noteStream()
    const topic = `test.${stream.name}`
    const configEntries = [{ name: 'max.message.bytes', value: '50000' }]
    const topics = [{ topic, numPartitions: 1, configEntries }]
    await admin.createTopics({ waitForLeaders: false, timeout: 60_000, topics })
    const { log, lasting } = await open(t, [{ stream, partitions: 1 }])
    const items = Array.from({ length: 20 }, (_, i) => note(`${i} ${'x'.repeat(9_000)}`))
    await log.append(stream, 0, items)
    t.strictSame(await collect(log.read(stream, 0, { from: 0n })), items.map(({ text }) => text))
    const mixed = [note('first'), note('x'.repeat(60_000)), note('last')]
    await t.rejects(log.append(stream, 0, mixed, { derivedFrom: 5n }), { code: 'payload-too-large' })
    t.equal(await log.derivedFrom(stream, 0), -1n, 'nothing says that all of it is there')
    await until(() => lasting.has(`topics ${topic}`))
    t.match(lasting.get(`topics ${topic}`), /takes 50000 bytes.*--add-config max.message.bytes=/)
    await admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: topic, configEntries: [{ name: 'max.message.bytes', value: '200000' }] }],
    })
    await until(() => !lasting.has(`topics ${topic}`))
    await t.resolves(log.append(stream, 0, mixed))
  })
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
  const connection = await Connection.open(parseAddress(broker), { clientId: 'test' }, 60_000)
  await connection.send(alterClientQuotas, undefined, 60_000)
  connection.destroy(new Error('done'))
}
