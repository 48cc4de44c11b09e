import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { Environment } from '../../gateway/setting.js'
import { makeCertificates, opensslMissing } from '../cluster/certificates.js'
import { alive, connected, connectFrame, endsWith, TcpSpeaker } from './edge/dialects.js'
import { upgradeRequest } from './edge/raw-websocket.js'
import { startTestNode, TcpClient, type TestNode, until } from './node.js'

const trusting: Environment = { LEDGERLINE_TRUSTED_PROXIES: '127.0.0.1/32' }
const strict: Environment = { LEDGERLINE_TRUSTED_PROXIES: '192.0.2.0/24' }

const v1 = Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 56324 9100\r\n')
/** 2001:db8::1, port 56324, and a field that nobody reads. */
const v2 = Buffer.from('0d0a0d0a000d0a515549540a2121002a20010db800000000000000000000000120010db8000000000000000000000002dc04238c' +
  '040003abcdef', 'hex')
const local = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex')

/** Where presence says that a user is connected from. */
async function addressOf (node: TestNode, userId: string): Promise<string> {
  return await until(`${userId} is present`, async () => {
    const { json } = await node.request('GET', `/v1/users/${userId}/presence`)
    return (json as { sessions: Array<{ address: string }> }).sessions[0]?.address
  })
}

async function tcp (t: Test, node: TestNode, userId: string, header: Buffer): Promise<TcpSpeaker> {
  const client = await TcpClient.open(t, node)
  client.write(header)
  const speaker = new TcpSpeaker(client)
  speaker.send(await connectFrame(node, userId))
  t.equal((await speaker.next()).op, 'connected')
  return speaker
}

interface Through { readonly header?: Buffer, readonly headers?: Record<string, string> }

/** A user over WebSocket: what was sent before, and with which header fields. */
async function ws (t: Test, node: TestNode, userId: string, { header, headers = {} }: Through): Promise<WebSocket> {
  const socket = new WebSocket(`${node.http.replace('http', 'ws')}/v1/connect`, {
    headers,
    createConnection: () => {
      const raw = connect({ host: '127.0.0.1', port: node.httpPort })
      if (header) raw.write(header)
      return node.ca === undefined ? raw : connectTls({ socket: raw, ca: node.ca, servername: 'localhost' })
    },
  })
  t.teardown(() => { socket.terminate() })
  await new Promise<void>((resolve, reject) => { socket.once('open', resolve).once('error', reject) })
  const welcome = new Promise<string>((resolve, reject) => {
    socket.once('message', data => { resolve(String(data)) }).once('close', reject)
  })
  socket.send(JSON.stringify(await connectFrame(node, userId)))
  t.match(JSON.parse(await welcome), { op: 'connected' })
  return socket
}

/** Status and body of a request, or of a refused upgrade. */
async function ask (
  node: TestNode, path: string, headers: Record<string, string>
): Promise<{ status: number, body: string }> {
  return await new Promise((resolve, reject) => {
    request(node.http + path, { headers, agent: false }, response => {
      let body = ''
      response.setEncoding('utf8').on('data', (part: string) => { body += part })
      response.on('end', () => { resolve({ status: response.statusCode!, body }) })
    }).on('error', reject).end()
  })
}

/** A bare socket, and all that has come on it. */
function dial (t: Test, port: number, ...bytes: Buffer[]): { socket: Socket, received: () => string } {
  let received = ''
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {}).on('data', chunk => { received += chunk.toString('latin1') }).on('end', () => { socket.end() })
  for (const each of bytes) socket.write(each)
  return { socket, received: () => received }
}

async function refused (node: TestNode, listener: string): Promise<number> {
  const { text } = await node.request('GET', '/metrics')
  return Number(new RegExp(`proxy_headers_refused_total{listener="${listener}"} (\\d+)`).exec(text)?.[1] ?? 0)
}

