import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createClient, inMemory } from '../../client/node.js'
import type { Client, ClientOptions } from '../../client/node.js'
import { complaintsOf } from '../lasting.js'
import { startTestNode, type TestNode, until } from './node.js'

const run = promisify(execFile)
const script = fileURLToPath(new URL('../../../test/gateway/edge/foreign/rooms_conversation.py', import.meta.url))
const python = ['python3', '/usr/bin/python3'].find(each => spawnSync(each, ['-c', 'import websockets']).status === 0)

const anything = { '*': 'rw' }

async function given (
  t: Test, node: TestNode, userId: string, rooms: object, options: Partial<ClientOptions> = {}
): Promise<Client> {
  const token = await node.token(userId, { rooms })
  const endpoints = [`tcp://127.0.0.1:${node.tcpPort}`]
  const client = createClient({ endpoints, getToken: () => token, deviceId: 'phone', ...options })
  t.teardown(() => client.close())
  return client.connect()
}

/** What the client hears in the room, in short. */
function listen (client: Client, roomId: string): string[] {
  const heard: string[] = []
  client.room(roomId).on('post', post => { heard.push(`${post.roomSeq} ${post.from}: ${post.text()}`) })
  client.room(roomId).on('missed', ({ count }) => { heard.push(`missed ${count}`) })
  return heard
}

t.test('A room of a node', async t => {
  t.test('gives the same posts in the same order to all who are in it', async t => {
    const node = await startTestNode(t)
    const ws = { endpoints: [`${node.http.replace('http', 'ws')}/v1/connect`] }
    const [ann, bob] = [await given(t, node, 'ann', anything), await given(t, node, 'bob', anything, ws)]
    const heard = [ann, bob].map(client => listen(client, 'chat:7'))
    await until('both are in', () => ann.room('chat:7').isJoined && bob.room('chat:7').isJoined)
    await Promise.all([ann, bob].flatMap((client, i) =>
      Array.from({ length: 50 }, (_, n) => client.room('chat:7').post(`${i}.${n}`))))
    await until('all have come', () => heard.every(each => each.length === 100))
    t.strictSame(heard[0], heard[1])
    t.strictSame(heard[0]!.map(each => Number(each.split(' ')[0])), Array.from({ length: 100 }, (_, i) => i + 1))
    for (const who of ['ann', 'bob']) {
      const said = heard[0]!.filter(each => each.includes(` ${who}: `)).map(each => Number(each.split('.')[1]))
      t.strictSame(said, Array.from({ length: 50 }, (_, n) => n), `${who} is heard in the order in which ${who} posted`)
    }
    t.strictSame(complaintsOf(node.logged), [])
  })

  t.test('has kept what a member missed', async t => {
    const node = await startTestNode(t)
    const storage = inMemory()
    const ann = await given(t, node, 'ann', anything)
    const first = await given(t, node, 'bob', anything, { storage })
    const before = listen(first, 'chat:7')
    await until('bob is in', () => first.room('chat:7').isJoined)
    await ann.room('chat:7').post('a')
    await until('he has heard it', () => before.length === 1)
    await first.close()
    for (const text of ['b', 'c']) await ann.room('chat:7').post(text)
    const again = await given(t, node, 'bob', anything, { storage })
    const after = listen(again, 'chat:7')
    await until('he has heard the rest', () => after.length === 2)
    t.strictSame([...before, ...after], ['1 ann: a', '2 ann: b', '3 ann: c'])
    const late = await given(t, node, 'cid', anything)
    const heard = listen(late, 'chat:7')
    await until('cid is in', () => late.room('chat:7').isJoined)
    await ann.room('chat:7').post('d')
    await until('he has heard it', () => heard.length > 0)
    t.strictSame(heard, ['4 ann: d'], 'who was never there begins with the next post')
  })

  t.test('takes no post of who has not the right, and what is behind it gets in', async t => {
    const node = await startTestNode(t)
    const ann = await given(t, node, 'ann', { 'chat:*': 'rw', news: 'r' })
    const heard = listen(ann, 'chat:7')
    await until('ann is in', () => ann.room('chat:7').isJoined)
    const refused = ann.room('news').post('not mine to say')
    const behind = ann.room('chat:7').post('hello')
    await t.rejects(refused, { name: 'ClientError', code: 'forbidden' })
    await behind
    await until('it has come', () => heard.length === 1)
    t.strictSame(heard, ['1 ann: hello'])
  })

  t.test('is there as it was when the node has started again', async t => {
    const dataDir = t.testdir()
    const environment = { LEDGERLINE_DATA: dataDir }
    const storage = inMemory()
    const node = await startTestNode(t, environment)
    const ann = await given(t, node, 'ann', anything, { storage })
    const before = listen(ann, 'chat:7')
    await until('ann is in', () => ann.room('chat:7').isJoined)
    for (const text of ['a', 'b']) await ann.room('chat:7').post(text)
    await until('both have come', () => before.length === 2)
    await ann.close()
    await node.stop()
    const restarted = await startTestNode(t, environment)
    const bob = await given(t, restarted, 'bob', anything)
    await bob.room('chat:7').post('c')
    const again = await given(t, restarted, 'ann', anything, { storage })
    const after = listen(again, 'chat:7')
    await until('the third has come', () => after.length === 1)
    t.strictSame([...before, ...after], ['1 ann: a', '2 ann: b', '3 bob: c'])
  })

  t.test('is open to a client in Python, through websockets alone', {
    skip: python ? false : 'needs Python with websockets: apt install python3-websockets',
  }, async t => {
    const node = await startTestNode(t)
    const ann = await given(t, node, 'ann', anything)
    await ann.room('chat:7').post('hello')
    const token = await node.token('snake', { rooms: { 'chat:7': 'rw', news: 'r' } })
    const { stdout } = await run(python!, [script, `${node.http.replace('http', 'ws')}/v1/connect`, 'snake', token])
    t.equal(stdout, 'done\n')
    t.strictSame(complaintsOf(node.logged), [])
  })
})
