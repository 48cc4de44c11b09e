import t from 'tap'
import { createClient } from '../../client/node.js'
import type { Client } from '../../client/node.js'
import { type TestNode, until } from '../gateway/node.js'
import { kafkaMissing } from './kafka.js'
import { startCluster } from './nodes.js'
import { redisMissing } from './redis.js'

t.test('A room of a cluster', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 300_000 }, async t => {
  const cluster = await startCluster(t, `rooms-${process.pid}`)
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
})
