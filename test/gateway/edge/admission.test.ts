import { request } from 'node:http'
import t from 'tap'
import { startTestNode, TcpClient, type TestNode, until } from '../node.js'
import { alive, connected, connectFrame, dialects, endsWith, speaker, TcpSpeaker } from './dialects.js'

interface Refused { readonly status: number, readonly retryAfter: string | undefined, readonly body: any }

/** What a WebSocket client that is not let in gets instead; undefined for one that is. */
function refusedUpgrade (node: TestNode): Promise<Refused | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(`${node.http}/v1/connect`, {
      agent: false,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGVzdGluZyB0ZXN0aW5nIQ==',
      },
    })
    asked.on('upgrade', (_response, socket) => { socket.destroy(); resolve(undefined) })
    asked.on('response', response => {
      let text = ''
      response.on('data', chunk => { text += chunk })
      response.on('end', () => {
        resolve({ status: response.statusCode!, retryAfter: response.headers['retry-after'], body: JSON.parse(text) })
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}

t.test('An address that opens connections too fast', async t => {
  t.test('is banned on both transports, and nobody who is in is hurt', async t => {
    const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE: '1' })
    const { client: inside } = await connected(t, node, 'TCP', 'ann')
    const banned = await until('it is banned', async () => {
      const client = await TcpClient.open(t, node)
      await new Promise(resolve => setTimeout(resolve, 20))
      return client.waiting > 0 && client
    })
    t.match(await endsWith(t, new TcpSpeaker(banned), 'banned'), { op: 'error', message: /\d+ s/ })

    const refused = await refusedUpgrade(node)
    t.match(refused, { status: 429, body: { statusCode: 429, code: 'banned', error: String, message: String } })
    t.match(refused!.retryAfter, /^([1-9]|10)$/, 'Retry-After in seconds')
    await alive(t, inside)
    t.strictSame(node.logged, [])
  })

  t.test('is let in again when it waits as told', async t => {
    const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE: '1' })
    let refused: Refused | undefined = await until('it is banned', () => refusedUpgrade(node))
    const since = Date.now()
    while (refused) {
      const waitMs = Number(refused.retryAfter) * 1000
      await new Promise(resolve => setTimeout(resolve, waitMs))
      refused = await refusedUpgrade(node)
    }
    t.ok(Date.now() - since > 9_000, 'and not before')
  })
})

for (const dialect of dialects) {
  t.test(`A node that is full, over ${dialect},`, async t => {
    const node = await startTestNode(t, { LEDGERLINE_CONNECTIONS_MAX: '1' })

    t.test('sends the next client elsewhere, and takes it once there is room', async t => {
      const { client: inside } = await connected(t, node, dialect, 'ann')
      const client = await speaker(t, node, dialect)
      client.send(await connectFrame(node, 'bob'))
      const redirect = await endsWith(t, client, 'redirected')
      t.match(redirect, { op: 'redirect', endpoints: [], code: 'redirected' })
      t.ok(redirect.retryAfterMs > 0)
      await alive(t, inside)
      await node.gone(() => { inside.destroy() })
      const { client: second } = await connected(t, node, dialect, 'bob')
      await alive(t, second)
      t.strictSame(node.logged, [])
    })
  })
}

t.test('A burst of 0', async t => {
  t.test('is no limit', async t => {
    const node = await startTestNode(t, { LEDGERLINE_FRAME_RATE: '10', LEDGERLINE_FRAME_BURST: '0' })
    const { client } = await connected(t, node, 'TCP', 'ann')
    client.sendAll(Array.from({ length: 500 }, () => ({ op: 'ping' })))
    for (let i = 0; i < 500; i++) t.equal((await client.next()).op, 'pong')
    await alive(t, client)
  })
})
