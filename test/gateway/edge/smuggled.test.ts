import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { makeCertificates, opensslMissing } from '../../cluster/certificates.js'
import { complaintsOf } from '../../lasting.js'
import { startTestNode, type TestNode } from '../node.js'
import { rawFrame, text } from './raw-websocket.js'

const upgrade = [
  'GET /v1/connect HTTP/1.1', 'host: localhost', 'connection: Upgrade', 'upgrade: websocket', 'sec-websocket-version: 13',
  'sec-websocket-key: dGVzdGluZyB0ZXN0aW5nIQ==',
]
const frame = rawFrame(text, Buffer.from('{"op":"ping"}')).toString('latin1')
const chunked = `${frame.length.toString(16)}\r\n${frame}\r\n0\r\n\r\n`

/** What is wrong with an upgrade, and the bytes of it behind the usual ones. */
const smuggled: Array<[what: string, lines: string[], body?: string]> = [
  ['two origins', ['origin: http://localhost', 'origin: http://evil.example']],
  ['the same origin twice', ['origin: http://localhost', 'origin: http://localhost']],
  ['an empty origin before one', ['origin:', 'origin: http://localhost']],
  ['two keys', ['sec-websocket-key: dGVzdGluZyB0ZXN0aW5nIQ==']],
  ['two versions', ['sec-websocket-version: 13']],
  ['two hosts', ['host: evil.example']],
  ['a length and another one', ['content-length: 0', 'content-length: 5'], 'hello'],
  ['two API keys', ['authorization: Bearer a', 'authorization: Bearer b']],
  ['a length and chunks', ['content-length: 5', 'transfer-encoding: chunked'], chunked],
  ['chunks and a length', ['transfer-encoding: chunked', 'content-length: 5'], chunked],
  ['a body with a length', [`content-length: ${frame.length}`], frame],
  ['a body of chunks', ['transfer-encoding: chunked'], chunked],
  ['an unknown encoding', ['transfer-encoding: gzip'], frame],
  ['a length that is none', ['content-length: +5'], 'hello'],
  ['a negative length', ['content-length: -1']],
  ['a folded origin', ['origin: http://evil.example', ' http://localhost']],
  ['a folded header', ['x-a: b', '\tc']],
  ['a folded header at the start', [' x-a: b']],
  ['a blank before a colon', ['origin : http://localhost']],
  ['a control character', ['origin: http://localhost\0']],
  ['a bare line feed in a header', ['x-a: b\nc: d']],
  ['a bare carriage return in a header', ['x-a: b\rorigin: http://localhost']],
]

const settings = { LEDGERLINE_API_PORT: '0', LEDGERLINE_METRICS_PORT: '0' }

/** A node with a port for clients, one for the API and one for metrics. */
async function given (t: Test, isTls: boolean): Promise<TestNode> {
  if (!isTls) return await startTestNode(t, settings)
  const { server: { cert, key } } = await makeCertificates(t)
  return await startTestNode(t, { ...settings, LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key })
}

async function opened (t: Test, { ca }: TestNode, url: string): Promise<Socket> {
  const to = { host: '127.0.0.1', port: Number(new URL(url).port) }
  const socket = ca === undefined ? connect(to) : connectTls({ ...to, ca, servername: 'localhost' })
  t.teardown(() => { socket.destroy() })
  await once(socket, ca === undefined ? 'connect' : 'secureConnect')
  return socket
}

/** What comes back until the node closes. */
async function answerTo (
  t: Test, node: TestNode, url: string, lines: readonly string[], body: string
): Promise<string> {
  const socket = await opened(t, node, url)
  let received = ''
  socket.setEncoding('latin1').on('data', chunk => { received += chunk })
  socket.on('error', () => {}) // what is not read of it may end it so
  socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1'))
  await once(socket, 'close')
  return received
}

for (const isTls of [false, true]) {
  const over = isTls ? ', over TLS' : ''
  const skip = isTls && (opensslMissing() ?? false)
  t.test(`An upgrade${over}, with`, { skip }, async t => {
    const node = await given(t, isTls)

    for (const [what, lines, body = ''] of smuggled) {
      for (const order of ['behind', 'before']) {
        t.test(`${what} ${order} the others is refused, and nothing of it is read as a frame`, async t => {
          const [first, ...others] = upgrade
          const all = order === 'behind' ? [first!, ...others, ...lines] : [first!, ...lines, ...others]
          const [head = '', answer = ''] = (await answerTo(t, node, node.http, all, body)).split('\r\n\r\n')
          t.match(head, /^HTTP\/1\.1 400 /)
          t.match(JSON.parse(answer), { statusCode: 400, code: 'bad-request' }, 'and it is the last answer')
        })
      }
    }

    t.test('a length of 0 is one without a body', async t => {
      const socket = await opened(t, node, node.http)
      socket.write(`${[...upgrade, 'content-length: 0'].join('\r\n')}\r\n\r\n`)
      const [chunk] = await once(socket.setEncoding('latin1'), 'data')
      t.match(chunk, /^HTTP\/1\.1 101 /)
    })

    t.test('none of that leaves anything in the log', async t => {
      // The certificate was made for two days.
      t.strictSame(complaintsOf(node.logged).filter(({ condition }) => condition !== 'certificate'), [])
    })
  })

  t.test(`Any other request${over}, with`, { skip }, async t => {
    const node = await given(t, isTls)
    for (const [port, url] of Object.entries({ clients: node.http, API: node.api, metrics: node.metrics })) {
      for (const [what, lines, body = ''] of smuggled.filter(([what]) => !/^a body|keys$|versions$/.test(what))) {
        t.test(`${what} is refused, too, by the port for ${port}`, async t => {
          const all = ['GET /healthz HTTP/1.1', 'host: localhost', 'connection: close', ...lines]
          t.match(await answerTo(t, node, url, all, body), /^HTTP\/1\.1 400 /)
        })
      }
    }
  })
}
