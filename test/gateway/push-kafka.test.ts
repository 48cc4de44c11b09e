import t from 'tap'
import { Kafka, logLevel } from 'kafkajs'
import { followDownlinks } from '../../gateway/downlinks.js'
import { Push, type PushDeps } from '../../gateway/push.js'
import { openKafkaLog } from '../../ledger/kafka/log.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { downlinks, downlinksRejected, ledger } from '../../schemas/streams.js'
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
      await log.append(downlinks, 0, [{
        messageId: `m${kib}`,
        service: 'news',
        payload: Buffer.alloc(kib << 10, 'x'),
        delivery: 'durable',
        ttlMs: 60_000,
        platforms: [],
        exceptDevices: [],
        devices: [],
        userIds,
        app: '',
        receipts: true,
        offlineAfterMs: -1,
        replaces: '',
        roomId: '',
      }])
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
