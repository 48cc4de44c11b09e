import { Kafka, logLevel } from 'kafkajs'
import t, { type Test } from 'tap'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { rejectedStream } from '../../ledger/rejected.js'
import { fingerprintOf, headerBytes, writeHeader } from '../../schemas/single-object.js'
import { connections, downlinks, ledger, nodes, type RecordStream, uplinks } from '../../schemas/streams.js'
import { missing, TestCluster } from './cluster.js'
import { until } from './node-process.js'

/** A single-object header that names the schema of one block of the ledger, and Avro that claims 2^32 items. */
const blockHeader = Buffer.from(ledger.encodeBlock([]).subarray(0, 10))
const bomb = Buffer.from('feffffff0f00', 'hex')

const poison: Record<string, (header: Buffer) => Buffer> = {
  'bad magic': () => Buffer.from('this is not Avro'),
  'an unknown schema': () => Buffer.concat([Buffer.from('c301', 'hex'), Buffer.alloc(8, 7), Buffer.from('00', 'hex')]),
  'a truncated record': header => header,
  'an array bomb': header => Buffer.concat([header, bomb]),
  'a negative count': header => Buffer.concat([header, Buffer.from('01ffffffffffffffffff01', 'hex')]),
  'nothing at all': () => Buffer.alloc(0),
}

t.test('A cluster whose topics are poisoned', { skip: missing, timeout: 600_000 }, async t => {
  const cluster = await TestCluster.start(t)
  const producer = new Kafka({ brokers: cluster.kafka.brokers, logLevel: logLevel.NOTHING }).producer()
  await producer.connect()
  t.teardown(() => producer.disconnect())
  const kinds = Object.entries(poison)

  for (const stream of [ledger, uplinks, nodes, downlinks, connections] as Array<RecordStream<any>>) {
    await t.test(`goes on after ${kinds.map(([kind]) => kind).join(', ')} in ${stream.name}`, async t => {
      const header = stream.blocks ? blockHeader : headerOf(stream)
      const messages = kinds.flatMap(([, make]) =>
        Array.from({ length: partitionsOf(stream) }, (_, partition) => ({ partition, value: make(header) })))
      await producer.send({ topic: `${cluster.prefix}.${stream.name}`, messages })
      await cluster.heals(t)
      await cluster.judge(t)
    })
  }

  await t.test('has kept what it could not read, with where it stood and why', async t => {
    const log = await openLog(t, cluster)
    for (const stream of [ledger, nodes, downlinks]) {
      const reasons = new Map<string, string>()
      await until(async () => {
        for (let partition = 0; partition < log.partitions(rejectedStream(stream)); partition++) {
          for await (const { items } of log.read(rejectedStream(stream), partition, { from: 0n })) {
            for (const { reason } of items) reasons.set(reason.split(':')[0]!, reason)
          }
        }
        return reasons.size >= partitionsOf(stream) * kinds.length
      }, 100)
      const [first] = reasons.values()
      t.equal(reasons.size, partitionsOf(stream) * kinds.length, `${stream.name}: one for each place, ${first}`)
    }
  })

  await cluster.audit(t)
})

/** As the cluster has created them. */
function partitionsOf (stream: RecordStream<any>): number { return stream === nodes ? 1 : 8 }

function headerOf (stream: RecordStream<any>): Buffer {
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(stream.schema), header, 0)
  return header
}

async function openLog (t: Test, { kafka: { brokers }, prefix }: TestCluster) {
  const log = await openKafkaLog({
    brokers,
    topicPrefix: prefix,
    clientId: 'judge',
    streams: [ledger, nodes, downlinks].map(stream => ({ stream, partitions: 8 })),
    failed: () => {},
  })
  t.teardown(() => log.close())
  return log
}
