import t, { type Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KafkaLog } from '../../ledger/kafka/log.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import type { Block } from '../../ledger/log.js'
import { rejectedStream } from '../../ledger/rejected.js'
import type { Stream } from '../../schemas/streams.js'
import { kafkaMissing, outsideKafka, startKafka } from '../cluster/kafka.js'
import { collect, collector, logContract, note, notes, noteStream, until } from './log-contract.js'

t.test('the Kafka log', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)

  async function openAt (
    t: Test, stream: Stream<any>, clientId = 'one', options: { pendingBytesMax?: number } = {}
  ): Promise<KafkaLog> {
    const log = await openKafkaLog({
      ...options,
      brokers,
      topicPrefix: 'test',
      clientId,
      streams: [{ stream, partitions: 4 }],
      failed: (what, err, fields) => t.comment(what, err.message, fields),
    })
    t.teardown(() => log.close())
    return log
  }

  await logContract(t, {
    open: openAt,
    openBounded: (t, stream, pendingBytesMax) => openAt(t, stream, 'one', { pendingBytesMax }),
    async cut (_log, { name }, partition, to) {
      const admin = outsideKafka(brokers).admin()
      await admin.connect()
      await admin.fetchTopicOffsets(`test.${name}`) // or it knows of no such topic
      await admin.deleteTopicRecords({ topic: `test.${name}`, partitions: [{ partition, offset: String(to) }] })
      await admin.disconnect()
    },
    async reopen (t, log, stream) {
      await log.close()
      return openAt(t, stream)
    },
  })

  await t.test('has handed to its followers what it has appended, before they are stopped', async t => {
    const stream = noteStream()
    const log = await openAt(t, stream)
    const followers = [collector(), collector()]
    const followings = await Promise.all(followers.map((follower, i) => log.follow(stream, `group ${i}`, follower)))
    for (const text of ['a', 'b', 'c']) {
      await log.append(stream, 1, [note(text)])
      await log.delivered()
      for (const follower of followers) t.equal(follower.texts().at(-1), text)
    }
    for (const following of followings) await following.stop()
    await log.append(stream, 1, [note('nobody follows')])
    await log.delivered()
  })

  await t.test('gives a topic that exists to whoever opens it next, with the partitions that it has', async t => {
    const stream = noteStream()
    const log = await openAt(t, stream)
    const other = await openKafkaLog({
      brokers, topicPrefix: 'test', clientId: 'other', streams: [{ stream, partitions: 7 }], failed: () => {},
    })
    t.teardown(() => other.close())
    t.equal(other.partitions(stream), 4)
    t.equal(other.identity, log.identity)
    t.match(log.identity, /\/test$/)
  })

  await t.test('refuses a topic that has another number of partitions than the one that it goes with', async t => {
    const [ledger, derived] = [noteStream(), noteStream()]
    await openAt(t, ledger)
    const open = (partitions: number) => openKafkaLog({
      brokers,
      topicPrefix: 'test',
      clientId: 'other',
      streams: [{ stream: ledger, partitions }, { stream: derived, partitions, like: ledger }],
      failed: () => {},
    })
    const log = await open(7)
    t.teardown(() => log.close())
    t.equal(log.partitions(derived), 4, 'and creates it like that one')
    await log.close()
    const fewer = noteStream()
    await (await openKafkaLog({
      brokers, topicPrefix: 'test', clientId: 'other', streams: [{ stream: fewer, partitions: 1 }], failed: () => {},
    })).close()
    await t.rejects(openKafkaLog({
      brokers,
      topicPrefix: 'test',
      clientId: 'other',
      streams: [{ stream: ledger, partitions: 4 }, { stream: fewer, partitions: 4, like: ledger }],
      failed: () => {},
    }), { code: 'misconfigured', message: /^Kafka topic test\.\S+ has 1 partitions, want 4, as test\.\S+ has, .* delete it/ })
  })

  await t.test('that is open for reading alone reads, appends nothing and makes no topic', async t => {
    const stream = noteStream()
    const log = await openAt(t, stream)
    await log.append(stream, 0, [note('one')])
    await log.append(stream, 0, [note('poison')])
    const decodeBlock = (bytes: Uint8Array) => {
      if (Buffer.from(bytes).includes('poison')) throw new Error('not a note')
      return stream.decodeBlock(bytes)
    }
    const rejected: string[] = []
    const open = (topicPrefix: string) => openKafkaLog({
      brokers,
      topicPrefix,
      clientId: 'reader',
      streams: [{ stream, partitions: 4 }],
      readOnly: true,
      onRejected: ({ reason }) => rejected.push(reason),
      failed: () => {},
    })
    const reader = await open('test')
    t.teardown(() => reader.close())
    t.strictSame(await collect(reader.read({ ...stream, decodeBlock }, 0, { from: 0n })), ['one'])
    t.strictSame(rejected, ['not a note'])
    await t.rejects(reader.append(stream, 0, [note('two')]), { code: 'ledger-unavailable' })
    t.equal((await log.bounds(rejectedStream(stream), 0)).next, 0n)
    await t.rejects(open('absent'), { message: /^Kafka has none of the topics absent\.notes-/ })
    await t.rejects(open('absent'), { message: /^Kafka has none of the topics/ }, 'again')
  })

  await t.test('goes on from the first record kept where those before it are gone', async t => {
    const stream = noteStream()
    const log = await openAt(t, stream)
    for (const item of notes(6)) await log.append(stream, 0, [item])
    const admin = outsideKafka(brokers).admin()
    await admin.connect()
    t.teardown(() => admin.disconnect())
    const topic = `test.${stream.name}`
    // kafkajs gives up where a partition of a new topic has no leader yet; our own log waits for it.
    for (let partition = 0; partition < 4; partition++) await log.bounds(stream, partition)
    await admin.fetchTopicOffsets(topic) // or it does not know the topic
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
    t.strictSame(await log.bounds(stream, 0), { first: 4n, next: 6n })
    t.strictSame(await collect(log.read(stream, 0, { from: 1n })), ['n4', 'n5'])
    const follower = collector()
    await log.follow(stream, 'late', follower)
    await until(() => follower.texts().length === 2)
    t.strictSame(follower.texts(), ['n4', 'n5'])
  })

  await t.test('shares a group among processes, each partition with one of them at any time', async t => {
    const stream = noteStream()
    const [one, two] = [await openAt(t, stream, 'one'), await openAt(t, stream, 'two')]
    const holders: string[][] = [[], [], [], []]
    let overlaps = 0
    const taken = [0n, 0n, 0n, 0n]
    function member (name: string) {
      const follower = collector(partition => taken[partition]!)
      return {
        ...follower,
        async assigned (partition: number) {
          if (holders[partition]!.push(name) > 1) overlaps++
          return follower.assigned(partition)
        },
        received (block: Block<any>) {
          taken[block.partition] = block.offset + 1n
          follower.blocks.push(block)
        },
        async revoked (partition: number) {
          await sleep(200) // saves what it has
          holders[partition] = holders[partition]!.filter(holder => holder !== name)
          return follower.revoked(partition)
        },
      }
    }
    const [first, second] = [member('one'), member('two')]
    await one.follow(stream, 'shared', first)
    for (let p = 0; p < 4; p++) await one.append(stream, p, [note(`${p} a`)])
    await until(() => first.texts().length === 4)
    await two.follow(stream, 'shared', second)
    t.strictSame(holders.flat().sort(), ['one', 'one', 'two', 'two'])
    for (let p = 0; p < 4; p++) await two.append(stream, p, [note(`${p} b`)])
    await until(() => first.texts().length + second.texts().length === 8)
    t.equal(first.texts().length, 6, 'each block goes to one of them')
    t.strictSame(one.lag('shared').length, 2)
    await one.close()
    await until(() => holders.flat().length === 4)
    t.strictSame(holders.flat(), ['two', 'two', 'two', 'two'], 'what one gives back the other takes')
    t.equal(overlaps, 0)
  })
})
