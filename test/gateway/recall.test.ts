import t from 'tap'
import { createClient } from '../../client/node.js'
import { connected } from './edge/dialects.js'
import { startTestNode, until } from './node.js'

t.test('A recall', async t => {
  const node = await startTestNode(t)
  const recall = async (messageId: string, more = '') =>
    await node.request('DELETE', `/v1/downlinks/${messageId}?userId=ann&reason=mistake${more}`)
  const traced = async (messageId: string) =>
    (await node.request('GET', `/v1/users/ann/trace?messageId=${messageId}`)).json as any

  await t.test('takes a downlink back that waits, which is traced, counted and told as a receipt', async t => {
    for (const messageId of ['m1', 'm2']) await node.push('ann', messageId, { messageId, receipts: true })
    t.match(await recall('m1'), {
      status: 202, json: { userId: 'ann', messageId: 'm1', position: /^\d+@\d+\.\d+$/, status: 'recalled', noticeId: undefined },
    })
    const { client } = await connected(t, node, 'WebSocket JSON', 'ann')
    t.match(await client.next(), { op: 'downlink', seq: 1, messageId: 'm2' })
    const { verdict, steps } = await traced('m1')
    t.equal(verdict.code, 'recalled')
    t.ok(steps.some(({ event, text }: any) => event === 'recalled' && /takes it back.*: mistake/.test(text)))
    t.match((await node.request('GET', '/metrics')).text,
      /^ledgerline_downlinks_settled_total\{outcome="dropped",reason="recalled"\} 1$/m)
    await until('its receipt is there', async () => (await node.request('GET', '/v1/streams/receipts')).text
      .includes('"outcome":"dropped","reason":"recalled"'))
    client.destroy()
  })

  await t.test('leaves what has a number', async t => {
    await until('the device is away', async () => ((await node.request('GET', '/v1/users/ann/presence')).json as any).online === false)
    t.match(await recall('m2'), { status: 202, json: { status: 'written' } })
    const { client } = await connected(t, node, 'WebSocket JSON', 'ann')
    t.match(await client.next(), { op: 'downlink', seq: 1, messageId: 'm2' })
  })

  await t.test('tells a device that may have it, whose client tells its application', async t => {
    const token = await node.token('bob')
    const client = createClient({ endpoints: `ws://127.0.0.1:${node.httpPort}`, getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    const told: string[] = []
    client.on('downlink', ({ messageId }) => { told.push(messageId) })
    client.on('recall', ({ messageId }) => { told.push(`recall of ${messageId}`) })
    client.connect()
    await client.ready()
    for (const messageId of ['b1', 'b2']) await node.push('bob', messageId, { messageId })
    await until('both are acked', async () =>
      ((await node.request('DELETE', '/v1/downlinks/b2?userId=bob')).json as any).status === 'ended')
    const json = (await node.request('DELETE', '/v1/downlinks/b1?userId=bob&notify=true&requestId=r1')).json as any
    t.match(json, { status: 'ended', noticeId: /^recall\/[\w-]{22}$/ })
    await node.request('DELETE', '/v1/downlinks/b1?userId=bob&notify=true&requestId=r1')
    await node.push('bob', 'b3', { messageId: 'b3' })
    await until('all is there', () => told.includes('b3'))
    t.strictSame(told, ['b1', 'b2', 'recall of b1', 'b3'], 'in order, and a repeat tells nothing')
    const trace = async (messageId: string) =>
      (await node.request('GET', `/v1/users/bob/trace?messageId=${messageId}`)).json as any
    t.ok((await trace('b1')).steps.some(({ event, text }: any) => event === 'recalled' && text.includes(json.noticeId)))
    await until('the notice is acked', async () => (await trace(json.noticeId)).verdict.code === 'acked')
  })

  await t.test('is part of a downlink that replaces another one, which says what became of that', async t => {
    const push = async (messageId: string, replaces: string) => await node.push('cy', messageId, { messageId, replaces })
    await node.push('cy', 'c1', { messageId: 'c1' })
    t.match(await push('c2', 'c1'), { status: 'queued', replaced: 'recalled' })
    t.match(await push('c2', 'c1'), { status: 'duplicate', replaced: 'recalled' })
    t.match(await push('c3', 'c0'), { status: 'queued', replaced: 'unknown' })
    const { client } = await connected(t, node, 'WebSocket JSON', 'cy')
    t.match(await client.next(), { op: 'downlink', seq: 1, messageId: 'c2' })
    t.match(await client.next(), { op: 'downlink', seq: 2, messageId: 'c3' })
    t.match(await push('c4', 'c3'), { status: 'queued', replaced: 'written' })
    t.match(await client.next(), { op: 'downlink', seq: 3, messageId: 'c4' })
    const lines = await fetch(`${node.api}/v1/downlinks`, {
      method: 'POST',
      headers: { authorization: 'Bearer the-key-of-a-test-node', 'content-type': 'application/x-ndjson' },
      body: '{"messageId":"c5","payload":"x","replaces":"c4"}\n{"userId":"cy"}\n',
    })
    t.match(await lines.text(), '"replaced":"written"')
    const steps = ((await node.request('GET', '/v1/users/cy/trace?messageId=c1')).json as any).steps
    t.ok(steps.some(({ event, text }: any) => event === 'replaced' && text.startsWith('c2')))
    client.destroy()
  })

  await t.test('is refused where a downlink names itself, or is a signal', async t => {
    const body = { to: { userIds: ['ann'] }, messageId: 'm9', payload: 'x' }
    for (const more of [{ replaces: 'm9' }, { replaces: 'm8', delivery: 'signal' }]) {
      t.match(await node.request('POST', '/v1/downlinks', { ...body, ...more }), { status: 400, json: { code: 'bad-request' } })
    }
  })

  await t.test('is the only one to send by the service of recalls, whatever way business sends', async t => {
    const message = { service: 'ledgerline.recall', payload: 'm1' }
    const line = { ...message, to: { userIds: ['ann'] } }
    for (const [path, body] of [['downlinks', line], ['rooms/news/posts', message], ['broadcasts', message]] as const) {
      const wanted = { code: 'bad-request', message: /^service: ledgerline.recall is what the gateway/ }
      t.match(await node.request('POST', `/v1/${path}`, body), { status: 400, json: wanted }, path)
    }
    const lines = await fetch(`${node.api}/v1/downlinks`, {
      method: 'POST',
      headers: { authorization: 'Bearer the-key-of-a-test-node', 'content-type': 'application/x-ndjson' },
      body: '{"payload":"x","service":"ledgerline.recall"}\n{"userId":"cy"}\n',
    })
    t.match(await lines.text(), 'ledgerline.recall is what the gateway')
  })

  await t.test('wants a user and ids that are such', async t => {
    for (const path of ['m1', 'm1?userId=', `m1?userId=ann&requestId=${'r'.repeat(257)}`, 'm%001?userId=ann']) {
      t.equal((await node.request('DELETE', `/v1/downlinks/${path}`)).status, 400, path)
    }
  })
})