t.test('A client behind a proxy that is trusted', async t => {
  const node = await startTestNode(t, trusting)

  t.test('is known by its own address over TCP', async t => {
    await alive(t, await tcp(t, node, 'v1', v1))
    t.equal(await addressOf(node, 'v1'), '192.0.2.1:56324')
    await alive(t, await tcp(t, node, 'v2', v2))
    t.equal(await addressOf(node, 'v2'), '2001:db8::1:56324')
  })

  t.test('is known by it however the header is cut, and when its first frames come with it', async t => {
    const connect = new TcpSpeaker(await TcpClient.open(t, node))
    for (const [i, byte] of v2.entries()) {
      connect.client.write(Buffer.of(byte))
      if (i % 8 === 0) await new Promise(resolve => setTimeout(resolve, 2))
    }
    connect.send(await connectFrame(node, 'cut'))
    t.equal((await connect.next()).op, 'connected')
    t.equal(await addressOf(node, 'cut'), '2001:db8::1:56324')
  })

  t.test('is known by it over WebSocket: by PROXY, Forwarded and X-Forwarded-For', async t => {
    await ws(t, node, 'ws-v1', { header: v1 })
    t.equal(await addressOf(node, 'ws-v1'), '192.0.2.1:56324')
    await ws(t, node, 'ws-v2', { header: v2 })
    t.equal(await addressOf(node, 'ws-v2'), '2001:db8::1:56324')
    await ws(t, node, 'xff', { headers: { 'x-forwarded-for': '203.0.113.9, 192.0.2.5' } })
    t.equal(await addressOf(node, 'xff'), '192.0.2.5', 'the last of them, not what the client has sent')
    await ws(t, node, 'forwarded', { headers: { forwarded: 'for=203.0.113.9, for="[2001:db8::5]:4711";proto=https' } })
    t.equal(await addressOf(node, 'forwarded'), '2001:db8::5:4711')
    await ws(t, node, 'both', { header: local, headers: { 'x-forwarded-for': '192.0.2.6' } })
    t.equal(await addressOf(node, 'both'), '192.0.2.6', 'a proxy behind another one')
    await ws(t, node, 'end', { header: v1, headers: { 'x-forwarded-for': '203.0.113.9' } })
    t.equal(await addressOf(node, 'end'), '192.0.2.1:56324', 'a client behind PROXY has nothing to say')
  })

  t.test('is refused where nobody can tell whose it is', async t => {
    const headers = { forwarded: 'for=203.0.113.9', 'x-forwarded-for': '192.0.2.5' }
    t.match(await ask(node, '/v1/ip-config', headers), { status: 400, body: /name two clients/ })
    t.match(await ask(node, '/healthz', { forwarded: 'for="203.0.113.9, for=192.0.2.5' }), { status: 400, body: /RFC 7239/ })
  })

  t.test('is not needed for a look whether the node is well', async t => {
    for (const header of [[], [local], [Buffer.from('PROXY UNKNOWN\r\n')]]) {
      const check = dial(t, node.tcpPort, ...header)
      check.socket.end()
      await until('it is closed', () => check.socket.closed)
      t.equal(check.received(), '')
    }
    await alive(t, await tcp(t, node, 'local', local))
    t.match(await addressOf(node, 'local'), /^127\.0\.0\.1:\d+$/, 'the proxy is its own client then')
    t.match(await ask(node, '/healthz', {}), { status: 200 })
    const http = dial(t, node.httpPort, local, Buffer.from('GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'))
    await until('it is answered', () => /^HTTP\/1\.1 200 /.test(http.received()))
    t.strictSame(node.logged, [])
  })

  t.test('has to be named over TCP, and as the specification has it', async t => {
    const before = await refused(node, 'tcp')
    const silent = new TcpSpeaker(await TcpClient.open(t, node))
    silent.send(await connectFrame(node, 'nobody'))
    t.match(await endsWith(t, silent, 'bad-frame'), { op: 'error', message: /no PROXY header.*LEDGERLINE_TRUSTED_PROXIES.*127\.0\.0\.1/ })
    const bad = new TcpSpeaker(await TcpClient.open(t, node))
    bad.client.write(Buffer.from('PROXY TCP4 192.0.2.256 198.51.100.7 1 2\r\n'))
    t.match(await endsWith(t, bad, 'bad-frame'), { message: /a bad PROXY header/ })
    const twice = new TcpSpeaker(await TcpClient.open(t, node))
    twice.client.write(Buffer.concat([v1, v2]))
    t.match(await endsWith(t, twice, 'bad-frame'), { message: /a second one/ })
    t.ok(await refused(node, 'tcp') >= before + 3)
  })

  t.test('gets an answer over HTTP where its header is bad', async t => {
    const before = await refused(node, 'http')
    for (const [header, why] of [
      [Buffer.from('PROXY TCP9 \r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'), /a bad PROXY header/],
      [Buffer.concat([v1, v1, Buffer.from('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')]), /or a second one/],
    ] as const) {
      const peer = dial(t, node.httpPort, header)
      await until('it is ended', () => peer.socket.closed)
      t.match(peer.received(), /^HTTP\/1\.1 400 /)
      t.match(peer.received(), why)
    }
    t.ok(await refused(node, 'http') >= before + 2)
  })
})

