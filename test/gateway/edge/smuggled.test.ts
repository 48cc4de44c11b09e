import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startTestNode } from '../node.js'
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

t.test('An upgrade with', async t => {
  const node = await startTestNode(t)

  for (const [what, lines, body = ''] of smuggled) {
    for (const order of ['behind', 'before']) {
      t.test(`${what} ${order} the others is refused, and nothing of it is read as a frame`, async t => {
        const [first, ...others] = upgrade
        const all = order === 'behind' ? [first, ...others, ...lines] : [first, ...lines, ...others]
        const socket = connect({ host: '127.0.0.1', port: node.httpPort })
        t.teardown(() => { socket.destroy() })
        let received = ''
        socket.setEncoding('latin1').on('data', chunk => { received += chunk })
        socket.on('error', () => {}) // what is not read of it may end it so
        socket.write(Buffer.from(`${all.join('\r\n')}\r\n\r\n${body}`, 'latin1'))
        await once(socket, 'close')
        const [head = '', answer = ''] = received.split('\r\n\r\n')
        t.match(head, /^HTTP\/1\.1 400 /)
        t.match(JSON.parse(answer), { statusCode: 400, code: 'bad-request' }, 'and it is the last answer')
      })
    }
  }

  t.test('a length of 0 is one without a body', async t => {
    const socket = connect({ host: '127.0.0.1', port: node.httpPort })
    t.teardown(() => { socket.destroy() })
    socket.write(`${[...upgrade, 'content-length: 0'].join('\r\n')}\r\n\r\n`)
    const [chunk] = await once(socket.setEncoding('latin1'), 'data')
    t.match(chunk, /^HTTP\/1\.1 101 /)
  })

  t.test('none of that leaves anything in the log', async t => { t.strictSame(node.logged, []) })
})

t.test('Any other request with', async t => {
  const node = await startTestNode(t)
  for (const [what, lines, body = ''] of smuggled.filter(([what]) => !/^a body|keys$|versions$/.test(what))) {
    t.test(`${what} is refused, too`, async t => {
      const socket = connect({ host: '127.0.0.1', port: node.httpPort })
      t.teardown(() => { socket.destroy() })
      let received = ''
      socket.setEncoding('latin1').on('data', chunk => { received += chunk })
      socket.on('error', () => {})
      const all = ['GET /healthz HTTP/1.1', 'host: localhost', 'connection: close', ...lines]
      socket.write(Buffer.from(`${all.join('\r\n')}\r\n\r\n${body}`, 'latin1'))
      await once(socket, 'close')
      t.match(received, /^HTTP\/1\.1 400 /)
    })
  }
})
