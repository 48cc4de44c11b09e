import t, { type Test } from 'tap'
import type { Cluster } from '../../ledger/kafka/cluster.js'
import { Delivery } from '../../ledger/kafka/delivery.js'
import { Fetcher } from '../../ledger/kafka/fetcher.js'
import { batchWriter, stamp } from '../../ledger/kafka/record-batch.js'
import { TopicBook } from '../../ledger/kafka/topic-book.js'
import { until } from './log-contract.js'

interface Question {
  readonly from: ReadonlyArray<{ topic: string, partition: number, offset: bigint, bytesMax: number }>
}

t.test('a follower of many partitions', async t => {
  await t.test('that is stuck holds a bounded number of bytes, and those of it that are not stuck go on', async t => {
    const { deliveries, release } = following(t, 64, { stuck: partition => partition > 0 })
    const [free, ...stuck] = deliveries
    await until(() => stuck.every(({ queuedBytes }) => queuedBytes > 0))
    const { delivered } = free!
    await until(() => free!.delivered > delivered + 50n)
    const bytes = stuck.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0)
    t.ok(bytes < 48 << 20, `${bytes} bytes wait`)
    t.ok(bytes > 16 << 20)
    release()
    await until(() => stuck.every(({ delivered }) => delivered > 20n))
  })

  await t.test('far behind gives each of them its turn, on each of two brokers in step', async t => {
    const { deliveries } = following(t, 32, { brokers: 2, answered: 1 })
    await until(() => deliveries.some(({ delivered }) => delivered > 40n))
    const least = deliveries.reduce((least, { delivered }) => delivered < least ? delivered : least, 1n << 60n)
    t.ok(least > 20n, `one has come to ${least}, another one to 40`)
  })

  await t.test('asks for one that has an error by a clock of its own, the others go on at full speed', async t => {
    let errorCode = 56
    const sinceMs = performance.now()
    const { deliveries, asked, lasting } = following(t, 8, { errorOf: partition => partition === 3 ? errorCode : 0 })
    const others = deliveries.filter(({ partition }) => partition !== 3)
    await until(() => others.every(({ delivered }) => delivered > 400n))
    const seconds = (performance.now() - sinceMs) / 1_000 // it is asked for every two seconds in the end
    t.ok(asked(3) < 20 + seconds, `asked ${asked(3)} times for it`)
    t.match([...lasting], [['followers test, fetch of partition 3', 'test/3: KAFKA_STORAGE_ERROR']])
    errorCode = 0
    await until(() => deliveries[3]!.delivered > 10n)
    t.equal(lasting.size, 0)
  })

  await t.test('asks slowly for one that it may not read, and says what to do', async t => {
    let errorCode = 29
    const slowMs = 200
    const sinceMs = performance.now()
    const { deliveries, asked, lasting } = following(t, 4, {
      errorOf: partition => partition === 0 ? errorCode : 0, slowMs,
    })
    await until(() => deliveries[1]!.delivered > 200n)
    t.ok(asked(0) < 10 + (performance.now() - sinceMs) / slowMs, `asked ${asked(0)} times`)
    t.match([...lasting], [
      ['refused test, fetch of partition 0', 'fetch of test/0: TOPIC_AUTHORIZATION_FAILED: grant READ'],
    ])
    errorCode = 0
    await until(() => deliveries[0]!.delivered > 10n)
    t.equal(lasting.size, 0)
  })

  await t.test('tells of one that has no leader for as long as it has none', async t => {
    let hasLeader = false
    const { deliveries, lasting, reasonOf } = following(t, 2, { isLed: partition => partition !== 1 || hasLeader })
    await until(() => deliveries[0]!.delivered > 100n && lasting.size > 0)
    t.match([...lasting], [['followers test, fetch of partition 1', 'test/1: has no leader']])
    t.strictSame([reasonOf(0), reasonOf(1)], ['', 'test/1: has no leader'])
    hasLeader = true
    await until(() => deliveries[1]!.delivered > 10n)
    t.equal(lasting.size, 0)
    t.equal(reasonOf(1), '')
  })

  await t.test('goes on in the others while it is looked up where to go on in one', async t => {
    let isPlaced = false
    const { deliveries } = following(t, 4, {
      errorOf: partition => partition === 2 && !isPlaced ? 1 : 0,
      offsets: async () => {
        await until(() => deliveries[0]!.delivered > 100n)
        isPlaced = true
        return 7
      },
    })
    await until(() => deliveries[2]!.delivered > 7n)
  })
})

