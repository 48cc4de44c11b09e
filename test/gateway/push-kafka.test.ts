import t from 'tap'
import { Kafka, logLevel } from 'kafkajs'
import { followDownlinks } from '../../gateway/downlinks.js'
import { Push, type PushDeps } from '../../gateway/push.js'
import { RoomQuestions, type RoomQuestionsDeps } from '../../gateway/room-questions.js'
import { Rooms, type RoomsDeps } from '../../gateway/rooms.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { commandOf } from '../../ledger/rejected.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import type { DownlinkRecord } from '../../schemas/records.js'
import { downlinks, downlinksRejected, ledger, rooms, type Stream } from '../../schemas/streams.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { until } from '../faults/node-process.js'

t.setTimeout(230_000)

t.test('A command of the stream downlinks', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const configEntries = [{ name: 'max.message.bytes', value: '1000012' }]
  const names = [ledger, downlinks, downlinksRejected].map(({ name }) => `test.${name}`)
  await admin.createTopics({
    waitForLeaders: false, topics: names.map(topic => ({ topic, numPartitions: 4, configEntries })),
  })
  const log = await openKafkaLog({
    brokers,
    topicPrefix: 'test',
    clientId: 'test',
    streams: [ledger, downlinks, downlinksRejected].map(stream => ({ stream, partitions: 4 })),
    failed: (what, err) => { t.comment(what, err.message) },
  })
  t.teardown(() => log.close())
  const push = new Push({ log, links: {}, nodeId: 'n', outboxBytesMax: () => 8 << 20, receipts: false, offlineAfterMs: undefined } as unknown as PushDeps)
  let pushes = 0
  await followDownlinks({
    log,
    frameBytesMax: 1 << 16,
    hasApp: app => app === '',
    health: nobodyWatches,
    rejected: () => {},
    postInOrder: async () => { throw new Error('nothing here names a room') },
    pushInOrder: commands => {
      pushes++
      return push.pushInOrder(commands)
    },
    push: command => {
      pushes++
      return push.push(command)
    },
  })

  const nexts = [0n, 0n, 0n, 0n]
  for (const kib of [63, 8]) {
    await t.test(`of ${kib} KiB to 1,000 users, on topics that take 1 MB, arrives once with each of them`, async t => {
      const userIds = Array.from({ length: 1_000 }, (_, i) => `user ${i}`)
      pushes = 0
      await log.append(downlinks, 0, [command(`m${kib}`, kib << 10, { userIds })])
      const requested: string[] = []
      await until(async () => {
        for (const [partition, from] of nexts.entries()) {
          for await (const { items, offset } of log.read(ledger, partition, { from })) {
            requested.push(...items.map(({ userId }) => userId))
            nexts[partition] = offset + 1n
          }
        }
        return requested.length >= userIds.length
      }, 50)
      t.strictSame(requested.sort(), [...userIds].sort())
      t.equal(pushes, 1)
    })
  }
})

t.test('Commands that wait for each other, one of which is too large for its topic', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const streams = [ledger, rooms, downlinks, downlinksRejected]
  const bytesMax = (stream: Stream<any>) => stream === ledger || stream === rooms ? '131072' : '1000012'
  await admin.createTopics({
    waitForLeaders: false,
    topics: streams.map(stream => ({
      topic: `test.${stream.name}`,
      numPartitions: 1,
      configEntries: [{ name: 'max.message.bytes', value: bytesMax(stream) }],
    })),
  })
  const log = await openKafkaLog({
    brokers,
    topicPrefix: 'test',
    clientId: 'test',
    streams: streams.map(stream => ({ stream, partitions: 1 })),
    failed: (what, err) => { t.comment(what, err.message) },
  })
  t.teardown(() => log.close())
  const links = { toRoom () { /* its owner is not there: nobody says that it is closed */ } }
  const deps = { log, links, nodeId: 'n', outboxBytesMax: () => 8 << 20, receipts: false, offlineAfterMs: undefined, answerMs: 100 }
  const push = new Push(deps as unknown as PushDeps)
  const questions = new RoomQuestions(deps as unknown as RoomQuestionsDeps)
  const posts = new Rooms({ ...deps, questions } as unknown as RoomsDeps)
  const runs: string[] = []
  const counted = <T extends { readonly messageId: string }>(commands: readonly T[]) => {
    runs.push(commands.map(({ messageId }) => messageId).join(' '))
    return commands
  }
  await followDownlinks({
    log,
    frameBytesMax: 1 << 18,
    hasApp: app => app === '',
    health: nobodyWatches,
    rejected: () => {},
    postInOrder: commands => posts.postInOrder(counted(commands)),
    pushInOrder: commands => push.pushInOrder(counted(commands)),
    push: one => push.push(one),
  })

  const of = { user: { userIds: ['ann'] }, room: { userIds: [], roomId: 'chat:7', ttlMs: 0 } }
  for (const [i, [whose, fields]] of Object.entries(of).entries()) {
    const stream: Stream<any> = whose === 'user' ? ledger : rooms
    await t.test(`is set aside, and no other one of its ${whose}`, async t => {
      const ids = ['m0', 'm1', 'm2', 'large', 'm3']
      await log.append(downlinks, 0, ids.map(id => command(id, id === 'large' ? 200_000 : 10, fields)))
      const taken: string[] = []
      await until(async () => {
        taken.length = 0
        for await (const { items } of log.read<{ fact: object }>(stream, 0, { from: 0n })) {
          taken.push(...items.map(({ fact }) => (fact as { messageId: string }).messageId))
        }
        return taken.includes('m3')
      }, 50)
      t.strictSame(taken, ['m0', 'm1', 'm2', 'm3'])
      t.ok(runs.some(run => run.includes('m2 large m3')), `they went together: ${runs}`)
      runs.length = 0
      const rejected: Array<[string | undefined, string]> = []
      for await (const { items } of log.read(downlinksRejected, 0, { from: 0n })) {
        for (const { command: bytes, code } of items) rejected.push([commandOf(bytes)?.messageId, code])
      }
      t.strictSame(rejected, Array.from({ length: i + 1 }, () => ['large', 'payload-too-large']))
    })
  }
})

function command (messageId: string, bytes: number, fields: Partial<DownlinkRecord>): DownlinkRecord {
  return {
    messageId,
    service: 'news',
    payload: Buffer.alloc(bytes, 'x'),
    delivery: 'durable',
    ttlMs: 60_000,
    platforms: [],
    exceptDevices: [],
    devices: [],
    userIds: [],
    app: '',
    receipts: true,
    offlineAfterMs: -1,
    replaces: '',
    roomId: '',
    ...fields,
  }
}
