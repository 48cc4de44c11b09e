import t, { type Test } from 'tap'
import { createClient } from '../../client/node.js'
import { createService, type GroupRecord } from '../../service/service.js'
import { drawn, givenKeyFile } from '../gateway/keys/given.js'
import { startTestNode, type TestNode, until } from '../gateway/node.js'

const key = 'the-key-of-a-test-node'

async function connectedTo (t: Test, node: TestNode) {
  const token = await node.token('ann')
  const client = createClient({ endpoints: `ws://127.0.0.1:${node.httpPort}`, getToken: () => token, deviceId: 'phone' })
  t.teardown(() => client.close())
  client.connect()
  return client
}

t.test('A reader of a group', async t => {
  await t.test('answers what groups, rooms and streams have under the same id, each with a downlink of its own', async t => {
    const node = await startTestNode(t)
    const service = createService({ url: node.api, apiKey: key })
    const client = await connectedTo(t, node)
    const got: string[] = []
    client.on('downlink', ({ text }) => { got.push(text()) })
    await client.send('hello')
    await service.post('ann', { payload: 'hello' })
    const ending = new AbortController()
    const first = async <Name extends 'uplinks' | 'presence' | 'posts'>(group: string, stream: Name) => {
      const { value } = await service.group(group).read(stream, { signal: ending.signal }).next()
      return value as GroupRecord<Name>
    }
    const records = [
      await first('bots', 'uplinks'), await first('bots', 'presence'), await first('bots', 'posts'), await first('orders', 'uplinks'),
    ]
    const replyTo = (i: number) => ({ payload: `answer ${i}`, ...i === 2 && { userIds: ['ann'] } })
    const acked = await Promise.all(records.map((record, i) => record.ack({ replies: [replyTo(i)] })))
    t.strictSame(acked, [true, true, true, true])
    await until('all have come', () => got.length === 4)
    t.strictSame(got.sort(), [0, 1, 2, 3].map(i => `answer ${i}`))
    ending.abort()
  })

  await t.test('acks with a key that may not push, also what goes beside an answer that is refused', async t => {
    const reader = drawn({ scopes: ['read'] })
    const file = await givenKeyFile(t, [reader.stored])
    const node = await startTestNode(t, { LEDGERLINE_API_KEYS_FILE: file.path })
    const service = createService({ url: node.api, apiKey: reader.key })
    const client = await connectedTo(t, node)
    for (const text of ['a', 'b', 'c']) await client.send(text)
    const ending = new AbortController()
    const acks: Array<Promise<boolean>> = []
    for await (const uplink of service.group('bots').read('uplinks', { signal: ending.signal })) {
      acks.push(uplink.ack(acks.length === 2 ? { replies: [{ payload: 'x' }] } : {}))
      if (acks.length === 3) break
    }
    const told = await Promise.allSettled(acks)
    t.match(told, [{ value: true }, { value: true }, { reason: { code: 'forbidden', message: /scope push/ } }])
    ending.abort()
  })
})
