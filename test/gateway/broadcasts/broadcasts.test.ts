import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createClient } from '../../../client/node.js'
import { connected, dialects } from '../edge/dialects.js'
import { startTestNode, type TestNode, until } from '../node.js'

interface Info {
  readonly state: string
  readonly sent: number
  readonly left: number
  readonly nodes: ReadonlyArray<{ readonly nodeId: string, readonly state: string, readonly sent: number }>
}

async function begin (node: TestNode, body: object): Promise<any> {
  const { status, json } = await node.request('POST', '/v1/broadcasts', body)
  if (status !== 202) throw new Error(`${status} ${JSON.stringify(json)}`)
  return json
}

async function look (node: TestNode, messageId: string): Promise<Info> {
  return (await node.request('GET', `/v1/broadcasts/${messageId}`)).json as Info
}

async function ended (node: TestNode, messageId: string): Promise<Info> {
  return await until(`${messageId} is over`, async () => {
    const info = await look(node, messageId)
    const isOver = info.state !== 'running' && info.nodes.every(({ state }) => state !== 'running')
    return isOver ? info : undefined
  })
}

t.test('A broadcast', async t => {
  const node = await startTestNode(t)
  const user = async (userId: string, platform: string, dialect: typeof dialects[number]) =>
    (await connected(t, node, dialect, userId, { platform })).client

  await t.test('comes as a signal, once to each connection, in whichever dialect', async t => {
    const clients = await Promise.all(dialects.map((dialect, i) => user(`user ${i}`, 'ios', dialect)))
    t.strictSame(await begin(node, { messageId: 'm1', service: 'news', payload: 'hello' }), { messageId: 'm1', status: 'queued' })
    for (const client of clients) t.match(await client.next(), { op: 'signal', service: 'news', roomId: '' })
    t.match(await ended(node, 'm1'), { state: 'done', sent: 4, slow: 0, left: 0, nodes: [{ nodeId: 'n1', state: 'done', sent: 4 }] })
    t.strictSame(await begin(node, { messageId: 'm1', service: 'news', payload: 'hello' }), { messageId: 'm1', status: 'duplicate' })
    t.strictSame(await begin(node, { messageId: 'm1', payload: 'other' }), { messageId: 'm1', status: 'conflict' })
    await begin(node, { messageId: 'm2', payload: 'next' })
    for (const client of clients) t.match(await client.next(), { op: 'signal', service: '' }, 'and not the first one again')
    const lines = (await node.request('GET', '/v1/streams/nodes')).text.split('\n').filter(line => line.includes('"m1"'))
    const facts = lines.map(line => JSON.parse(line).fact)
    t.match(facts[0], { type: 'BroadcastRequested', messageId: 'm1', service: 'news', payload: 'hello', perSecond: 500 })
    t.match(facts.at(-1), { type: 'BroadcastReported', messageId: 'm1', state: 'done', sent: 4 })
    t.notOk('app' in facts[0])
    const { text } = await node.request('GET', '/metrics')
    t.match(text, /^ledgerline_broadcast_signals_total 8$/m)
    t.match(text, /^ledgerline_broadcasts 0$/m)
  })

  await t.test('is told to the application by the SDK as a signal', async t => {
    const token = await node.token('sdk')
    const client = createClient({ endpoints: [`tcp://127.0.0.1:${node.tcpPort}`], getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    const heard: string[] = []
    client.on('signal', signal => { heard.push(`${signal.service}: ${signal.text()}`) })
    client.connect()
    await client.ready()
    await begin(node, { service: 'news', payload: 'hello' })
    await until('it has come', () => heard.length > 0)
    t.strictSame(heard, ['news: hello'])
  })

  await t.test('is for the platforms and regions that it names', async t => {
    const [web, tv] = [await user('ann', 'web', 'TCP'), await user('bob', 'tv', 'TCP')]
    await begin(node, { messageId: 'us', payload: 'us', regions: ['us'] })
    t.match(await look(node, 'us'), { state: 'done', nodes: [] })
    await begin(node, { messageId: 'web', payload: 'web', platforms: ['web'] })
    t.match(await ended(node, 'web'), { sent: 1 })
    await begin(node, { messageId: 'both', payload: 'both', platforms: ['web', 'tv'], regions: ['us', 'local'] })
    t.match(await ended(node, 'both'), { sent: 2 })
    const payloads = [await web.next(), await web.next(), await tv.next()].map(({ payload }) => String(payload))
    t.strictSame(payloads, ['web', 'both', 'both'])
  })

  await t.test('goes at its pace, is taken by who comes meanwhile, and can be cancelled', async t => {
    await begin(node, { messageId: 'slow', payload: 'slow', perSecond: 1, platforms: ['late'] })
    await begin(node, { messageId: 'slower', payload: 'slower', perSecond: 1 })
    t.match(await look(node, 'slower'), { state: 'running', perSecond: 1 })
    t.equal((await node.request('DELETE', '/v1/broadcasts/slower?reason=enough')).status, 202)
    const info = await ended(node, 'slower')
    t.match(info, { state: 'cancelled', nodes: [{ state: 'cancelled' }] })
    t.ok(info.sent <= 3 && info.left > 0, `${info.sent} sent, ${info.left} left`)
    t.equal((await node.request('DELETE', '/v1/broadcasts/slower')).status, 202, 'one that is over')
    t.match(await ended(node, 'slow'), { state: 'done', sent: 0 }, 'and those that are not for it take no time')
  })

  await t.test('expires', async () => {
    await begin(node, { messageId: 'short', payload: 'short', perSecond: 1, ttlMs: 300 })
    t.match(await ended(node, 'short'), { state: 'expired', nodes: [{ state: 'expired' }] })
  })

  await t.test('is one of eight at most', async t => {
    for (let i = 0; i < 8; i++) await begin(node, { messageId: `b${i}`, payload: 'x', perSecond: 1 })
    t.match(await node.request('POST', '/v1/broadcasts', { payload: 'x' }), { status: 503, json: { code: 'overloaded' } })
    t.match(await begin(node, { messageId: 'b7', payload: 'x' }), { status: 'duplicate' })
    for (let i = 0; i < 8; i++) await node.request('DELETE', `/v1/broadcasts/b${i}`)
    t.match(await begin(node, { messageId: 'b8', payload: 'x' }), { status: 'queued' })
  })

  await t.test('is one of eight at most, where many are asked for at the same time', async t => {
    const asked = Array.from({ length: 40 }, (_, i) =>
      node.request('POST', '/v1/broadcasts', { messageId: `p${i}`, payload: 'x', perSecond: 1 }))
    const statuses = (await Promise.all(asked)).map(({ status }) => status)
    t.strictSame([202, 503].map(status => statuses.filter(each => each === status).length), [8, 32])
    for (const [i, status] of statuses.entries()) {
      if (status !== 202) continue
      t.match(await look(node, `p${i}`), { state: 'running' })
      await node.request('DELETE', `/v1/broadcasts/p${i}`)
    }
    const same = { messageId: 'same', payload: 'x' }
    const both = await Promise.all([begin(node, same), begin(node, same), begin(node, { ...same, payload: 'y' })])
    t.strictSame(both.map(({ status }) => status), ['queued', 'duplicate', 'conflict'])
  })

  const wrong: Record<string, [status: number, body: object]> = {
    'no payload': [400, {}],
    'a long messageId': [400, { payload: 'x', messageId: 'm'.repeat(257) }],
    'a pace of 0': [400, { payload: 'x', perSecond: 0 }],
    'a pace of 10,001': [400, { payload: 'x', perSecond: 10_001 }],
    'more than an hour': [400, { payload: 'x', ttlMs: 3_600_001 }],
    'an empty platform': [400, { payload: 'x', platforms: [''] }],
    '101 regions': [400, { payload: 'x', regions: Array.from({ length: 101 }, (_, i) => `r${i}`) }],
    'a field that there is not': [400, { payload: 'x', userIds: ['ann'] }],
    'a payload that no frame can carry': [413, { payload: 'x'.repeat(65_536) }],
  }
  for (const [what, [status, body]] of Object.entries(wrong)) {
    await t.test(`with ${what} is refused`, async t => {
      t.equal((await node.request('POST', '/v1/broadcasts', body)).status, status)
    })
  }

  await t.test('that nobody asked for is not there', async t => {
    for (const method of ['GET', 'DELETE']) {
      t.match(await node.request(method, '/v1/broadcasts/none'), { status: 404, json: { code: 'not-found' } })
    }
  })
})

t.test('A broadcast and a node that starts again', async t => {
  const directory = join(t.testdir({ data: {} }), 'data')
  const start = async (t: Test) => await startTestNode(t, { LEDGERLINE_DATA: directory, LEDGERLINE_DRAIN_MS: '0' })
  const first = await start(t)
  await connected(t, first, 'TCP', 'ann')
  await begin(first, { messageId: 'm1', payload: 'done' })
  await ended(first, 'm1')
  for (let i = 0; i < 5; i++) await connected(t, first, 'TCP', `user ${i}`)
  await begin(first, { messageId: 'm2', payload: 'broken off', perSecond: 1 })
  await first.stop()

  const again = await start(t)
  const { client } = await connected(t, again, 'TCP', 'ann', { sessionId: 's2' })
  t.match(await begin(again, { messageId: 'm1', payload: 'done' }), { status: 'duplicate' })
  t.match(await look(again, 'm1'), { state: 'done', sent: 1 })
  t.match(await look(again, 'm2'), { state: 'done', nodes: [{ nodeId: 'n1', state: 'gone' }] }, 'the connections that it was for are gone')
  await begin(again, { messageId: 'm3', payload: 'new' })
  const { payload } = await client.next()
  t.equal(String(payload), 'new', 'neither of the others comes to new connections')
})
