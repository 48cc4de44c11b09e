import { once } from 'node:events'
import { get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { Test } from 'tap'
import { webSocketRoute } from '../../../gateway/edge/websocket.js'
import type { HttpDeps } from '../../../gateway/http/server.js'
import { until } from '../../faults/node-process.js'
import { givenApp, givenUplinks, key, uplink } from './given.js'

/** Short times, for tests that wait until they have passed; each waits for the end, however long it takes. */
const short = { requestMs: 300, unreadMs: 300 }

/** A server on a port, with an edge that nobody gets through to. */
async function given (t: Test, overrides: Partial<HttpDeps> = {}) {
  const { app } = givenApp(t, { roles: ['push', 'ip-config', 'edge'], ...overrides })
  const edge = { context: { limits: { frameBytesMax: 1_000, lingerMs: 100 }, ticks: () => 0 } }
  webSocketRoute(app, edge as never, { refusal: () => undefined } as never, () => true)
  app.addHook('onRequest', async (request, reply) => {
    if (request.headers['x-large'] !== undefined) await reply.send(Buffer.alloc(64 << 20))
  })
  const open = new Set<Socket>()
  app.server.on('connection', socket => {
    open.add(socket)
    socket.on('close', () => { open.delete(socket) })
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }

  /** @returns a socket that has sent `text`, and collects what comes */
  function dial (text: string, localAddress = '127.0.0.1'): Peer {
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    t.teardown(() => socket.destroy())
    const peer: Peer = { socket, received: '', ended: false }
    socket.setEncoding('utf8').on('data', chunk => { peer.received += chunk })
    socket.on('error', () => {}).on('close', () => { peer.ended = true })
    if (text !== '') socket.write(text)
    return peer
  }
  return { app, url, dial, open }
}

interface Peer { readonly socket: Socket, received: string, ended: boolean }

const lines = (...all: string[]) => `${all.join('\r\n')}\r\n\r\n`

t.test('A socket of the HTTP port', async t => {
  for (const [what, text] of Object.entries({
    'sends nothing': '',
    'sends half a header': 'GET /healthz HTTP/1.1\r\nhost: a\r\nx-half: ',
    'sends half a body': lines('POST /v1/downlinks HTTP/1.1', 'host: a', `authorization: ${key.authorization}`,
      'content-type: application/json', 'content-length: 100') + '{',
    'sends half an upgrade': 'GET /v1/connect HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n',
    'idles after an answer': lines('GET /healthz HTTP/1.1', 'host: a'),
  })) {
    t.test(`that ${what} is ended when its time is over, whatever drips`, async t => {
      const { dial } = await given(t, { socketLimits: short })
      const peer = dial(text)
      const dripping = setInterval(() => { if (text !== '' && peer.received === '') peer.socket.write('a') }, 50)
      t.teardown(() => { clearInterval(dripping) })
      await until(() => peer.ended)
      t.ok(peer.ended)
    })
  }

  t.test('that shows an API key may idle for longer', async t => {
    const { dial } = await given(t, { socketLimits: short })
    const friend = dial(lines('GET /v1/nodes HTTP/1.1', 'host: a', `authorization: ${key.authorization}`))
    await until(() => friend.received.includes('asOf'))
    const stranger = dial(lines('GET /healthz HTTP/1.1', 'host: a'))
    await until(() => stranger.ended)
    t.notOk(friend.ended)
  })

  t.test('is told how long it may idle: less without an API key', async t => {
    const { dial } = await given(t)
    const ask = (...headers: string[]) => lines('GET /v1/nodes HTTP/1.1', 'host: a', ...headers)
    const told = (peer: Peer) => Array.from(peer.received.matchAll(/^keep-alive: (.*)$/gim), match => match[1])
    const peer = dial(lines('GET /healthz HTTP/1.1', 'host: a'))
    await until(() => told(peer).length === 1)
    peer.socket.write(ask())
    await until(() => told(peer).length === 2)
    peer.socket.write(ask(`authorization: ${key.authorization}`))
    await until(() => told(peer).length === 3)
    t.strictSame(told(peer), ['timeout=10', 'timeout=10', 'timeout=72'])
    for (const text of [
      lines('GET /healthz HTTP/1.1', 'host: a', 'connection: close'),
      lines('POST /v1/downlinks HTTP/1.1', 'host: a', `authorization: ${key.authorization}`,
        'content-type: application/json', 'content-length: 99999999'),
    ]) {
      const leaving = dial(text)
      await until(() => leaving.ended)
      t.match(leaving.received, /^connection: close$/im)
      t.strictSame(told(leaving), [])
    }
  })

  for (const [whose, socketLimits, addressOf] of [
    ['an address: the one that idles longest makes room', { strangersMax: 3 }, () => undefined],
    ['all addresses together', { strangersTotalMax: 3 }, (i: number) => `127.0.2.${i}`],
  ] as const) {
    t.test(`is one of a bounded number for ${whose}`, async t => {
      const { dial, url } = await given(t, { socketLimits })
      const friend = dial(lines('GET /v1/nodes HTTP/1.1', 'host: a', `authorization: ${key.authorization}`))
      await until(() => friend.received.includes('asOf'))
      const peers: Peer[] = []
      for (let i = 0; i < 5; i++) {
        const peer = dial('', addressOf(i))
        await once(peer.socket, 'connect')
        peers.push(peer)
      }
      await until(() => peers.filter(({ ended }) => ended).length === 2)
      t.strictSame(peers.map(({ ended }) => ended), [true, true, false, false, false])
      t.notOk(friend.ended)
      t.equal((await fetch(`${url}/healthz`)).status, 200, 'who asks at once is answered')
    })
  }

  t.test('that has 64 requests unanswered and sends another is closed, and holds no answers', async t => {
    const { app, dial } = await given(t)
    const sockets: Socket[] = []
    app.server.on('connection', socket => { sockets.push(socket) })
    const peers = Array.from({ length: 10 }, () => {
      const peer = dial(lines('GET /openapi.json HTTP/1.1', 'host: a').repeat(1_700))
      peer.socket.pause()
      return peer
    })
    await until(() => sockets.length === peers.length && sockets.every(({ destroyed }) => destroyed))
    t.ok(sockets.every(({ writableLength }) => writableLength === 0))
  })

  t.test('may pipeline a few requests, which are answered in order', async t => {
    const { dial } = await given(t)
    const ask = (path: string) => lines(`GET ${path} HTTP/1.1`, 'host: a')
    const peer = dial(ask('/healthz') + ask('/nothing') + ask('/healthz'))
    await until(() => peer.received.split('HTTP/1.1 ').length === 4)
    t.strictSame(Array.from(peer.received.matchAll(/HTTP\/1\.1 (\d+)/g), match => match[1]), ['200', '404', '200'])
  })

  t.test('that takes nothing of its answers is cut off', async t => {
    const { dial, open } = await given(t, { socketLimits: { unreadMs: 300 } })
    const peer = dial(lines('GET /healthz HTTP/1.1', 'host: a', 'x-large: yes'))
    peer.socket.pause()
    await until(() => open.size === 1)
    await until(() => open.size === 0)
    t.equal(open.size, 0)
  })
})

t.test('A reader of a stream that takes nothing is cut off, and another one gets in', async t => {
  const payload = Buffer.alloc(65_536, 'a')
  const uplinks = givenUplinks([Array.from({ length: 400 }, (_, i) => [uplink('ann', i + 1, { payload })])])
  const { url, dial, open } = await given(t, { logReader: uplinks.log, socketLimits: { unreadMs: 300 } })
  const dialled = new Set<Socket>()
  for (let i = 0; i < 64; i++) {
    dial(lines('GET /v1/uplinks?follow=true HTTP/1.1', 'host: a', `authorization: ${key.authorization}`)).socket.pause()
  }
  await until(() => open.forEach(socket => dialled.add(socket)) ?? dialled.size === 64)
  await until(() => open.size === 0)
  t.equal((await fetch(`${url}/v1/uplinks?limit=1`, { headers: key })).status, 200)
})

t.test('A request for an upgrade', async t => {
  const upgrade = (path: string, ...headers: string[]) =>
    lines(`GET ${path} HTTP/1.1`, 'host: a', 'connection: upgrade', 'upgrade: websocket', 'sec-websocket-version: 13',
      'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==', ...headers)

  for (const [path, status] of Object.entries({
    '/v1/users/u/presence': 401, '/v1/nodes': 401, '/healthz': 200, '/nothing': 404, '/v1/downlinks': 405,
  })) {
    t.test(`of ${path} is answered as without it, and closed`, async t => {
      const { dial } = await given(t)
      const peer = dial(upgrade(path))
      await until(() => peer.ended)
      t.match(peer.received, new RegExp(`^HTTP/1\\.1 ${status} [^]*connection: close`, 'i'))
    })
  }

  t.test('with a key is answered as without it, and closed', async t => {
    const { dial } = await given(t)
    const peer = dial(upgrade('/v1/users/u/presence', `authorization: ${key.authorization}`))
    await until(() => peer.ended)
    t.match(peer.received, /^HTTP\/1\.1 200 /)
  })

  t.test('to h2c is answered as without it, body and all', async t => {
    const { dial } = await given(t)
    const body = JSON.stringify({ to: { userIds: ['ann'] }, payload: 'hi' })
    const peer = dial(lines('POST /v1/downlinks HTTP/1.1', 'host: a', 'connection: Upgrade, HTTP2-Settings', 'upgrade: h2c',
      'http2-settings: AAMAAABkAAQCAAAAAAIAAAAA', `authorization: ${key.authorization}`,
      'content-type: application/json', `content-length: ${body.length}`) + body)
    await until(() => peer.received.includes('queued'))
    t.match(peer.received, /^HTTP\/1\.1 202 /)
  })

  t.test('by CONNECT is refused as JSON, and closed', async t => {
    const { dial } = await given(t)
    const peer = dial(lines('CONNECT a:80 HTTP/1.1', 'host: a'))
    await until(() => peer.ended)
    t.match(peer.received, /^HTTP\/1\.1 405 [^]*"code":"method-not-allowed"/)
  })
})

t.test('A request', async t => {
  for (const [what, text] of Object.entries({
    'without a host': lines('GET /healthz HTTP/1.1', 'connection: close'),
    'of HTTP/1.0': lines('GET /healthz HTTP/1.0', 'host: a'),
    'whose query is not percent-encoded UTF-8': lines('GET /v1/ip-config?region=%ff HTTP/1.1', 'host: a', 'connection: close'),
  })) {
    t.test(`${what} is refused as JSON`, async t => {
      const { dial } = await given(t)
      const peer = dial(text)
      await until(() => peer.ended)
      t.match(peer.received, /^HTTP\/1\.1 400 [^]*"code":"bad-request"/)
    })
  }

  t.test('with an expectation that nobody knows is refused as JSON', async t => {
    const { dial } = await given(t)
    const peer = dial(lines('GET /healthz HTTP/1.1', 'host: a', 'expect: a miracle', 'connection: close'))
    await until(() => peer.ended)
    t.match(peer.received, /^HTTP\/1\.1 417 [^]*"code":"bad-request"[^]*Expect: want 100-continue/)
  })
})

t.test('A body in chunks of a byte makes the server hold no more than its bytes', async t => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const used = () => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const { dial, open } = await given(t)
  const peer = dial(lines('POST /v1/downlinks HTTP/1.1', 'host: a', `authorization: ${key.authorization}`,
    'content-type: application/json', 'expect: 100-continue', 'transfer-encoding: chunked'))
  await until(() => peer.received.includes('100 Continue'))
  const before = used()
  const wholes = 20
  for (let i = 0; i < wholes; i++) peer.socket.write('1\r\n \r\n'.repeat(10_000))
  const [socket] = open
  await until(() => socket!.bytesRead >= wholes * 60_000)
  await until(() => used() - before < 10 << 20, 50)
  peer.received = ''
  peer.socket.write('1\r\n"\r\n0\r\n\r\n')
  await until(() => peer.received !== '')
  t.match(peer.received, /^HTTP\/1\.1 400 [^]*"code":"bad-request"/, 'and it was all read')
})

t.test('A header that comes twice is seen behind thousands of others', async t => {
  const { dial } = await given(t)
  const many = Array.from({ length: 2_500 }, () => 'x:')
  for (const [origins, status] of [[['origin: http://a'], 200], [['origin: http://a', 'origin: http://b'], 400]] as const) {
    const [first, ...others] = origins
    const peer = dial(lines('GET /healthz HTTP/1.1', 'host: a', 'connection: close', first!, ...many, ...others))
    await until(() => peer.ended)
    t.match(peer.received, new RegExp(`^HTTP/1\\.1 ${status} `))
  }
})

t.test('A server that closes does not wait for strangers', async t => {
  const { app, dial, open } = await given(t)
  const peer = dial('GET /')
  await until(() => open.size === 1)
  await app.close()
  await until(() => peer.ended)
  t.ok(peer.ended)
})

t.test('A server that closes waits for an answer that is due, and ends its socket then', async t => {
  let answer = (_users: []) => {}
  const users = new Promise<[]>(resolve => { answer = resolve })
  let isAsked = false
  const push = async () => {
    isAsked = true
    return { messageId: 'm', users: await users }
  }
  const { app, dial } = await given(t, { push })
  const body = JSON.stringify({ to: { userIds: ['ann'] }, payload: 'hi' })
  const peer = dial(lines('POST /v1/downlinks HTTP/1.1', 'host: a', `authorization: ${key.authorization}`,
    'content-type: application/json', `content-length: ${body.length}`) + body)
  await until(() => isAsked)
  const closed = app.close()
  await until(() => !app.server.listening)
  answer([])
  await closed
  await until(() => peer.ended)
  t.match(peer.received, /^HTTP\/1\.1 202 /)
})

t.test('A follower that has nothing to read', async t => {
  t.test('gets a byte now and then, and stays', async t => {
    const { url } = await given(t, { socketLimits: { unreadMs: 200 }, silentMs: 50 })
    const request = get(`${url}/v1/uplinks?follow=true`, { headers: key })
    t.teardown(() => request.destroy())
    const [response] = await once(request, 'response')
    let text = ''
    response.on('data', (chunk: Buffer) => { text += String(chunk) })
    await until(() => text.length >= 20)
    t.match(text, /^\n+$/)
  })
})
