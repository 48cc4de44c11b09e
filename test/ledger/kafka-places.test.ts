import t, { type Test } from 'tap'
import type { Cluster } from '../../ledger/kafka/cluster.js'
import { CutBack, fetchOnce } from '../../ledger/kafka/fetch-once.js'
import { Fetcher, type FetchTarget } from '../../ledger/kafka/fetcher.js'
import { metadata, offsetForLeaderEpoch } from '../../ledger/kafka/leader-apis.js'
import { formatBeside, parseBeside, type Parting } from '../../ledger/kafka/places.js'
import { fetch } from '../../ledger/kafka/record-apis.js'
import { batchWriter, stamp } from '../../ledger/kafka/record-batch.js'
import { TopicBook } from '../../ledger/kafka/topic-book.js'
import type { Hole } from '../../ledger/log.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { until } from './log-contract.js'

const fenced = 74
const offsetOutOfRange = 1

/** One partition: each record of its log by the epoch of the leader that it was written under. */
class Broker {
  epoch = 1
  first = 0
  log: number[] = []
  readonly asked: string[] = []

  constructor (readonly topics: TopicBook) { this.elect(1) }

  /** As clients learn it from the metadata; the broker itself may be further. */
  learn (): void {
    const partitionMetadata = [{ partitionId: 0, leader: 1, leaderEpoch: this.epoch }]
    this.topics.learn([{ topicErrorCode: 0, topic: 'test', partitionMetadata }])
  }

  elect (epoch: number): void {
    this.epoch = epoch
    this.learn()
  }

  async send ({ name }: { name: string }, question: any): Promise<any> {
    await new Promise(resolve => setImmediate(resolve))
    if (name === 'OffsetForLeaderEpoch') return this.endOf(question)
    if (name === 'ListOffsets') {
      const { timestamp } = question.topics[0].partitions[0]
      const offset = `${timestamp === -2 ? this.first : this.log.length}`
      return { responses: [{ topic: 'test', partitions: [{ partition: 0, errorCode: 0, offset }] }] }
    }
    const { offset, leaderEpoch } = question.from[0]
    return { throttleMs: 0, partitions: [{ topic: 'test', partition: 0, aborted: [], ...this.fetched(Number(offset), leaderEpoch) }] }
  }

  private fetched (offset: number, leaderEpoch: number) {
    const end = BigInt(this.log.length)
    const none = Buffer.alloc(0)
    if (leaderEpoch !== this.epoch) {
      this.learn() // as whoever looks again does
      return { errorCode: fenced, end, batches: none }
    }
    if (offset < this.first || offset > this.log.length) return { errorCode: offsetOutOfRange, end, batches: none }
    return { errorCode: 0, end, batches: offset === this.log.length ? none : batchAt(offset, this.log[offset]!) }
  }

  private endOf ({ leaderEpoch, epoch }: { leaderEpoch: number, epoch: number }) {
    this.asked.push(`${epoch} of ${leaderEpoch}`)
    if (epoch > this.epoch) return { throttleMs: 0, errorCode: 0, epoch: -1, end: -1n }
    const later = this.log.findIndex(of => of > epoch)
    const end = later === -1 ? this.log.length : later
    return { throttleMs: 0, errorCode: 0, epoch: this.log[end - 1] ?? epoch, end: BigInt(end) }
  }
}

function batchAt (offset: number, epoch: number): Buffer {
  batchWriter.start()
  batchWriter.add(0, null, Buffer.from(`${offset} of ${epoch}`), [])
  const batch = batchWriter.finish(1, 1)
  stamp(batch, { producerId: -1n, producerEpoch: -1, sequence: -1 })
  batch.writeBigInt64BE(BigInt(offset), 0)
  batch.writeInt32BE(epoch, 12)
  return batch
}

function given () {
  const topics = new TopicBook()
  topics.know(['test'])
  const broker = new Broker(topics)
  const cluster = {
    topics,
    leaderOf: () => 1,
    leaderEpochOf: (topic: string, partition: number) => topics.leaderEpochOf(topic, partition),
    look: async () => {},
    endLane () {},
    connection: async () => broker,
  } as unknown as Cluster
  return { broker, cluster }
}

