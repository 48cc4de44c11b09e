import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CompressionTypes } from 'kafkajs'
import { parseAddress } from '../../ledger/kafka/address.js'
import { Connection } from '../../ledger/kafka/connection.js'
import { singleObjectFormat } from '../../ledger/kafka/format.js'
import type { KafkaLog } from '../../ledger/kafka/log.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { fetch } from '../../ledger/kafka/record-apis.js'
import { rejectedStream } from '../../ledger/rejected.js'
import { uplinks, type RecordStream } from '../../schemas/streams.js'
import { createTopics, kafkaMissing, outsideKafka, startKafka } from '../cluster/kafka.js'
import { findExecutable } from '../cluster/server-process.js'
import { accepted as acceptedUplink } from './accepted.js'
import { until } from './log-contract.js'

const run = promisify(execFile)
const codecs = ['gzip', 'snappy', 'lz4', 'zstd']
const kcatMissing = findExecutable('kcat') === undefined ? 'needs kcat: apt-get install kcat' : false

const accepted = (userSeq: number) => acceptedUplink(userSeq, `hello ${userSeq} `.repeat(100))

const recordOf = (userSeq: number) => Buffer.from(singleObjectFormat.encode(uplinks, accepted(userSeq)))
const ten = Array.from({ length: 10 }, (_, i) => i + 1)

async function read<T> (log: KafkaLog, stream: RecordStream<T>): Promise<T[]> {
  const items: T[] = []
  for await (const block of log.read(stream, 0, { from: 0n })) items.push(...block.items)
  return items
}

async function userSeqsIn (log: KafkaLog): Promise<number[]> {
  return (await read(log, uplinks)).map(({ userSeq }) => userSeq)
}

/** What a follower is given, as it comes. */
async function followed (log: KafkaLog): Promise<number[]> {
  const userSeqs: number[] = []
  await log.follow(uplinks, 'readers', {
    assigned: async () => 0n,
    received: ({ items }) => { for (const { userSeq } of items) userSeqs.push(userSeq) },
    revoked: async () => {},
  })
  return userSeqs
}

