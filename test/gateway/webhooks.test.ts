import { writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { createClient } from '../../client/node.js'
import { signedToken, startTestNode, type TestNode, until } from './node.js'
import { type Receiver, secret, startReceiver } from './webhooks/receiver.js'
import { run } from '../cli/given.js'
import { complaintsOf } from '../lasting.js'

async function connected (t: Test, node: TestNode, userId: string, token = node.token(userId)) {
  const client = createClient({
    endpoints: [`tcp://127.0.0.1:${node.tcpPort}`], getToken: () => token, deviceId: 'phone', platform: 'ios',
  })
  t.teardown(() => client.close())
  const ready = new Promise(resolve => client.on('connected', resolve))
  client.connect()
  await ready
  return client
}

const entry = (receiver: Receiver, more: object = {}) =>
  ({ name: 'crm', url: receiver.url, secret, streams: ['uplinks'], ...more })

const given = async (t: Test, ...webhooks: object[]) =>
  await startTestNode(t, { LEDGERLINE_WEBHOOKS: JSON.stringify(webhooks) })

const seqsOf = (receiver: Receiver, userId: string) =>
  receiver.taken.filter(({ data }) => data.userId === userId).map(({ data }) => data.userSeq)

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

t.test('A webhook of a node', async t => {
  t.test('is told of each uplink, in order for each user, as GET /v1/uplinks shows it', async t => {
    const receiver = await startReceiver(t)
    const node = await given(t, entry(receiver))
    const [ann, bob] = [await connected(t, node, 'ann'), await connected(t, node, 'bob')]
    await Promise.all(upTo(30).flatMap(n => [ann.send(`a${n}`, { service: 'orders' }), bob.send(`b${n}`)]))
    await until('all have come', () => receiver.taken.length >= 60)
    t.strictSame(seqsOf(receiver, 'ann'), upTo(30))
    t.strictSame(seqsOf(receiver, 'bob'), upTo(30))
    t.strictSame(receiver.forged, [])
    const { text } = await node.request('GET', '/v1/uplinks')
    const lines = text.trim().split('\n').map(line => JSON.parse(line)).map(({ cursor, ...uplink }) => uplink)
    const byPlace = (a: any, b: any) => a.userId.localeCompare(b.userId) || a.userSeq - b.userSeq
    t.strictSame(receiver.taken.map(({ data }) => data).sort(byPlace), lines.sort(byPlace))
    const [{ headers, events: [event] }] = receiver.received as any
    t.equal(headers['webhook-id'], event.id)
    t.match(event, { id: /^msg_/, type: 'uplink.accepted', timestamp: new Date(event.data.receivedAtMs).toISOString() })
    t.strictSame(complaintsOf(node.logged), [])
  })

  t.test('has batches as arrays, and only what it asks for', async t => {
    const receiver = await startReceiver(t)
    const node = await given(t, entry(receiver, { batch: 10, lingerMs: 100, services: ['orders'], users: ['ann'] }))
    const [ann, bob] = [await connected(t, node, 'ann'), await connected(t, node, 'bob')]
    for (const n of upTo(25)) {
      await Promise.all([ann.send(`a${n}`, { service: 'orders' }), ann.send('no', { service: 'news' }), bob.send('no', { service: 'orders' })])
    }
    await until('all have come', () => receiver.taken.length >= 25)
    t.strictSame(receiver.taken.map(({ data }) => data.payload), upTo(25).map(n => `a${n}`))
    t.ok(receiver.received.every(({ body, events }) => body.startsWith('[') && events.length <= 10))
    t.ok(receiver.received.every(({ headers }) => /^batch_/.test(headers['webhook-id'] as string)))
    t.ok(receiver.received.length < 25)
  })

  t.test('is told of the ends of connections, of posts in rooms and of nodes', async t => {
    const receiver = await startReceiver(t)
    const node = await given(t, entry(receiver, { streams: ['connections', 'posts', 'nodes'] }))
    const ann = await connected(t, node, 'ann')
    await node.request('POST', '/v1/rooms/chat/posts', { payload: 'hello', service: 'chat' })
    await ann.close()
    const typed = (type: string) => receiver.taken.find(event => event.type === type)?.data
    await until('all have come', () => typed('connection.ended') && typed('room.posted') && typed('node.started'))
    t.match(typed('connection.ended'), { userId: 'ann', deviceId: 'phone', code: String })
    t.match(typed('room.posted'), { roomId: 'chat', roomSeq: 1, from: null, service: 'chat', payload: 'hello' })
    t.match(typed('node.started'), { nodeId: 'n1', fact: { type: 'NodeStarted' } })
  })

  t.test('of an app is told of that app\'s users alone, and the default one\'s of its own', async t => {
    const [ours, shops] = [await startReceiver(t), await startReceiver(t)]
    const shopSecret = 'the secret of the shop, and of nobody else'
    const node = await startTestNode(t, {
      LEDGERLINE_APPS: JSON.stringify([{ name: 'shop', issuers: [{ issuer: 'shop', secret: shopSecret }] }]),
      LEDGERLINE_WEBHOOKS: JSON.stringify([entry(ours), entry(shops, { name: 'shop', app: 'shop' })]),
    })
    const token = signedToken({ sub: 'ann', iss: 'shop' }, { secret: shopSecret })
    const [ann, annOfShop] = [await connected(t, node, 'ann'), await connected(t, node, 'ann', token)]
    await Promise.all([ann.send('ours'), annOfShop.send('the shop\'s')])
    await until('both have come', () => ours.taken.length > 0 && shops.taken.length > 0)
    await ann.send('last')
    await until('the last one has come', () => ours.taken.length === 2)
    t.strictSame(ours.taken.map(({ data }) => [data.app, data.payload]), [[undefined, 'ours'], [undefined, 'last']])
    t.strictSame(shops.taken.map(({ data }) => [data.app, data.payload]), [['shop', 'the shop\'s']])
  })

  t.test('that refuses a record has the others; ledgerline redeliver --webhook sends that one again, once', async t => {
    const receiver = await startReceiver(t)
    const node = await given(t, entry(receiver, { batch: 5, lingerMs: 50 }))
    const isBad = ({ data }: { data: any }) => data.userSeq === 3
    receiver.answer = ({ events }) => events.some(isBad) ? 422 : 204
    const ann = await connected(t, node, 'ann')
    await Promise.all(upTo(10).map(n => ann.send(`a${n}`)))
    await until('the others have come', () => receiver.taken.length >= 9)
    t.strictSame(seqsOf(receiver, 'ann'), upTo(10).filter(n => n !== 3))
    const undelivered = async () => {
      const { json } = await node.request('GET', '/v1/topics')
      return (json as any).topics.find(({ stream }: any) => stream === 'undelivered').blocks
    }
    await until('it is kept', async () => await undelivered() === 1)

    const redeliver = async () => await run(['redeliver', '--webhook', 'crm', '--json'], {
      cwd: t.testdir(), env: { LEDGERLINE_URL: node.http, LEDGERLINE_API_KEYS: 'the-key-of-a-test-node' },
    })
    const refusedAgain = await redeliver()
    t.strictSame(JSON.parse(refusedAgain.stdout), { webhook: 'crm', sent: 1, undelivered: 1 })
    receiver.answer = () => 204
    const before = receiver.received.length
    const taken = await redeliver()
    t.strictSame(JSON.parse(taken.stdout), { webhook: 'crm', sent: 1, undelivered: 0 })
    t.strictSame(receiver.received.slice(before).map(({ events }) => events.map(({ data }) => data.userSeq)), [[3]])
    const ids = receiver.received.flatMap(({ events }) => events).filter(isBad).map(({ id }) => id)
    t.equal(new Set(ids).size, 1, 'it has the id that it always had')
    t.strictSame(JSON.parse((await redeliver()).stdout), { webhook: 'crm', sent: 0, undelivered: 0 })
    t.equal((await node.request('POST', '/v1/webhooks/other/redeliveries')).status, 404)
    const { code, stderr } = await run(['redeliver', '--webhook', 'crm', '--device', 'phone'], {
      cwd: t.testdir(), env: { LEDGERLINE_URL: node.http },
    })
    t.not(code, 0)
    t.match(stderr, /want --webhook, or USER/)
  })

  t.test('that is away has all once it is back; /readyz, lag and metrics show it meanwhile', async t => {
    const receiver = await startReceiver(t)
    const { port } = receiver
    await receiver.close()
    const node = await given(t, entry(receiver))
    const ann = await connected(t, node, 'ann')
    const others = await Promise.all(upTo(4).map(n => connected(t, node, `user ${n}`)))
    await Promise.all([...upTo(20).map(n => ann.send(`a${n}`)), ...others.map(other => other.send('hello'))])
    const metric = async (name: string) => {
      const { text } = await node.request('GET', '/metrics')
      return Number(new RegExp(`^ledgerline_${name} (.*)$`, 'm').exec(text)?.[1])
    }
    await until('its circuit is open', async () => await metric('circuit_state{dependency="webhook-crm"}') > 0)
    const lag = async () => {
      const { json } = await node.request('GET', '/v1/lag')
      return (json as any).followers.find(({ follower }: any) => follower === 'group webhooks.crm')
    }
    t.match(await lag(), { stream: 'uplinks', blocks: Number })
    t.ok((await lag()).blocks > 0)
    t.ok(await metric('webhook_lag_seconds{webhook="crm"}') > 0)
    await until('it is told of', async () => {
      const { json } = await node.request('GET', '/v1/health')
      return (json as any).troubles.some(({ condition, what }: any) => condition === 'webhooks' && what === 'crm')
    })
    t.equal((await node.request('GET', '/readyz')).status, 200, 'others would do no better')
    t.match((await node.request('GET', '/v1/webhooks')).json, {
      webhooks: [{ name: 'crm', state: 'waiting', reason: /ECONNREFUSED/, url: `http://127.0.0.1:${port}` }],
    })
    const back = await startReceiver(t, port)
    await until('all have come', () => back.taken.length >= 24)
    t.strictSame(seqsOf(back, 'ann'), upTo(20))
    await until('it is not behind', async () => (await lag()).blocks === 0)
    await until('it is well', async () => await metric('condition_seconds{condition="webhooks"}') === 0)
    t.equal(await metric('webhook_records_total{webhook="crm",outcome="delivered"}'), 24)
    t.equal(await metric('webhook_lag_seconds{webhook="crm"}'), 0)
  })

  t.test('that answered 410 gets nothing until its entry in the file changes, and then what waited', async t => {
    const receiver = await startReceiver(t)
    const file = `${t.testdir({ 'webhooks.json': JSON.stringify([entry(receiver)]) })}/webhooks.json`
    const node = await startTestNode(t, { LEDGERLINE_WEBHOOKS: file })
    receiver.answer = () => 410
    const ann = await connected(t, node, 'ann')
    const state = async () => ((await node.request('GET', '/v1/webhooks')).json as any).webhooks.map(({ state }: any) => state)
    await ann.send('one')
    await until('it is disabled', async () => (await state())[0] === 'disabled')
    await ann.send('two')
    receiver.answer = () => 204
    t.equal(receiver.received.length, 1)

    await writeFile(file, 'something else')
    await until('the file is told of', () => node.logged.some(({ condition }) => condition === 'webhooks'))
    t.strictSame(await state(), ['disabled'], 'those read last stay')
    await writeFile(file, JSON.stringify([entry(receiver, { timeoutMs: 5_000 }), entry(receiver, { name: 'more', since: '2999-01-01T00:00:00Z' })]))
    await until('both have come', () => receiver.taken.length === 2)
    t.strictSame(seqsOf(receiver, 'ann'), [1, 2])
    await until('both are there', async () => (await state()).length === 2)
    await writeFile(file, '[]')
    await until('none is there', async () => (await state()).length === 0)
  })

  t.test('may answer with downlinks, each of which is sent once, however often it is given', async t => {
    const receiver = await startReceiver(t)
    const node = await given(t, entry(receiver, { reply: true }))
    let attempts = 0
    receiver.answer = ({ events: [event] }, response) => {
      const downlinks = [{ payload: `you said ${event!.data.payload}` }, { payload: 'bye', inReplyTo: event!.id }]
      response.writeHead(200)
      // The first answer is cut off behind its last byte but one: it is asked for again.
      const text = JSON.stringify({ downlinks })
      if (++attempts > 1) return response.end(text) as unknown as void
      response.write(text.slice(0, -1), () => { response.destroy() })
    }
    const heard: string[] = []
    const ann = await connected(t, node, 'ann')
    ann.on('downlink', downlink => { heard.push(`${downlink.messageId} ${downlink.text()}`) })
    await ann.send('hello')
    await until('the answer has come', () => heard.length >= 2)
    const id = receiver.received[0]!.events[0]!.id
    t.strictSame(heard, [`webhook/crm/${id}/reply/0 you said hello`, `webhook/crm/${id}/reply/1 bye`])
    t.ok(attempts >= 2)
    receiver.answer = (_, response) => { response.writeHead(200).end('{"downlinks":[{"payload":7}]}') }
    await ann.send('wrong')
    const metric = async () => (await node.request('GET', '/metrics')).text.includes('webhook_replies_refused_total{webhook="crm"} 1')
    await until('it is told of', metric)
    t.equal(heard.length, 2)
  })

  t.test('that retention has passed is told of, with the place, and goes on behind it', async t => {
    const receiver = await startReceiver(t)
    const node = await startTestNode(t, {
      LEDGERLINE_RETENTION_BYTES: '2000000',
      LEDGERLINE_WEBHOOKS: JSON.stringify([entry(receiver, { streams: ['posts'], batch: 100 })]),
    })
    receiver.answer = () => 503
    const payload = 'y'.repeat(50_000)
    for (let i = 0; i < 200; i++) await node.request('POST', '/v1/rooms/room/posts', { messageId: `${i}`, payload })
    receiver.answer = () => 204
    await until('the last one has come', () => receiver.taken.some(({ data }) => data.roomSeq === 200))
    const [webhook] = ((await node.request('GET', '/v1/webhooks')).json as any).webhooks
    t.equal(webhook.deletedBlocks, 200 - receiver.taken.length)
    t.ok(webhook.deletedBlocks > 0)
    t.equal(webhook.url, new URL(receiver.url).origin, 'a path may hold a secret')
    t.match((await node.request('GET', '/metrics')).text, `webhook_deleted_blocks_total{webhook="crm"} ${webhook.deletedBlocks}\n`)
    const told = ({ condition, what }: any) => condition === 'webhooks' && what === 'crm, deleted'
    await until('the condition tells of it', async () => {
      const found = ((await node.request('GET', '/v1/health')).json as any).troubles.find(told)
      return /has deleted \d+ blocks of its streams before it took them, the last ones of posts from \d+@/.test(found?.reason ?? '')
    })
  })
})
