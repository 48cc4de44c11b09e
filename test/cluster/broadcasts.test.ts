import t from 'tap'
import { createClient } from '../../client/node.js'
import { type NodeProcess, request, startProcess, tokenFor, until } from '../faults/node-process.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

t.test('A broadcast in a cluster of processes', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 300_000 }, async t => {
  const [{ brokers }, { url }] = await Promise.all([startKafka(t), startRedis(t)])
  const start = async (nodeId: string, roles: string, region: string) => await startProcess(t, t.testdirName, {
    KAFKA_BROKERS: brokers.join(),
    REDIS_URL: url,
    LEDGERLINE_TOPIC_PREFIX: `broadcasts-${process.pid}`,
    LEDGERLINE_PARTITIONS: '2',
    LEDGERLINE_NODE_ID: nodeId,
    LEDGERLINE_ROLES: roles,
    LEDGERLINE_REGION: region,
    LEDGERLINE_LEASE_MS: '3000',
    LEDGERLINE_DRAIN_MS: '0',
    LEDGERLINE_STOP_GRACE_MS: '0',
  })
  const [asked, europe, america] = [
    await start('asked', 'users,push,projections,ip-config', 'eu'), await start('europe', 'edge', 'eu'),
    await start('america', 'edge', 'us'),
  ]

  /** A client of this node alone. */
  async function clientOf (node: NodeProcess, userId: string) {
    const token = await tokenFor(userId)
    const client = createClient({ endpoints: [node.tcp], getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    const heard: string[] = []
    client.on('signal', signal => { heard.push(signal.text()) })
    client.connect()
    await client.ready()
    return heard
  }
  const look = async (messageId: string) => (await request(asked, `/v1/broadcasts/${messageId}`)).body
  const over = async (messageId: string) => {
    await until(async () => (await look(messageId)).state !== 'running', 50)
    return await look(messageId)
  }
  const ofEurope = await Promise.all(Array.from({ length: 20 }, async (_, i) => await clientOf(europe, `ann ${i}`)))
  const ofAmerica = await Promise.all(Array.from({ length: 5 }, async (_, i) => await clientOf(america, `bob ${i}`)))
  const all = [...ofEurope, ...ofAmerica]

  await t.test('comes to the clients of every edge', async t => {
    t.match(await request(asked, '/v1/broadcasts', { messageId: 'm1', payload: 'm1' }), { status: 202, body: { status: 'queued' } })
    t.match(await over('m1'), {
      state: 'done', sent: 25, nodes: [{ nodeId: 'america', state: 'done', sent: 5 }, { nodeId: 'europe', state: 'done', sent: 20 }],
    })
    await until(() => all.every(heard => heard.length > 0))
  })

  await t.test('is for one region', async t => {
    await request(asked, '/v1/broadcasts', { messageId: 'm2', payload: 'm2', regions: ['us'] })
    t.match(await over('m2'), { state: 'done', sent: 5, nodes: [{ nodeId: 'america' }] })
    await until(() => ofAmerica.every(heard => heard.length === 2))
  })

  await t.test('is over when a node dies, and what is left of it goes to nobody', async t => {
    await request(asked, '/v1/broadcasts', { messageId: 'm3', payload: 'm3', perSecond: 2 })
    await until(() => ofEurope.some(heard => heard.includes('m3')))
    await europe.kill('SIGKILL')
    const info = await over('m3')
    t.match(info, { state: 'done', nodes: [{ nodeId: 'america', state: 'done', sent: 5 }, { nodeId: 'europe', state: 'gone' }] })
    const again = await start('europe', 'edge', 'eu')
    const late = await clientOf(again, 'cy')
    await until(async () => {
      await request(asked, '/v1/broadcasts', { messageId: 'm4', payload: 'm4' })
      return late.length > 0
    }, 100)
    t.strictSame(late, ['m4'])
  })

  for (const heard of all) t.equal(new Set(heard).size, heard.length, 'nobody has got one twice')
})
