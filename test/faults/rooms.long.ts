import { Redis } from 'ioredis'
import t from 'tap'
import { type NodeName, missing, TestCluster } from './cluster.js'
import { until } from './node-process.js'
import { RoomTraffic } from './room-traffic.js'

const rooms = ['chat:1', 'chat:2', 'chat:3']

t.test('Rooms of a cluster', { skip: missing, timeout: 850_000 }, async t => {
  const cluster = await TestCluster.start(t)
  const traffic = await RoomTraffic.start(t, `${cluster.node('p1').http}/v1/ip-config`, ['ann', 'bob', 'cid', 'dan'], rooms)
  await traffic.flows()

  const info = (roomId: string) => cluster.ask(`/v1/rooms/${encodeURIComponent(roomId)}`)
  const judge = async () => {
    await traffic.judge(t, async roomId => (await info(roomId)).roomSeq ?? 0)
  }

  async function survivesDeathOf (name: NodeName): Promise<void> {
    await cluster.kill(name)
    await traffic.flows()
    await cluster.startNodes(name)
    await traffic.flows()
    await judge()
  }

  await t.test('lose nothing where an edge with members is killed, and forget it', async () => {
    await survivesDeathOf('e1')
    await until(async () => (await Promise.all(rooms.map(info))).every(({ nodes }) =>
      nodes?.every(({ members }: { members: number | null }) => members !== null)))
  })

  await t.test('lose nothing where an owner of rooms and users is killed while members post', async () => {
    await survivesDeathOf('u1')
    await survivesDeathOf('u2')
  })

  await t.test('lose nothing where Redis is emptied', async () => {
    const client = new Redis(cluster.redis.url)
    t.teardown(() => { client.disconnect() })
    await client.flushall()
    await traffic.flows()
    await judge()
  })

  await t.test('lose nothing where an edge and an owner are killed together', async () => {
    await Promise.all([cluster.kill('e2'), cluster.kill('u1')])
    await traffic.flows()
    await cluster.startNodes('e2', 'u1')
    await traffic.flows()
    await judge()
  })

  await Promise.all(traffic.members.map(member => member.pause()))
  await cluster.audit(t)
})
