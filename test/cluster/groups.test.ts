import t from 'tap'
import { apiKey, type NodeProcess, request, startProcess } from '../faults/node-process.js'
import { GroupReaderClient } from '../gateway/group-reader.js'
import { until } from '../gateway/node.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

const rooms = Array.from({ length: 24 }, (_, i) => `room-${i}`)

async function post (node: NodeProcess, round: number): Promise<void> {
  const body = { messageId: `${round}`, payload: `${round}` }
  await Promise.all(rooms.map(room => request(node, `/v1/rooms/${room}/posts`, body)))
}

t.test('A group of a cluster', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 300_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const start = (nodeId: string) => startProcess(t, t.testdirName, {
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: `groups-${process.pid}`,
    LEDGERLINE_NODE_ID: nodeId,
    LEDGERLINE_PARTITIONS: '8',
    LEDGERLINE_DRAIN_MS: '0',
    LEDGERLINE_STOP_GRACE_MS: '0',
  })
  const first = await start('n1')
  const second = await start('n2')
  const join = (node: NodeProcess) => GroupReaderClient.open(t, node.http, 'orders', { key: apiKey })
  const partitionsAt = async (node: NodeProcess): Promise<number[]> => {
    const response = await fetch(`${node.http}/v1/groups/orders`, { headers: { authorization: `Bearer ${apiKey}` } })
    const { readers = [] } = await response.json() as { readers?: Array<{ partitions: number[] }> }
    return readers.flatMap(({ partitions }) => partitions)
  }
  /** Names of nodes that read in it, each with how many partitions, as a node tells it of the cluster. */
  const nodesBy = async (node: NodeProcess): Promise<string[]> => {
    const { body } = await request(node, '/v1/groups/orders')
    return body.nodes.map(({ nodeId, partitions }: any) => `${nodeId} ${partitions.length}`).sort()
  }
  const lagBy = async (node: NodeProcess) => {
    const { text } = await request(node, '/metrics')
    return Number(/^ledgerline_group_lag_blocks\{app="",group="orders",stream="posts"\} (\d+)$/m.exec(text)?.[1] ?? NaN)
  }
  const readers = [await join(first), await join(second)] as [GroupReaderClient, GroupReaderClient]
  await until('both nodes have half of the partitions', async () =>
    (await partitionsAt(first)).length === 4 && (await partitionsAt(second)).length === 4)
  const seen = () => new Set(readers.flatMap(reader => reader.posts))

  await t.test('is read on both nodes, and acked at either', async t => {
    for (const node of [first, second]) t.strictSame(await nodesBy(node), ['n1 4', 'n2 4'], 'either tells of both')
    await post(first, 1)
    await until('all have come', () => seen().size === rooms.length)
    await until('each node tells how far it is', async () => await lagBy(first) > 0 && await lagBy(second) > 0)
    const [here, there] = readers
    t.ok(here.posts.length > 0 && there.posts.length > 0)
    t.equal(here.posts.length + there.posts.length, rooms.length, 'each once')
    const cursors = here.lines.map(({ cursor }) => cursor)
    t.ok((await here.ack(cursors, second.http)).every(({ status }) => status === 'acked'), 'of one node at the other')
    t.ok((await there.ackAll()).every(({ status }) => status === 'acked'))
    t.match(await there.ack([there.lines[0]!.cursor], first.http), [{ status: 'acked' }], 'and again')
  })

  await t.test('is not forgotten while it is read on another node, and is afterwards', async t => {
    const reader = await GroupReaderClient.open(t, second.http, 'lone', { key: apiKey })
    await until('it has what there is', () => reader.posts.length === rooms.length)
    await reader.ackAll()
    const forget = async () => (await fetch(`${first.http}/v1/groups/lone`, {
      method: 'DELETE', headers: { authorization: `Bearer ${apiKey}` },
    })).status
    t.equal(await forget(), 409)
    reader.leave()
    await until('nobody reads in it', async () => await forget() === 204)
  })

  await t.test('goes on from the last ack on the other node when one is killed', async t => {
    await post(first, 2)
    await until('all have come', () => seen().size === 2 * rooms.length)
    const [here, there] = readers
    const lost = there.posts.filter(post => post.endsWith('/2'))
    await here.ackAll()
    t.ok(lost.length > 0)
    const startMs = performance.now()
    await second.kill('SIGKILL')
    await until('what was not acked has come to the other', () => lost.every(post => here.posts.includes(post)))
    t.comment(`after ${Math.round(performance.now() - startMs)} ms`)
    t.strictSame(await nodesBy(first), ['n1 8'])
    const gone = there.lines.filter((_line, i) => lost.includes(there.posts[i]!))
    const late = await here.ack(gone.map(({ cursor }) => cursor))
    t.ok(late.every(({ status, code }) => status === 'rejected' && code === 'not-leased'), 'acks of what it gave come late')
    t.strictSame(here.posts.filter(post => there.posts.includes(post)).sort(), lost.sort(), 'and nothing that was acked')
    const acked = await here.ackAll()
    t.ok(acked.every(({ status }) => status === 'acked'))
    await post(first, 3)
    await until('what is new comes as well', () => here.posts.filter(post => post.endsWith('/3')).length === rooms.length)
    for (const room of rooms) {
      const seqs = here.posts.filter(post => post.startsWith(`${room}/`)).map(post => Number(post.split('/')[1]))
      t.strictSame(seqs, seqs.toSorted((a, b) => a - b), `${room} in order`)
    }
  })
})
