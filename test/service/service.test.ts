import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createClient } from '../../client/node.js'
import { createService, type Pushed } from '../../service/service.js'
import { findPort } from '../cluster/server-process.js'
import { apiKey, startProcess } from '../faults/node-process.js'
import { startTestNode, until } from '../gateway/node.js'

const key = 'the-key-of-a-test-node'

t.test('A service', async t => {
  await t.test('sends to users, to many of them, and into rooms, and asks who is there', async t => {
    const node = await startTestNode(t)
    const service = createService({ url: node.api, apiKey: key })
    const [pushed] = await service.push(['ann'], { payload: Buffer.of(0xff), messageId: 'm1' })
    t.match(pushed, { userId: 'ann', status: 'queued', position: /^\d+@/ })
    t.match(await service.push(['ann'], { payload: Buffer.of(0xff), messageId: 'm1' }), [{ status: 'duplicate' }])
    const told: Pushed[] = []
    const users = Array.from({ length: 3_000 }, (_, i) => `user-${i}`)
    for await (const user of service.pushMany({ payload: 'hi' }, users)) told.push(user)
    t.strictSame(told.map(({ userId }) => userId).sort(), users.sort())
    t.ok(told.every(({ status }) => status === 'queued'))
    t.match(await service.presence(['ann', 'nobody']), [{ userId: 'ann', online: false }, { userId: 'nobody', lastSeenAtMs: null }])
    await service.joinRoom('ann', 'news', 'r')
    t.match((await node.request('GET', '/v1/users/ann/rooms')).json, { rooms: [{ roomId: 'news', rights: 'r' }] })
    await service.leaveRoom('ann', 'news')
    t.match((await node.request('GET', '/v1/users/ann/rooms')).json, { rooms: [] })
    t.match(await service.post('news', { payload: 'extra', messageId: 'p1' }), { messageId: 'p1', status: 'queued' })
  })

  await t.test('reads a stream to its end, and then what comes', async t => {
    const node = await startTestNode(t)
    const service = createService({ url: node.api, apiKey: key })
    await service.post('news', { payload: Buffer.of(0, 0xff) })
    const ending = new AbortController()
    let cursor = ''
    for await (const post of service.read('posts', { signal: ending.signal })) {
      t.match(post, { roomId: 'news', roomSeq: 1, from: null })
      t.strictSame(Buffer.from(post.payload), Buffer.of(0, 0xff))
      cursor = post.cursor
      ending.abort()
    }
    await service.post('news', { payload: 'b' })
    await until('it is in the stream', async () => (await node.request('GET', '/v1/streams/posts')).text.split('\n').length === 3)
    const rest: number[] = []
    for await (const { roomSeq } of service.read('posts', { after: cursor, follow: false, room: 'news' })) rest.push(roomSeq)
    t.strictSame(rest, [2])
  })

  await t.test('is told what is wrong, and does not try that again', async t => {
    const node = await startTestNode(t)
    const other = createService({ url: node.api, apiKey: 'another key than that of the node' })
    await t.rejects(other.push(['ann'], { payload: 'x' }), { name: 'ServiceError', code: 'unauthorized', status: 401 })
    await t.rejects(other.read('uplinks').next(), { code: 'unauthorized' })
    const away = createService({ url: `http://127.0.0.1:${await findPort()}`, apiKey: key, retryForMs: 300 })
    await t.rejects(away.presence(['ann']), { name: 'ServiceError', code: 'unreachable', status: 0 })
  })

  await t.test('answers uplinks with their acks, once however often they come, and takes downlinks back', async t => {
    const node = await startTestNode(t)
    const service = createService({ url: node.api, apiKey: key })
    const token = await node.token('ann')
    const client = createClient({ endpoints: `ws://127.0.0.1:${node.httpPort}`, getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    const got: string[] = []
    client.on('downlink', ({ messageId, text }) => { got.push(`${messageId} ${text()}`) })
    client.connect()
    await client.send('hello')
    await client.send('bye')
    const ending = new AbortController()
    const options = { signal: ending.signal, ackWithinMs: 60_000 }
    for await (const uplink of service.group('bots').read('uplinks', options)) {
      const said = Buffer.from(uplink.payload).toString()
      if (said === 'hello') {
        const replies = [{ payload: `you said ${said}` }, { payload: Buffer.from('for bob'), userIds: ['bob'] }]
        t.equal(await uplink.ack({ replies }), true)
        t.equal(await uplink.ack({ replies }), true, 'as where the answer to the first one was lost')
      } else {
        const refused = [{ payload: 'x'.repeat(70_000) }, { payload: 'so long' }, { payload: 'x', ttlMs: 0 }]
        await t.rejects(uplink.ack({ replies: refused }), { code: 'payload-too-large', message: /a reply can not be sent/ })
        ending.abort()
      }
    }
    await until('it has both', () => got.length === 2)
    const ids = 'group/bots/uplinks/ann'
    t.strictSame(got, [`${ids}/1/reply/0 you said hello`, `${ids}/2/reply/1 so long`])
    t.match((await node.request('GET', '/v1/users/bob/state')).json, { waiting: [{ messageId: `${ids}/1/reply/1` }] })
    t.match((await node.request('GET', '/v1/groups/bots')).json, { streams: [{ blocks: 0 }] }, 'both are acked')
    t.equal(await service.recall('bob', `${ids}/1/reply/1`), 'recalled')
    t.match(await service.push(['bob'], { payload: 'x', replaces: `${ids}/1/reply/1` }), [{ status: 'queued', replaced: 'recalled' }])
  })

  const through = 'reads in a group through kill -9 of the node, and gets what it acked no more'
  await t.test(through, { timeout: 120_000 }, async t => {
    const directory = t.testdir({})
    const port = String(await findPort())
    const start = () => startProcess(t, directory, { LEDGERLINE_HTTP_PORT: port })
    let node = await start()
    const service = createService({ url: node.http, apiKey })
    for (let i = 1; i <= 20; i++) await service.post('news', { payload: `${i}` })
    const ending = new AbortController()
    const seen: number[] = []
    const acked: number[] = []
    const reading = (async () => {
      for await (const post of service.group('orders').read('posts', { signal: ending.signal })) {
        seen.push(post.roomSeq)
        if (post.roomSeq <= 10 && await post.ack()) acked.push(post.roomSeq)
        if (post.roomSeq === 30 && await post.ack()) ending.abort()
      }
    })()
    await until('it has some', () => seen.length === 20)
    t.strictSame(acked, Array.from({ length: 10 }, (_, i) => i + 1))
    await node.kill('SIGKILL')
    node = await start()
    for (let i = 21; i <= 30; i++) await service.post('news', { payload: `${i}` })
    await reading
    const from = (first: number) => Array.from({ length: 20 }, (_, i) => i + first)
    t.strictSame(seen, [...from(1), ...from(11)])
  })

  await t.test('is the program of docs/service.md', async t => {
    const page = readFileSync(fileURLToPath(new URL('../../../docs/service.md', import.meta.url)), 'utf8')
    const here = new URL('../../service/service.js', import.meta.url).href
    const program = /```js\n([^]*?)```/.exec(page)![1]!.replace('@ledgerline/service', here)
    const directory = t.testdir({ 'program.mjs': program })
    const node = await startTestNode(t)
    const child = spawn(process.execPath, [`${directory}/program.mjs`], {
      stdio: 'inherit', env: { LEDGERLINE_URL: node.api, LEDGERLINE_API_KEY: key },
    })
    t.teardown(() => child.kill('SIGKILL'))
    const token = await node.token('ann')
    const client = createClient({ endpoints: [`tcp://127.0.0.1:${node.tcpPort}`], getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    const answer = new Promise(resolve => { client.on('downlink', downlink => { resolve(downlink.text()) }) })
    client.connect()
    await client.send(JSON.stringify({ id: 7 }), { service: 'orders' })
    t.equal(await answer, 'order 7 is taken')
    await until('it is acked', async () => (await node.request('GET', '/metrics')).text.includes('ledgerline_group_acks_total 1'))
  })
})