function following (t: Test, next = 0n, epoch = -1) {
  const { broker, cluster } = given()
  const seen: string[] = []
  const partings: Parting[] = []
  const holes: Hole[] = []
  const target: FetchTarget = {
    partition: 0,
    next,
    epoch,
    queuedBytes: 0,
    full: false,
    take: ({ records }) => { for (const { value } of records) seen.push(`${value}`) },
    passed: hole => { holes.push(hole) },
    parted: parting => { partings.push(parting) },
  }
  const fetcher = new Fetcher({
    cluster, topic: 'test', lane: 'test', groupId: 'test', health: nobodyWatches, slowMs: 10_000, failed () {},
  })
  t.teardown(() => { fetcher.close() })
  return { broker, seen, partings, holes, start: () => { fetcher.add(target) } }
}

t.test('a follower', async t => {
  await t.test('asks a new leader for what it has read, once, and goes on where that is there', async t => {
    const { broker, seen, partings, start } = following(t)
    broker.log = [1, 1]
    start()
    await until(() => seen.length === 2)
    t.strictSame(broker.asked, [], 'there was nothing to ask for')
    broker.elect(2)
    broker.log = [1, 1, 2]
    await until(() => seen.length === 3)
    broker.epoch = 4 // which it learns by being refused
    broker.log = [1, 1, 2, 4]
    await until(() => seen.length === 4)
    t.strictSame(seen, ['0 of 1', '1 of 1', '2 of 2', '3 of 4'])
    t.strictSame(broker.asked, ['1 of 2', '2 of 4'])
    t.strictSame(partings, [])
  })

  await t.test('is told where the logs part, and is given nothing more, however long the new one is', async t => {
    const { broker, seen, partings, start } = following(t)
    broker.log = [1, 1, 2, 2, 2]
    broker.elect(2)
    start()
    await until(() => seen.length === 5)
    broker.log = [1, 1, 3, 3, 3, 3, 3, 3]
    broker.epoch = 3
    await until(() => partings.length > 0)
    t.strictSame(partings, [{ at: 2n, epoch: 1 }])
    t.equal(seen.length, 5)
  })

  await t.test('that comes back with the place of an earlier time is told at once', async t => {
    const { broker, seen, partings, start } = following(t, 4n, 2)
    broker.log = [1, 1, 3, 3, 3, 3]
    broker.elect(3)
    start()
    await until(() => partings.length > 0)
    t.strictSame([partings, seen], [[{ at: 2n, epoch: 1 }], []])
  })

  await t.test('that does not know under which leader it read is told where the log is shorter', async t => {
    const { broker, partings, start } = following(t, 9n)
    broker.log = [1, 1, 3]
    start()
    await until(() => partings.length > 0)
    t.strictSame(partings, [{ at: 3n, epoch: -1 }])
  })

  await t.test('that has read under a leader of whom this one has not heard is told: it is another topic', async t => {
    const { broker, partings, start } = following(t, 2n, 7)
    broker.log = [1, 1, 1]
    start()
    await until(() => partings.length > 0)
    t.strictSame(partings, [{ at: 0n, epoch: -1 }])
  })

  await t.test('goes on with the first that is kept where retention has passed it', async t => {
    const { broker, seen, partings, holes, start } = following(t, 1n)
    broker.log = [1, 1, 1, 1]
    broker.first = 2
    start()
    await until(() => seen.length === 2)
    t.strictSame([seen, partings, holes], [['2 of 1', '3 of 1'], [], [{ from: 1n, to: 2n }]])
  })
})