t.test('Somebody who is no proxy', async t => {
  for (const [what, environment] of Object.entries({ 'none is trusted': {}, 'others are': strict })) {
    t.test(`is told so when he sends a PROXY header, where ${what}`, async t => {
      const node = await startTestNode(t, environment)
      const { client: neighbour } = await connected(t, node, 'TCP', 'neighbour')
      for (const header of [v1, v2]) {
        const client = new TcpSpeaker(await TcpClient.open(t, node))
        client.client.write(header)
        t.match(await endsWith(t, client, 'bad-frame'), { message: /^a PROXY header from an address that LEDGERLINE_TRUSTED_PROXIES does not name/ })
        const http = dial(t, node.httpPort, header, upgradeRequest('ledgerline.v1.json'))
        await until('it is ended', () => http.socket.closed)
        t.match(http.received(), /^HTTP\/1\.1 400 /)
        t.match(http.received(), /a PROXY header from an address that LEDGERLINE_TRUSTED_PROXIES does not name/)
      }
      t.ok(await refused(node, 'tcp') >= 2 && await refused(node, 'http') >= 2)
      await alive(t, neighbour)
    })

    t.test(`may say what he likes in header fields, where ${what}`, async t => {
      const node = await startTestNode(t, environment)
      await ws(t, node, 'liar', { headers: { 'x-forwarded-for': '203.0.113.9', forwarded: 'for="' } })
      t.match(await addressOf(node, 'liar'), /^127\.0\.0\.1:\d+$/)
    })
  }
})

t.test('The door counts clients behind a proxy, not the proxy', async t => {
  const header = (ip: string) => Buffer.from(`PROXY TCP4 ${ip} 198.51.100.7 1 2\r\n`)
  /** What a socket of `ip` is told at once; undefined where it may speak. */
  const told = async (t: Test, node: TestNode, ip: string) => {
    const client = new TcpSpeaker(await TcpClient.open(t, node))
    client.client.write(header(ip))
    client.send(await connectFrame(node, ip))
    return await client.next()
  }

  t.test('over TCP', async t => {
    const node = await startTestNode(t, { ...trusting, LEDGERLINE_ACCEPT_RATE: '1' })
    for (let i = 1; i <= 10; i++) t.match(await told(t, node, `192.0.2.${i}`), { op: 'connected' })
    const many = await Promise.all(Array.from({ length: 30 }, () => told(t, node, '192.0.2.77')))
    t.ok(many.some(({ code }) => code === 'rate-limited'), 'one address has too many')
    t.match(await told(t, node, '192.0.2.78'), { op: 'connected' }, 'another one does not wait for it')
  })

  t.test('over WebSocket, IPv6 by /64', async t => {
    const node = await startTestNode(t, { ...trusting, LEDGERLINE_ACCEPT_RATE: '1' })
    const upgrade = (ip: string) => ask(node, '/v1/connect', {
      connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '12', 'x-forwarded-for': ip,
    })
    for (let i = 1; i <= 10; i++) t.equal((await upgrade(`2001:db8:0:${i}::1`)).status, 426, 'let in, and its version refused')
    const many = await Promise.all(Array.from({ length: 30 }, (_, host) => upgrade(`2001:db8:0:77::${host}`)))
    t.ok(many.some(({ status }) => status === 429), 'one network has too many')
    t.equal((await upgrade('2001:db8:0:78::1')).status, 426)
  })
})

t.test('PROXY comes before TLS, on both listeners', { skip: opensslMissing() ?? false }, async t => {
  const certificates = await makeCertificates(t)
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-proxies-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await copyFile(certificates.ca, join(directory, 'ca.crt'))
  await copyFile(certificates.server.cert, join(directory, 'tls.crt'))
  const node = await startTestNode(t, {
    ...trusting, LEDGERLINE_TLS_CERT: join(directory, 'tls.crt'), LEDGERLINE_TLS_KEY: certificates.server.key,
  })

  for (const [what, header] of [['v1', v1], ['v2', v2]] as const) {
    t.test(what, async t => {
      const raw = connect({ host: '127.0.0.1', port: node.tcpPort, allowHalfOpen: true })
      raw.write(header)
      const client = await TcpClient.over(t, connectTls({ socket: raw, ca: node.ca!, servername: 'localhost' }))
      const speaker = new TcpSpeaker(client)
      speaker.send(await connectFrame(node, `tls-${what}`))
      t.equal((await speaker.next()).op, 'connected')
      await alive(t, speaker)
      const address = what === 'v1' ? '192.0.2.1:56324' : '2001:db8::1:56324'
      t.equal(await addressOf(node, `tls-${what}`), address)
      await ws(t, node, `wss-${what}`, { header })
      t.equal(await addressOf(node, `wss-${what}`), address)
      await ws(t, node, `wss-xff-${what}`, { headers: { 'x-forwarded-for': '192.0.2.5' } })
      t.equal(await addressOf(node, `wss-xff-${what}`), '192.0.2.5')
    })
  }

  t.test('and a proxy that sends none over TCP is told so behind its handshake', async t => {
    const speaker = new TcpSpeaker(await TcpClient.open(t, node))
    speaker.send({ op: 'ping' })
    t.match(await endsWith(t, speaker, 'bad-frame'), { message: /no PROXY header/ })
  })
})
