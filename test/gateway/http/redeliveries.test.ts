import t, { type Test } from 'tap'
import type { RedeliveryAnswer, RedeliveryCommand } from '../../../gateway/redelivery.js'
import { alive, connected, type Speaker } from '../edge/dialects.js'
import { startTestNode, type TestNode } from '../node.js'
import { givenApp, key } from './given.js'

t.test('A request for redelivery', async t => {
  const asked: RedeliveryCommand[] = []
  const { app } = givenApp(t, {
    redeliver: async command => {
      asked.push(command)
      const { requestId, fromSeq, toSeq } = command
      return { requestId, redelivered: [{ messageId: 'm1', seq: fromSeq, position: '3@1.0' }], notFound: [toSeq] }
    },
  })
  const post = async (payload: object) =>
    await app.inject({ method: 'POST', url: '/v1/users/ann/redeliveries', headers: key, payload })

  await t.test('is handed on, with a time to live and an id where it names none', async t => {
    const response = await post({ deviceId: 'phone', fromSeq: 1, toSeq: 2 })
    t.equal(response.statusCode, 202)
    t.match(asked, [{ userId: 'ann', deviceId: 'phone', fromSeq: 1, toSeq: 2, ttlMs: 7 * 86_400_000, requestId: /^[\w-]{36}$/ }])
    t.strictSame(response.json(), {
      requestId: asked[0]!.requestId, redelivered: [{ messageId: 'm1', seq: 1, position: '3@1.0' }], notFound: [2],
    })
    await post({ deviceId: 'phone', fromSeq: 1, toSeq: 1000, ttlMs: 5, requestId: 'r1' })
    t.match(asked[1], { ttlMs: 5, requestId: 'r1' })
  })
  const bad: object[] = [
    {}, { deviceId: '', fromSeq: 1, toSeq: 1 }, { deviceId: 'd', fromSeq: 0, toSeq: 1 }, { deviceId: 'd', fromSeq: 2, toSeq: 1 },
    { deviceId: 'd', fromSeq: 1, toSeq: 1001 }, { deviceId: 'd', fromSeq: 1, toSeq: 1, ttlMs: 0 },
    { deviceId: 'd', fromSeq: 1, toSeq: 1, requestId: '' }, { deviceId: 'd', fromSeq: 1, toSeq: 1, all: true },
  ]
  for (const body of bad) {
    await t.test(`with ${JSON.stringify(body)} is a bad request`, async t => {
      t.match((await post(body)).json(), { statusCode: 400, code: 'bad-request' })
    })
  }
  await t.test('wants an API key', async t => {
    const payload = { deviceId: 'd', fromSeq: 1, toSeq: 1 }
    t.equal((await app.inject({ method: 'POST', url: '/v1/users/ann/redeliveries', payload })).statusCode, 401)
  })
})