t.test('what others write to Kafka', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers, directories } = await startKafka(t)
  const [broker] = brokers as [string]
  const outside = outsideKafka(brokers)
  const admin = outside.admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())

  /** A log of its own for a test, with topics that others created. */
  async function given (t: Test, topicPrefix: string, compression = 'producer') {
    const configEntries = [{ name: 'compression.type', value: compression }]
    await createTopics(admin, [{ topic: `${topicPrefix}.uplinks`, numPartitions: 1, configEntries }])
    const rejections: string[] = []
    const log = await openKafkaLog({
      brokers,
      topicPrefix,
      clientId: 'test',
      streams: [{ stream: uplinks, partitions: 1 }],
      onRejected: ({ partition, offset, reason }) => rejections.push(`${partition}@${offset}: ${reason}`),
      failed: (what, err) => t.comment(what, err.message),
    })
    t.teardown(() => log.close())
    return { log, rejections, topic: `${topicPrefix}.uplinks` }
  }

  /** The codec that the attributes of the first batch name. */
  async function codecIn (topic: string): Promise<string | undefined> {
    const connection = await Connection.open(parseAddress(broker), { clientId: 'test' }, 60_000)
    const from = [{ topic, partition: 0, offset: 0n, bytesMax: 1 << 20, leaderEpoch: -1 }]
    const { partitions: [answer] } = await connection.send(fetch, { waitMs: 0, bytesMax: 1 << 20, from }, 60_000)
    connection.destroy(new Error('done'))
    return ['none', ...codecs][answer!.batches[22]! & 7]
  }

  for (const codec of codecs) {
    await t.test(`is read where the broker, a Java program, compresses it with ${codec}`, async t => {
      const { log, rejections, topic } = await given(t, `java-${codec}`, codec)
      const received = await followed(log)
      await log.append(uplinks, 0, ten.map(accepted))
      t.equal(await codecIn(topic), codec)
      await until(() => received.length === 10)
      t.strictSame(received, ten)
      t.strictSame(await userSeqsIn(log), ten)
      t.strictSame(rejections, [])
    })

    await t.test(`is read where librdkafka compresses it with ${codec}`, { skip: kcatMissing }, async t => {
      const { log, rejections, topic } = await given(t, `c-${codec}`)
      const received = await followed(log)
      const directory = t.testdir()
      const files = ten.map(userSeq => join(directory, `${userSeq}`))
      await Promise.all(files.map((file, i) => writeFile(file, recordOf(i + 1))))
      await run('kcat', ['-P', '-b', broker, '-t', topic, '-k', 'ada', '-z', codec, '-X', 'linger.ms=200', ...files])
      t.equal(await codecIn(topic), codec)
      await until(() => received.length === 10)
      t.strictSame(received, ten)
      t.strictSame(await userSeqsIn(log), ten)
      t.strictSame(rejections, [])
    })
  }

  await t.test('is read where kafkajs compresses it', async t => {
    const { log, topic } = await given(t, 'kafkajs')
    const producer = outside.producer()
    await producer.connect()
    t.teardown(() => producer.disconnect())
    const messages = ten.map(userSeq => ({ key: 'ada', value: recordOf(userSeq) }))
    await producer.send({ topic, compression: CompressionTypes.GZIP, messages })
    t.equal(await codecIn(topic), 'gzip')
    t.strictSame(await userSeqsIn(log), ten)
  })

  await t.test('is set aside where it would become too large, and what is behind it is read', async t => {
    const { log, rejections, topic } = await given(t, 'bomb')
    const received = await followed(log)
    const producer = outside.producer()
    await producer.connect()
    t.teardown(() => producer.disconnect())
    const zeros = Buffer.alloc(40 << 20)
    await producer.send({ topic, compression: CompressionTypes.GZIP, messages: [{ key: 'ada', value: zeros }] })
    await producer.send({ topic, messages: [{ key: 'ada', value: recordOf(1) }] })
    await until(() => received.length === 1)
    t.strictSame(await userSeqsIn(log), [1])
    t.strictSame(rejections, ['0@0: compression gzip: becomes more than 32 MiB'], 'once')
    await until(() => log.metrics.pendingBytes === 0)
    const rejected = await read(log, rejectedStream(uplinks) as RecordStream<any>)
    t.match(rejected, [{ code: 'bad-record', reason: rejections[0] }])
  })

  await t.test('is set aside where the disk made another byte of it, and what is behind it is read', async t => {
    const { log, rejections, topic } = await given(t, 'damaged')
    for (const userSeq of [1, 2, 3]) await log.append(uplinks, 0, [accepted(userSeq)])
    const path = join(directories[0]!, `${topic}-0`, '00000000000000000000.log')
    const place = (await readFile(path)).indexOf('hello 2')
    const segment = await open(path, 'r+')
    t.teardown(() => segment.close())
    await segment.write('E', place + 1)
    const received = await followed(log)
    await until(() => received.length === 2)
    t.strictSame(received, [1, 3])
    t.strictSame(await userSeqsIn(log), [1, 3])
    t.equal(rejections.length, 1)
    t.match(rejections[0], /^0@1: its checksum is wrong: got [0-9a-f]{8}, want [0-9a-f]{8}$/)
    await until(() => log.metrics.pendingBytes === 0)
    const [rejected] = await read(log, rejectedStream(uplinks) as RecordStream<any>)
    t.match(rejected, { code: 'bad-record', reason: rejections[0] })
    t.ok(Buffer.from(rejected.command).includes('hEllo 2'), 'as it was found')
  })

  await t.test('in a transaction counts once that is committed, never where it is given up', async t => {
    const { log, rejections, topic } = await given(t, 'transactions')
    const received = await followed(log)
    const producer = outside.producer({ transactionalId: 'orders', idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    t.teardown(() => producer.disconnect())
    const send = async (userSeq: number) => {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: [{ key: 'ada', value: recordOf(userSeq) }] })
      return transaction
    }
    await (await send(1)).commit()
    await (await send(2)).abort()
    await log.append(uplinks, 0, [accepted(3)])
    await (await send(4)).abort()
    await (await send(5)).commit()
    await (await send(6)).abort()
    await until(() => received.length === 3)
    t.strictSame(await userSeqsIn(log), [1, 3, 5])
    const end = (await log.bounds(uplinks, 0)).next
    await until(() => log.lag('readers')[0]!.next === end)
    t.strictSame(log.lag('readers'), [{ stream: 'uplinks', partition: 0, next: end, end }], 'markers are no lag')

    const open = await send(7)
    await log.append(uplinks, 0, [accepted(8)])
    await until(() => log.lag('readers')[0]!.end === end + 2n)
    t.equal(log.lag('readers')[0]!.next, end, 'which one that stays open is')
    t.strictSame(await userSeqsIn(log), [1, 3, 5], 'and a read of what there is ends before it')
    t.strictSame(received, [1, 3, 5])
    await open.abort()
    await until(() => received.length === 4)
    t.strictSame(received, [1, 3, 5, 8])
    t.strictSame(await userSeqsIn(log), [1, 3, 5, 8])
    await until(() => log.lag('readers')[0]!.next === end + 3n)
    t.strictSame(rejections, [])
  })
})
