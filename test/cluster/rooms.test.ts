import t from 'tap'
import { createClient } from '../../client/node.js'
import type { Client } from '../../client/node.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { commandOf } from '../../ledger/rejected.js'
import type { DownlinkRecord } from '../../schemas/records.js'
import { downlinks, downlinksRejected } from '../../schemas/streams.js'
import { auditOfTopics } from '../faults/audit.js'
import { type TestNode, until } from '../gateway/node.js'
import { kafkaMissing } from './kafka.js'
import { startCluster } from './nodes.js'
import { redisMissing } from './redis.js'

const topicPrefix = `rooms-${process.pid}`

t.test('A room of a cluster', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 300_000 }, async t => {
  const cluster = await startCluster(t, topicPrefix)
  const [owner, other] = [
    await cluster.start('n1', 'edge,users,push,projections,ip-config'), await cluster.start('n2', 'edge'),
  ]

  async function member (node: TestNode, userId: string): Promise<{ client: Client, heard: string[] }> {
    const token = await node.token(userId, { rooms: { '*': 'rw' } })
    const client = createClient({ endpoints: [`tcp://127.0.0.1:${node.tcpPort}`], getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    const heard: string[] = []
    client.room('chat:7').on('post', post => { heard.push(`${post.roomSeq} ${post.from}: ${post.text()}`) })
    client.connect()
    await until(`${userId} is in`, () => client.room('chat:7').isJoined)
    return { client, heard }
  }

  const [ann, bob] = [await member(owner, 'ann'), await member(other, 'bob')]
  await Promise.all([ann, bob].flatMap(({ client }, i) =>
    Array.from({ length: 20 }, (_, n) => client.room('chat:7').post(`${i}.${n}`))))
  await until('all have come to both nodes', () => ann.heard.length >= 40 && bob.heard.length >= 40)
  t.strictSame(ann.heard, bob.heard, 'in one order')
  t.strictSame(ann.heard.map(each => Number(each.split(' ')[0])), Array.from({ length: 40 }, (_, i) => i + 1))

  await t.test('takes what business writes to the topic downlinks, in its order and each id once', async t => {
    const log = await openKafkaLog({
      brokers: [...cluster.kafka.brokers],
      topicPrefix,
      clientId: 'test',
      streams: [downlinks, downlinksRejected].map(stream => ({ stream, partitions: 4 })),
      failed: (what, err) => { t.comment(what, err.message) },
    })
    t.teardown(() => log.close())
    const commands = Array.from({ length: 20 }, (_, i) => commandTo('chat:7', `m${i}`))
    await log.append(downlinks, 1, commands)
    await log.append(downlinks, 1, [commands[3]!, { ...commandTo('chat:7', 'both'), userIds: ['ann'] }, commandTo('chat:7', 'last')])
    await until('the last one has come to both nodes', () => bob.heard.length >= 61 && ann.heard.length >= 61)
    t.strictSame(ann.heard.slice(40), [...commands.map((_, i) => `${41 + i} : m${i}`), '61 : last'])
    t.strictSame(bob.heard, ann.heard)

    await owner.request('DELETE', '/v1/rooms/chat:7')
    await log.append(downlinks, 1, [commandTo('chat:7', 'late')])
    const rejected: string[] = []
    await until('both are set aside', async () => {
      rejected.length = 0
      for await (const { items } of log.read(downlinksRejected, 0, { from: 0n })) {
        rejected.push(...items.map(({ command, code }) => `${commandOf(command)?.messageId} ${code}`))
      }
      return rejected.length >= 2
    })
    t.strictSame(rejected, ['both bad-request', 'late room-closed'])
  })

  await t.test('has its old posts read from the topic posts, behind a place and as many as are wanted', async t => {
    const large = 'x'.repeat(8_192) // 60 of them are more than the room keeps
    for (let i = 1; i <= 60; i++) {
      await owner.request('POST', '/v1/rooms/old:1/posts', { messageId: `m${i}`, payload: `${i} ${large}` })
    }
    const info = await until('all are numbered', async () => {
      const { roomSeq, keptAfter } = (await owner.request('GET', '/v1/rooms/old:1')).json as Record<string, number>
      return roomSeq === 60 && { keptAfter: keptAfter! }
    })
    t.ok(info.keptAfter > 20)
    const told = async (query: string) => {
      const { text } = await owner.request('GET', `/v1/rooms/old:1/posts?${query}`)
      return text.split('\n').filter(line => line !== '').map(line => JSON.parse(line).roomSeq)
    }
    t.strictSame(await told('after=0&limit=3'), [1, 2, 3])
    t.strictSame(await told('after=10&limit=2'), [11, 12])
    t.strictSame(await told('after=5'), Array.from({ length: 55 }, (_, i) => i + 6))
  })

  await Promise.all([owner.stop(), other.stop()])
  await auditOfTopics(t, cluster.kafka.brokers, topicPrefix)
})

function commandTo (roomId: string, messageId: string): DownlinkRecord {
  return {
    messageId,
    userIds: [],
    service: 'news',
    payload: Buffer.from(messageId),
    ttlMs: 0,
    delivery: 'durable',
    platforms: [],
    exceptDevices: [],
    devices: [],
    app: '',
    receipts: true,
    offlineAfterMs: -1,
    replaces: '',
    roomId,
  }
}