t.test('A redelivery by a running gateway', async t => {
  const node = await startTestNode(t)

  await t.test('brings an acked downlink again, under a new seq, and once for each request', async t => {
    const client = await givenAcked(t, node, 'ann')
    const { status, json } = await redeliver(node, 'ann', { fromSeq: 2, toSeq: 9, requestId: 'r1' })
    t.equal(status, 202)
    t.match(json, {
      requestId: 'r1',
      redelivered: [{ messageId: 'm2', seq: 2, position: /^\d+@\d+\.\d+$/ }, { messageId: 'm3', seq: 3 }],
      notFound: [4, 5, 6, 7, 8, 9],
    })
    t.match(await client.next(), { op: 'downlink', seq: 4, messageId: 'm2', payload: 'text 2' })
    t.match(await client.next(), { op: 'downlink', seq: 5, messageId: 'm3', payload: 'text 3' })

    const again = await redeliver(node, 'ann', { fromSeq: 2, toSeq: 3, requestId: 'r1' })
    t.strictSame(again.json, { ...json as RedeliveryAnswer, notFound: [] }, 'the same request stands where it stood')
    await alive(t, client)

    await redeliver(node, 'ann', { fromSeq: 5, toSeq: 5, requestId: 'r2' })
    t.match(await client.next(), { op: 'downlink', seq: 6, messageId: 'm3' }, 'what was redelivered can be redelivered')

    const { redelivered } = (await redeliver(node, 'ann', { fromSeq: 3, toSeq: 6 })).json as RedeliveryAnswer
    t.match(redelivered.map(({ seq, messageId }) => `${seq} ${messageId}`), ['3 m3', '4 m2', '5 m3', '6 m3'])
    t.equal(redelivered[2]!.position, redelivered[0]!.position, 'a message with several numbers goes once')
    t.strictSame([await client.next(), await client.next()].map(({ seq, messageId }) => `${seq} ${messageId}`), ['7 m3', '8 m2'])
  })
  await t.test('waits for a device that is offline', async t => {
    const client = await givenAcked(t, node, 'bob')
    await node.gone(() => { client.destroy() })
    await redeliver(node, 'bob', { fromSeq: 1, toSeq: 1 })
    const { client: back, welcome } = await connected(t, node, 'TCP', 'bob', { downlinkSeq: 3 })
    t.match(welcome, { resumed: true, downlinkSeq: 3 })
    t.match(await back.next(), { op: 'downlink', seq: 4, messageId: 'm1', payload: 'text 1' })
  })
  await t.test('brings back what expired while it had a number', async t => {
    const { client } = await connected(t, node, 'TCP', 'cid')
    await node.push('cid', 'lost', { messageId: 'm1', ttlMs: 1 })
    await client.next()
    await node.gone(() => { client.destroy() })
    const { client: back, welcome } = await connected(t, node, 'TCP', 'cid')
    t.match(welcome, { downlinkSeq: 1, missed: 1 })
    await redeliver(node, 'cid', { fromSeq: 1, toSeq: 1 })
    t.match(await back.next(), { op: 'downlink', seq: 2, messageId: 'm1', payload: 'lost' })
  })
  await t.test('is not found for a device or a user who is not known', async t => {
    t.match(await redeliver(node, 'ann', { deviceId: 'pc', fromSeq: 1, toSeq: 1 }), { status: 404, json: { code: 'not-found' } })
    t.match(await redeliver(node, 'nobody', { fromSeq: 1, toSeq: 1 }), { status: 404 })
  })
  await t.test('is refused where its id was a request for another device', async t => {
    const { client } = await connected(t, node, 'TCP', 'ann', { deviceId: 'pad', sessionId: 's2' })
    t.match(await redeliver(node, 'ann', { deviceId: 'pad', fromSeq: 1, toSeq: 1, requestId: 'r1' }), {
      status: 400, json: { code: 'bad-request', message: /r1 was a redelivery to device phone/ },
    })
    client.destroy()
  })
  await t.test('of many large downlinks brings them all', async t => {
    const { client } = await connected(t, node, 'TCP', 'dan')
    const payload = 'x'.repeat(50_000)
    for (let i = 1; i <= 12; i++) {
      await node.push('dan', payload, { messageId: `m${i}` })
      await client.next()
    }
    client.send({ op: 'downlinkAck', seq: 12 })
    const { json } = await redeliver(node, 'dan', { fromSeq: 1, toSeq: 12 })
    const { redelivered } = json as RedeliveryAnswer
    t.equal(new Set(redelivered.map(({ position }) => position)).size, 12)
    for (let i = 1; i <= 12; i++) t.match(await client.next(), { seq: 12 + i, messageId: `m${i}` })
  })
})

/** A client that has acked three downlinks. */
async function givenAcked (t: Test, node: TestNode, userId: string): Promise<Speaker> {
  const { client } = await connected(t, node, 'TCP', userId)
  for (let i = 1; i <= 3; i++) {
    await node.push(userId, `text ${i}`, { messageId: `m${i}` })
    t.match(await client.next(), { op: 'downlink', seq: i })
  }
  client.send({ op: 'downlinkAck', seq: 3 })
  return client
}

async function redeliver (node: TestNode, userId: string, body: object) {
  return await node.request('POST', `/v1/users/${userId}/redeliveries`, { deviceId: 'phone', ...body })
}
