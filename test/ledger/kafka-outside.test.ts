import t, { type Test } from 'tap'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { CompressionTypes } from 'kafkajs'
import { singleObjectFormat, traceparentOf } from '../../ledger/kafka/format.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { rejectedStream } from '../../ledger/rejected.js'
import { headerBytes } from '../../schemas/single-object.js'
import { uplinks, type RecordStream } from '../../schemas/streams.js'
import { kafkaMissing, outsideKafka, startKafka } from '../cluster/kafka.js'
import { accepted as acceptedUplink } from './accepted.js'
import { until } from './log-contract.js'

const topic = 'test.uplinks'

const accepted = (userSeq: number) => acceptedUplink(userSeq, `hello ${userSeq}`)

async function read<T> (log: Awaited<ReturnType<typeof openKafkaLog>>, stream: RecordStream<T>): Promise<T[]> {
  const items: T[] = []
  for await (const block of log.read(stream, 0, { from: 0n })) items.push(...block.items)
  return items
}

t.test('a public stream in Kafka', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)
  const outside = outsideKafka(brokers)
  const rejections: string[] = []

  async function open (t: Test) {
    const log = await openKafkaLog({
      brokers,
      topicPrefix: 'test',
      clientId: 'test',
      streams: [{ stream: uplinks, partitions: 1 }],
      onRejected: ({ partition, offset, reason }) => rejections.push(`${partition}@${offset}: ${reason}`),
      failed: (what, err) => t.comment(what, err.message),
    })
    t.teardown(() => log.close())
    return log
  }

  await t.test('has records with key, content type, message id and trace, as any Kafka tool expects', async t => {
    const log = await open(t)
    const { offset } = await log.append(uplinks, 0, [accepted(1), accepted(2)], { derivedFrom: 7n })
    t.equal(offset, 0n)
    const consumer = outside.consumer({ groupId: 'outside' })
    t.teardown(() => consumer.disconnect())
    await consumer.subscribe({ topic, fromBeginning: true })
    const seen: any[] = []
    await consumer.run({
      eachMessage: async ({ message: { key, value, headers, offset } }) => {
        const text = Object.fromEntries(Object.entries(headers!).map(([name, header]) => [name, `${header as Buffer}`]))
        seen.push({ key: `${key}`, offset, headers: text, item: singleObjectFormat.decode(uplinks, value!) })
      },
    })
    await until(() => seen.length === 2)
    const headersOf = (id: string) =>
      ({ 'content-type': 'avro/single-object', 'message-id': id, traceparent: traceparentOf(id) })
    t.match(traceparentOf('ada/1'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    t.match(seen, [
      { key: 'ada', offset: '0', headers: headersOf('ada/1'), item: { userSeq: 1 } },
      { key: 'ada', offset: '1', headers: { ...headersOf('ada/2'), 'derived-from': '7' }, item: { userSeq: 2 } },
    ])
    t.notHas(seen[0].headers, 'derived-from', 'which only the last record of an append has')
  })

  await t.test('goes on after a record that nobody can read, and keeps it with the reason', async t => {
    const log = await open(t)
    const received: number[] = []
    await log.follow(uplinks, 'readers', {
      assigned: async () => 0n,
      received: ({ items }) => { for (const { userSeq } of items) received.push(userSeq) },
      revoked: async () => {},
    })
    const producer = outside.producer()
    await producer.connect()
    t.teardown(() => producer.disconnect())
    const good = Buffer.from(singleObjectFormat.encode(uplinks, accepted(3)))
    const short = good.subarray(0, headerBytes + 3)
    const foreign = Buffer.from(good)
    foreign.fill(1, 2, headerBytes)
    await producer.send({
      topic,
      compression: CompressionTypes.GZIP,
      messages: [{ value: 'poison' }, { value: short }, { value: foreign }, { value: null }, { key: 'ada', value: good }],
    })
    await until(() => received.includes(3))
    t.strictSame(received, [1, 2, 3])
    t.strictSame((await read(log, uplinks)).map(({ userSeq }) => userSeq), [1, 2, 3], 'readers skip it as well')
    t.strictSame(rejections, [
      '0@2: does not start with an Avro single-object header',
      '0@3: length 3 of 2 bytes',
      '0@4: schema 0101010101010101 is not registered',
      '0@5: has no value',
    ], 'once')
    t.equal(log.setAside.count, 4)
    const stream = rejectedStream(uplinks) as ReturnType<typeof rejectedStream> & RecordStream<any>
    await until(() => log.metrics.pendingBytes === 0)
    const rejected = await read(log, stream)
    t.strictSame(rejected.map(({ reason }) => reason), rejections)
    t.strictSame(rejected.map(({ code, command }) => [code, `${Buffer.from(command)}`])[0], ['bad-record', 'poison'])
  })
})

t.test('opening', async t => {
  await t.test('is refused in words when the broker speaks other versions', async t => {
    const server = createServer(socket => socket.once('data', (request: Buffer) => {
      const answer = Buffer.from('0000001600000000000000000002' + '000000030008' + '000100040008', 'hex')
      request.copy(answer, 4, 8, 12)
      socket.write(answer)
    })).listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    const broker = `127.0.0.1:${(server.address() as AddressInfo).port}`
    await t.rejects(openKafkaLog({ brokers: [broker], topicPrefix: 'test', clientId: 'test', streams: [], failed: () => {} }), {
      message: `Kafka broker ${broker}: got versions 4 to 8 of Fetch, want 11; Kafka 2.4 or later speaks it`,
    })
  })

  await t.test('names the brokers when none of them answers', async t => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const broker = `127.0.0.1:${(server.address() as AddressInfo).port}`
    server.close()
    await once(server, 'close')
    await t.rejects(openKafkaLog({ brokers: [broker], topicPrefix: 'test', clientId: 'test', streams: [], failed: () => {} }), {
      message: new RegExp(`no broker of ${broker} answered within 10 s: .*ECONNREFUSED`),
    })
  })

  await t.test('is refused when a broker is not HOST:PORT', async t => {
    await t.rejects(openKafkaLog({ brokers: ['kafka'], topicPrefix: 'test', clientId: 'test', streams: [], failed: () => {} }), {
      message: 'Kafka broker: got "kafka", want HOST:PORT',
    })
  })
})
