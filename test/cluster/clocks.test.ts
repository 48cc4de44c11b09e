import { SignJWT } from 'jose'
import t from 'tap'
import { createClient } from '../../client/node.js'
import { jwtSecret, type NodeProcess, request, startProcess, until } from '../faults/node-process.js'
import { noFakeTime, TimeOfDay } from '../faults/time-of-day.js'
import { drawn, givenKeyFile } from '../gateway/keys/given.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

const hourMs = 3_600_000

t.test('With the clocks of two nodes off by an hour', {
  skip: kafkaMissing() ?? redisMissing() ?? noFakeTime, timeout: 300_000,
}, async t => {
  const [{ brokers }, { url }] = await Promise.all([startKafka(t), startRedis(t)])
  const directory = t.testdir()
  const operator = drawn({ name: 'night shift', scopes: ['push', 'read', 'operate'] })
  const { path: keys } = await givenKeyFile(t, [operator.stored])
  const start = async (nodeId: string, roles: string, offMs = 0) => {
    const timeOfDay = new TimeOfDay(directory, nodeId)
    if (offMs !== 0) timeOfDay.jump(offMs)
    return await startProcess(t, directory, {
      ...offMs === 0 ? {} : timeOfDay.env,
      KAFKA_BROKERS: brokers.join(),
      REDIS_URL: url,
      LEDGERLINE_TOPIC_PREFIX: `clocks-${process.pid}`,
      LEDGERLINE_PARTITIONS: '2',
      LEDGERLINE_NODE_ID: nodeId,
      LEDGERLINE_ROLES: roles,
      LEDGERLINE_API_KEYS_FILE: keys,
      LEDGERLINE_DRAIN_MS: '0',
      LEDGERLINE_STOP_GRACE_MS: '0',
    })
  }
  const asked = await start('asked', 'users,push,projections,ip-config')
  const [right, ahead, behind] = await Promise.all([
    start('right', 'edge,push'), start('ahead', 'edge,push', hourMs), start('behind', 'edge,push', -hourMs),
  ])
  const edges = [right, ahead, behind]
  const byOperator = async (node: NodeProcess, method: string, address: string, body?: object) => {
    const headers = { authorization: `Bearer ${operator.key}`, ...body && { 'content-type': 'application/json' } }
    const response = await fetch(node.http + address, { method, headers, ...body && { body: JSON.stringify(body) } })
    return { status: response.status, body: await response.json() as any }
  }

  /** A client of this node alone. Its token has no end, for that would go by the clock of the edge. */
  async function clientOf (node: NodeProcess, userId: string) {
    const token = await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject(userId).sign(Buffer.from(jwtSecret))
    const client = createClient({ endpoints: [node.tcp], getToken: () => token, deviceId: node.nodeId })
    t.teardown(() => client.close())
    const heard: string[] = []
    const ended: string[] = []
    client.on('signal', signal => { heard.push(signal.text()) })
    client.on('kicked', ({ code }) => { ended.push(code) })
    client.connect()
    return { client, heard, ended }
  }
  const openAt = async (node: NodeProcess, userId: string) => {
    const opened = await clientOf(node, userId)
    await opened.client.ready()
    return opened
  }

  await t.test('each of them tells of it, and no other node does', async t => {
    const reasonOf = async (node: NodeProcess) => (await request(node, '/v1/health')).body.troubles
      .find(({ condition }: { condition: string }) => condition === 'clock')?.reason
    await until(async () => await reasonOf(ahead) !== undefined && await reasonOf(behind) !== undefined, 60)
    t.match(await reasonOf(ahead), /^this machine's time of day is 36\d\d s ahead of that of Redis$|is 3599 s ahead/)
    t.match(await reasonOf(behind), /^this machine's time of day is 36\d\d s behind that of Redis$|is 3599 s behind/)
    for (const node of [asked, right]) t.equal(await reasonOf(node), undefined)
    const { nodes } = (await request(asked, '/v1/nodes')).body
    t.strictSame(nodes.map(({ nodeId, alive }: any) => [nodeId, alive]),
      [['ahead', true], ['asked', true], ['behind', true], ['right', true]])
  })

  await t.test('a broadcast of ten seconds comes to all clients, whichever node is asked', async t => {
    const clients = await Promise.all(edges.map(async edge => await openAt(edge, `ann of ${edge.nodeId}`)))
    for (const node of [asked, right, ahead, behind]) {
      const messageId = `by ${node.nodeId}`
      const body = { messageId, payload: messageId, ttlMs: 10_000 }
      t.match(await byOperator(node, 'POST', '/v1/broadcasts', body), { status: 202, body: { status: 'queued' } })
      await until(() => clients.every(({ heard }) => heard.includes(messageId)), 60)
      const look = async (at: NodeProcess) => (await byOperator(at, 'GET', `/v1/broadcasts/${encodeURIComponent(messageId)}`)).body
      for (const at of [asked, ahead, behind]) {
        await until(async () => (await look(at)).state === 'done', 60)
        t.match(await look(at), { by: operator.id, sent: 3, nodes: [{ nodeId: 'ahead' }, { nodeId: 'behind' }, { nodeId: 'right' }] })
      }
    }
  })

  await t.test('a broadcast that is over is not named to a node that has started since', async t => {
    const body = { messageId: 'before', payload: 'before', ttlMs: hourMs }
    await byOperator(ahead, 'POST', '/v1/broadcasts', body)
    const look = async () => (await byOperator(asked, 'GET', '/v1/broadcasts/before')).body
    await until(async () => (await look()).state === 'done', 60)
    await start('late', 'edge', -hourMs)
    await until(async () => (await request(asked, '/v1/nodes')).body.nodes.some(({ nodeId }: any) => nodeId === 'late'), 60)
    t.match(await look(), { state: 'done', nodes: [{ nodeId: 'ahead' }, { nodeId: 'behind' }, { nodeId: 'right' }] })
  })

  await t.test('one that is cancelled names who did, and why, on every node', async t => {
    await byOperator(right, 'POST', '/v1/broadcasts', { messageId: 'slow', payload: 'slow', perSecond: 1, ttlMs: hourMs })
    await byOperator(ahead, 'DELETE', '/v1/broadcasts/slow?reason=enough')
    const look = async () => (await byOperator(behind, 'GET', '/v1/broadcasts/slow')).body
    await until(async () => (await look()).cancelled !== undefined, 60)
    t.match(await look(), { by: operator.id, cancelled: { by: operator.id, reason: 'enough' } })
  })

  await t.test('a ban ends what is open everywhere, and its end goes by the clock of the edge', async t => {
    for (const [userId, more] of [['bob', { ttlMs: 600_000 }], ['cid', {}]] as const) {
      const open = await Promise.all(edges.map(async edge => await openAt(edge, userId)))
      t.equal((await byOperator(right, 'POST', '/v1/bans', { userId, reason: 'spam', ...more })).status, 202)
      await until(() => open.every(({ ended }) => ended.includes('banned')), 60)
      for (const node of [asked, ahead]) {
        const { bans } = (await byOperator(node, 'GET', `/v1/users/${userId}/bans`)).body
        if (node === ahead && userId === 'bob') t.strictSame(bans, [], 'as the node that is asked sees its end')
        else t.match(bans, [{ reason: 'spam', by: operator.id }], `who asked, ${node.nodeId} says`)
      }
      for (const edge of edges) {
        const { client, ended } = await clientOf(edge, userId)
        if (edge === ahead && userId === 'bob') {
          await client.ready()
          t.pass('there it is over an hour early, as docs/operations.md says')
        } else {
          await until(() => ended.includes('banned'), 60)
        }
        client.close()
      }
    }
  })
})