t.test('a read', async t => {
  const { broker, cluster } = given()
  broker.log = [1, 1, 3, 3, 3]
  broker.elect(3)
  const once = (next: bigint, epoch: number, leaderEpoch: number) =>
    fetchOnce(cluster, 'reads', 'test', 0, { next, epoch }, leaderEpoch, 0)

  await t.test('ends in words where what it has read is gone', async t => {
    await t.rejects(once(4n, 2, 2), new CutBack('test/0 was cut back: what was read from offset 2 to 3 is gone, and other ' +
      'entries take its place (an election of a leader that did not have it, or a topic that was created anew)'))
  })

  await t.test('goes on where that is there, or where it has read nothing yet', async t => {
    t.match(await once(2n, 2, 2), { next: 3n, epoch: 3, leaderEpoch: 3, records: [{ offset: 2n }] })
    t.match(await once(0n, -1, -1), { next: 1n, epoch: 1, leaderEpoch: 3 })
  })

  await t.test('from behind the end is tried again, and never begins anew', async t => {
    await t.rejects(once(9n, -1, 3), { message: 'test/0 has no offset 9 yet' })
  })

  await t.test('goes on with the first that is kept where retention has passed it', async t => {
    broker.first = 3
    t.match(await once(1n, 1, 3), { next: 3n, deleted: true, records: [] })
  })
})

t.test('a place', async t => {
  await t.test('is kept as text, and what others wrote in its place is none', async t => {
    const place = { next: 12n, epoch: 3 }
    for (const [text, kept] of Object.entries({
      '': { place: undefined, index: 0 },
      '12@3': { place, index: 0 },
      '12@3.5': { place, index: 5 },
      '.5': { place: undefined, index: 5 },
    })) {
      t.equal(formatBeside(kept.place, kept.index), text)
      t.strictSame(parseBeside(text), kept)
    }
    for (const text of [null, 'x', '12', '12@-1', '12@3.', '@', '1'.repeat(20) + '@1']) {
      t.strictSame(parseBeside(text), { place: undefined, index: 0 })
    }
  })
})

t.test('requests about leaders', async t => {
  await t.test('are, byte for byte, those of the protocol', async t => {
    const hex = async (bytes: Buffer | Promise<Buffer>) => (await bytes).toString('hex')
    t.equal(await hex(metadata.encode({ topics: ['t'] })), '00000001' + '000174' + '00')
    t.equal(await hex(metadata.encode({ topics: [] })), '00000000' + '00')
    t.equal(await hex(offsetForLeaderEpoch.encode({ topic: 't', partition: 5, leaderEpoch: 7, epoch: 6 })),
      'ffffffff' + '00000001' + '000174' + '00000001' + '00000005' + '00000007' + '00000006')
    t.match(await hex(fetch.encode({
      waitMs: 1, bytesMax: 2, from: [{ topic: 't', partition: 5, offset: 6n, bytesMax: 3, leaderEpoch: 7 }],
    })), /00000005000000070000000000000006ffffffffffffffff00000003/)
  })

  await t.test('have answers that are read as the protocol says', async t => {
    const answer = '00000009' + '00000001' + '00000002' + '000168' + '00002384' + 'ffff' + '000163' + '00000002' +
      '00000001' + '0000' + '000174' + '00' + '00000001' + '0000' + '00000005' + '00000002' + '00000007' +
      '00000002' + '00000002' + '00000003' + '00000001' + '00000002' + '00000000'
    t.strictSame(await metadata.decode(Buffer.from(answer, 'hex')), {
      throttleMs: 9,
      brokers: [{ nodeId: 2, host: 'h', port: 9092 }],
      clusterId: 'c',
      controllerId: 2,
      topicMetadata: [{
        topicErrorCode: 0, topic: 't', partitionMetadata: [{ partitionId: 5, leader: 2, leaderEpoch: 7, replicas: 2 }],
      }],
    })
    const ends = '00000009' + '00000001' + '000174' + '00000001' + '004a' + '00000005' + '00000006' + '0000000000000008'
    t.strictSame(await offsetForLeaderEpoch.decode(Buffer.from(ends, 'hex')),
      { throttleMs: 9, errorCode: 74, epoch: 6, end: 8n })
  })
})
