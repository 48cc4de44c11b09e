import t, { type Test } from 'tap'
import { startTestNode, TcpClient, type TestNode, until } from '../node.js'
import { alive, connected, connectFrame, dialects, endsWith, speaker, TcpSpeaker } from './dialects.js'
import { type RefusedUpgrade, refusedUpgrade } from './raw-websocket.js'

/** A client that is turned away over TCP at its accept. */
async function turnedAway (t: Test, node: TestNode): Promise<TcpSpeaker> {
  return new TcpSpeaker(await until('one is turned away', async () => {
    const client = await TcpClient.open(t, node)
    await new Promise(resolve => setTimeout(resolve, 20))
    return client.waiting > 0 && client
  }))
}

t.test('An address that opens connections too fast', async t => {
  t.test('is told how long to wait on both transports, and nobody who is in is hurt', async t => {
    const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE: '1' })
    const { client: inside } = await connected(t, node, 'TCP', 'ann')
    const error = await endsWith(t, await turnedAway(t, node), 'rate-limited')
    t.equal(error.op, 'error')
    t.ok(error.retryAfterMs > 0 && error.retryAfterMs <= 30_000, `${error.retryAfterMs} ms`)

    const refused = await refusedUpgrade(node)
    t.match(refused, { status: 429, body: { statusCode: 429, code: 'rate-limited', error: String, message: String } })
    t.match(refused!.headers['retry-after'], /^([1-9]|[12]\d|30)$/, 'Retry-After in seconds')
    await alive(t, inside)
    t.match((await node.request('GET', '/metrics')).text, /^ledgerline_sockets_refused_total{code="rate-limited"} \d+$/m)
    t.strictSame(node.logged, [])
  })

  t.test('is let in again when it waits as told', async t => {
    const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE: '1' })
    let refused: RefusedUpgrade | undefined = await until('it is refused', () => refusedUpgrade(node))
    while (refused) {
      const waitMs = Number(refused.headers['retry-after']) * 1000
      await new Promise(resolve => setTimeout(resolve, waitMs))
      refused = await refusedUpgrade(node)
    }
    await connected(t, await startTestNode(t), 'TCP', 'ann')
  })
})

t.test('An address that is not counted has no rate of its own', async t => {
  const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE: '1', LEDGERLINE_ACCEPT_UNCOUNTED: '10.0.0.0/8,127.0.0.1' })
  await Promise.all(Array.from({ length: 30 }, (_, i) => connected(t, node, 'TCP', `user ${i}`)))
  for (let i = 0; i < 5; i++) t.equal(await refusedUpgrade(node), undefined)
})

t.test('A node that takes so many connections a second', async t => {
  const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE_TOTAL: '1', LEDGERLINE_ACCEPT_UNCOUNTED: '127.0.0.1' })
  const { client: inside } = await connected(t, node, 'TCP', 'ann')
  const redirect = await endsWith(t, await turnedAway(t, node), 'redirected')
  t.match(redirect, { op: 'redirect', endpoints: [] })
  t.ok(redirect.retryAfterMs > 0 && redirect.retryAfterMs <= 30_000, `${redirect.retryAfterMs} ms`)
  const refused = await Promise.all(Array.from({ length: 10 }, () => refusedUpgrade(node)))
  t.match(refused.find(each => each), { status: 503, headers: { 'retry-after': /^\d+$/ } })
  await alive(t, inside)
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

t.test('Sockets that say nothing', async t => {
  t.test('take no room from those who say who they are', async t => {
    const node = await startTestNode(t, { LEDGERLINE_CONNECTIONS_MAX: '2' })
    for (const dialect of ['TCP', 'WebSocket JSON'] as const) {
      for (let i = 0; i < 20; i++) await speaker(t, node, dialect)
    }
    for (const user of ['ann', 'bob']) await alive(t, (await connected(t, node, 'TCP', user)).client)
    const { text } = await node.request('GET', '/metrics')
    t.match(text, /^ledgerline_connections 2$/m)
  })

  t.test('make the node hold no more for a frame than they have sent of it', async t => {
    const node = await startTestNode(t, { LEDGERLINE_FRAME_BYTES_MAX: '524288' })
    const before = process.memoryUsage().arrayBuffers
    const announcing = await Promise.all(Array.from({ length: 200 }, () => TcpClient.open(t, node)))
    for (const client of announcing) client.send('00080000 01')
    await alive(t, (await connected(t, node, 'TCP', 'ann')).client)
    const heldBytes = process.memoryUsage().arrayBuffers - before
    t.ok(heldBytes < 20 << 20, `${heldBytes} bytes for 200 frames of 512 KiB that have just begun`)
  })

  t.test('are bounded for an address: the one that is silent for longest goes for the next', async t => {
    const node = await startTestNode(t, { LEDGERLINE_ACCEPT_RATE: '90', LEDGERLINE_CONNECTIONS_MAX: '1' })
    const silent: TcpSpeaker[] = []
    await until('the first one is put out', async () => {
      silent.push(new TcpSpeaker(await TcpClient.open(t, node)))
      await new Promise(resolve => setTimeout(resolve, 5))
      return silent[0]!.waiting > 0
    })
    await endsWith(t, silent[0]!, 'handshake-timeout')
    t.ok(silent.length > 256, `after ${silent.length}`)
    await until('the address is within its rate', async () => !await refusedUpgrade(node))
    const client = await until('one is let in', async () => {
      const client = await speaker(t, node, 'TCP')
      client.send(await connectFrame(node, 'ann'))
      return (await client.next()).op === 'connected' && client
    })
    await alive(t, client)
  })
})

t.test('A burst of 0', async t => {
  t.test('is no limit', async t => {
    const node = await startTestNode(t, { LEDGERLINE_FRAME_RATE: '10', LEDGERLINE_FRAME_BURST: '0' })
    const { client } = await connected(t, node, 'TCP', 'ann')
    client.sendAll(Array.from({ length: 500 }, () => ({ op: 'ping' })))
    for (let i = 0; i < 500; i++) t.equal((await client.next()).op, 'pong')
    await alive(t, client)
  })
})
