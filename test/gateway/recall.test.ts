import t from 'tap'
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
    t.match(await recall('m1'), { status: 202, json: { userId: 'ann', messageId: 'm1', position: /^\d+@\d+\.\d+$/ } })
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
    t.equal((await recall('m2')).status, 202)
    const { client } = await connected(t, node, 'WebSocket JSON', 'ann')
    t.match(await client.next(), { op: 'downlink', seq: 1, messageId: 'm2' })
  })

  await t.test('wants a user and ids that are such', async t => {
    for (const path of ['m1', 'm1?userId=', `m1?userId=ann&requestId=${'r'.repeat(257)}`, 'm%001?userId=ann']) {
      t.equal((await node.request('DELETE', `/v1/downlinks/${path}`)).status, 400, path)
    }
  })
})