interface Options {
  /** Stands at its first record until `release`. */
  readonly stuck?: (partition: number) => boolean
  readonly brokers?: number
  /** Partitions that one answer has room for. */
  readonly answered?: number
  readonly errorOf?: (partition: number) => number
  readonly offsets?: () => Promise<number>
  readonly slowMs?: number
  readonly isLed?: (partition: number) => boolean
}

/** Partitions have no end. */
function following (t: Test, partitions: number, options: Options = {}) {
  const { stuck = () => false, brokers = 1, answered = 8, errorOf = () => 0, offsets, slowMs = 10_000 } = options
  const { isLed = () => true } = options
  let release = () => {}
  const released = new Promise<void>(resolve => { release = resolve })
  const topics = new TopicBook()
  const questions = new Map<number, number>()
  const lasting = new Map<string, string>()
  const cluster = {
    topics,
    leaderOf: (_topic: string, partition: number) => isLed(partition) ? partition % brokers : undefined,
    leaderEpochOf: () => 0,
    look: async () => {},
    endLane () {},
    connection: async () => ({
      async send (_api: unknown, { from }: Question) {
        if (!from) {
          const offset = await offsets!()
          return { responses: [{ topic: 'test', partitions: [{ partition: 2, errorCode: 0, offset }] }] }
        }
        await new Promise(resolve => setImmediate(resolve))
        for (const { partition } of from) questions.set(partition, (questions.get(partition) ?? 0) + 1)
        const failing = from.filter(({ partition }) => errorOf(partition) !== 0).map(({ topic, partition }) =>
          ({ topic, partition, errorCode: errorOf(partition), end: -1n, aborted: [], batches: Buffer.alloc(0) }))
        const full = from.filter(({ partition }) => errorOf(partition) === 0).slice(0, answered)
          .map(({ topic, partition, offset, bytesMax }) => {
            const batches = batchAt(offset, options.stuck ? bytesMax : bytesMax >> 4)
            return { topic, partition, errorCode: 0, end: offset + 9n, aborted: [], batches }
          })
        return { throttleMs: 0, partitions: [...failing, ...full] }
      },
    }),
  } as unknown as Cluster
  const fetcher = new Fetcher({
    cluster,
    topic: 'test',
    lane: 'test',
    groupId: 'test',
    health: {
      begin: (name, reason, what) => { lasting.set(`${name} ${what}`, reason) },
      end: (name, what) => { lasting.delete(`${name} ${what}`) },
    },
    slowMs,
    failed: (what, err) => { t.comment(what, err) },
  })
  t.teardown(() => { fetcher.close() })
  const start = { next: 0n, epoch: -1 }
  const deliveries = Array.from({ length: partitions }, (_, partition) => new Delivery<string>(partition, start, {
    follower: {
      async assigned () { return 0n },
      received: () => stuck(partition) ? released : undefined,
      async revoked () {},
    },
    decode: () => ['item'],
    drained: () => { fetcher.wake() },
    rejected: (_offset, _bytes, reason) => { t.fail(reason) },
    parted: ({ at }) => { t.fail(`parted at ${at}`) },
    failed: err => { t.fail(`${err as Error}`) },
  }))
  for (const delivery of deliveries) fetcher.add(delivery)
  return {
    deliveries,
    release,
    lasting,
    asked: (partition: number) => questions.get(partition) ?? 0,
    reasonOf: (partition: number) => fetcher.reasonOf(deliveries[partition]!),
  }
}

function batchAt (offset: bigint, bytes: number): Buffer {
  batchWriter.start()
  for (let i = 0; i < 4; i++) batchWriter.add(i, null, Buffer.alloc(bytes >> 2), [])
  const batch = Buffer.from(batchWriter.finish(4, 1))
  stamp(batch, { producerId: -1n, producerEpoch: -1, sequence: -1 })
  batch.writeBigInt64BE(offset, 0)
  return batch
}
