import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { startTestNode, type TestNode, until } from '../node.js'
import { alive, connected, connectFrame } from './dialects.js'
import { close, type Message, messagesIn, rawFrame, text, upgradeRequest } from './raw-websocket.js'

/** A frame of the client's, its mask 0: what stands here is what goes over the wire. */
const hex = (bytes: string) => Buffer.from(bytes.replaceAll(' ', ''), 'hex')
const closing = (code: number) => rawFrame(close, Buffer.of(code >> 8, code & 255))
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** Of each kind of the Autobahn test suite's section 6, the first and the last. */
const notUtf8: Array<[what: string, bytes: string]> = [
  ['the first surrogate', 'eda080'],
  ['the last surrogate', 'edbfbf'],
  ['a pair of surrogates', 'eda080edb080'],
  ['an overlong slash in two bytes', 'c0af'],
  ['an overlong slash in three bytes', 'e080af'],
  ['an overlong slash in four bytes', 'f08080af'],
  ['an overlong slash in five bytes', 'f8808080af'],
  ['an overlong slash in six bytes', 'fc80808080af'],
  ['the largest overlong character of two bytes', 'c1bf'],
  ['the largest overlong character of three bytes', 'e09fbf'],
  ['the largest overlong character of four bytes', 'f08fbfbf'],
  ['an overlong NUL', 'e08080'],
  ['a character beyond U+10FFFF', 'f4908080'],
  ['a character of five bytes', 'f888808080'],
  ['a character of six bytes', 'fc8480808080'],
  ['the first continuation byte alone', '80'],
  ['the last continuation byte alone', 'bf'],
  ['all continuation bytes', Buffer.from(range(0x80, 0xbf)).toString('hex')],
  ['the first byte of two bytes, and a space', 'c220'],
  ['the first byte of three bytes, and a space', 'e020'],
  ['the first byte of four bytes, and a space', 'f020'],
  ['two bytes of three', 'efbf'],
  ['three bytes of four', 'f7bfbf'],
  ['what is cut, one behind the other', 'c0e080f08080f8808080dfefbff7bfbf'],
  ['the byte fe', 'fe'],
  ['the byte ff', 'ff'],
]

/** Characters that are none, or the first and the last of their length, are UTF-8 all the same. */
const utf8 = [
  0x01, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfdd0, 0xfdef, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x1fffe, 0x1ffff,
  0x10fffe, 0x10ffff,
].map(code => String.fromCodePoint(code))

const forbidden: Array<[what: string, bytes: Buffer]> = [
  ['the second reserved bit', hex('a1 80 00000000')],
  ['the third reserved bit', hex('91 80 00000000')],
  ['all reserved bits on a ping', hex('f9 80 00000000')],
  ['all reserved bits on a close', hex('f8 80 00000000')],
  ['the first reserved bit on a fragment', hex('01 81 00000000 7b c0 81 00000000 7d')],
  ...[...range(0x3, 0x7), ...range(0xb, 0xf)].map((opcode): [string, Buffer] =>
    [`the opcode 0x${opcode.toString(16)}`, Buffer.concat([Buffer.of(0x80 | opcode), hex('80 00000000')])]),
  ['a reserved opcode within a message', hex('01 81 00000000 7b 83 80 00000000')],
  ['a reserved control opcode within a message', hex('01 81 00000000 7b 8b 80 00000000')],
  ['a ping of 126 bytes', Buffer.concat([hex('89 fe 007e 00000000'), Buffer.alloc(126)])],
  ['a pong of 126 bytes', Buffer.concat([hex('8a fe 007e 00000000'), Buffer.alloc(126)])],
  ['a reason of 124 bytes', Buffer.concat([hex('88 fe 007e 00000000 03e8'), Buffer.alloc(124, 'x')])],
  ['a fragment of a ping', hex('09 80 00000000')],
  ['a fragment of a pong', hex('0a 80 00000000')],
  ['a fragment of a close', hex('08 80 00000000')],
  ['a continuation of nothing', hex('00 80 00000000')],
  ['a continuation after a message that was whole', hex('01 81 00000000 7b 80 81 00000000 7d 80 80 00000000')],
  ['a binary message within a text message', hex('01 81 00000000 7b 82 80 00000000')],
  ['text that is cut within a character', hex('81 82 00000000 e2 82')],
  ['text whose second fragment is not UTF-8', hex('01 83 00000000 cebae1 80 82 00000000 eda0')],
  ['text whose last fragment ends within a character', hex('01 81 00000000 f0 00 81 00000000 9f 80 81 00000000 92')],
  ...notUtf8.map(([what, bytes]): [string, Buffer] => [what, rawFrame(text, hex(bytes))]),
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map((code): [string, Buffer] =>
    [`the close code ${code}`, closing(code)]),
  ['a close of one byte', hex('88 81 00000000 03')],
  ['a reason that is cut within a character', hex('88 84 00000000 03e8 e282')],
]

async function rawClient (t: Test, node: TestNode) {
  const socket = connect({ host: '127.0.0.1', port: node.httpPort, allowHalfOpen: true })
  t.teardown(() => { socket.destroy() })
  let received: Buffer = Buffer.alloc(0)
  socket.on('data', chunk => { received = Buffer.concat([received, chunk]) })
  socket.on('end', () => { socket.end() })
  socket.write(upgradeRequest('ledgerline.v1.json'))
  await until('the upgrade', () => messagesIn(received))
  return { socket, messages: (): Message[] => messagesIn(received)!.messages }
}

t.test('What RFC 6455 forbids', async t => {
  const node = await startTestNode(t)
  const { client: bystander } = await connected(t, node, 'WebSocket JSON', 'bystander')

  for (const [what, bytes] of forbidden) {
    t.test(`ends its connection with bad-frame: ${what}`, async t => {
      const client = await rawClient(t, node)
      client.socket.write(bytes)
      await until('the close frame', () => client.messages().at(-1)?.opcode === close)
      const [error, last] = client.messages().slice(-2) as [Message, Message]
      t.match(JSON.parse(error.payload.toString()), { op: 'error', code: 'bad-frame' })
      t.equal(last.payload.readUInt16BE(), 4500)
    })
  }

  t.test('hurts nobody else', async t => {
    await alive(t, bystander)
    t.strictSame(node.logged, [])
  })
})

t.test('What RFC 6455 allows', async t => {
  const node = await startTestNode(t)

  t.test('a message cut within a character, with an empty fragment and a ping of 125 bytes between', async t => {
    const client = await rawClient(t, node)
    const bytes = Buffer.from(JSON.stringify({ ...await connectFrame(node, 'cut'), client: '☃' }))
    const middle = bytes.indexOf(Buffer.from('☃')) + 1
    const ping = Buffer.alloc(125, 0xff) // a ping may hold anything
    client.socket.write(Buffer.concat([
      rawFrame(0x01, bytes.subarray(0, middle)), rawFrame(0x00, Buffer.of()), rawFrame(0x89, ping),
      rawFrame(0x80, bytes.subarray(middle)),
    ]))
    await until('both answers', () => client.messages().length === 2)
    t.strictSame(client.messages()[0], { opcode: 0x8a, payload: ping })
    t.match(JSON.parse(client.messages()[1]!.payload.toString()), { op: 'connected' })
  })

  /** One whose `connect` was answered. */
  const openClient = async (t: Test, userId: string) => {
    const client = await rawClient(t, node)
    client.socket.write(rawFrame(text, Buffer.from(JSON.stringify(await connectFrame(node, userId)))))
    await until('connected', () => client.messages().length === 1)
    return client
  }
  const uplink = (seq: number, payload: string) => JSON.stringify({ op: 'uplink', seq, payload })
  const lastAck = ({ messages }: Awaited<ReturnType<typeof rawClient>>) =>
    JSON.parse(messages().at(-1)!.payload.toString()).seq ?? 0

  t.test('every character of UTF-8, also those that are none', async t => {
    const client = await openClient(t, 'utf8')
    for (const [i, character] of utf8.entries()) {
      client.socket.write(rawFrame(text, Buffer.from(uplink(i + 1, character))))
    }
    await until('all are acked', () => lastAck(client) === utf8.length)
    t.equal(lastAck(client), utf8.length)
  })

  t.test('messages of every length at which the header grows, in one piece and by the byte', async t => {
    const client = await openClient(t, 'lengths')
    let seq = 0
    for (const length of [125, 126, 127, 128, 65_535, 65_536]) {
      const whole = Buffer.from(uplink(++seq, 'x').padEnd(length))
      const header = hex('81 ff 0000000000010000 00000000')
      client.socket.write(length < 65_536 ? rawFrame(text, whole) : Buffer.concat([header, whole]))
      await until(`${length} bytes`, () => lastAck(client) === seq)
    }
    client.socket.setNoDelay()
    for (const byte of rawFrame(text, Buffer.from(uplink(++seq, 'x')))) {
      client.socket.write(Buffer.of(byte))
      await new Promise(resolve => setImmediate(resolve))
    }
    await until('by the byte', () => lastAck(client) === seq)
    t.equal(lastAck(client), seq)
  })

  t.test('pings with nothing and by the byte, each of which is answered, and pongs that nobody asked for', async t => {
    const client = await openClient(t, 'pings')
    client.socket.setNoDelay()
    client.socket.write(Buffer.concat([hex('89 80 00000000'), hex('8a 80 00000000'), hex('8a 81 00000000 78')]))
    const sent = Array.from({ length: 10 }, (_, i) => Buffer.from(`ping ${i}`))
    for (const byte of Buffer.concat(sent.map(payload => rawFrame(0x89, payload)))) {
      client.socket.write(Buffer.of(byte))
      await new Promise(resolve => setImmediate(resolve))
    }
    await until('the pongs', () => client.messages().length === 12)
    t.strictSame(client.messages().slice(1), [Buffer.of(), ...sent].map(payload => ({ opcode: 0x8a, payload })))
  })

  t.test('no extension: one that is offered is not taken', async t => {
    const socket = connect({ host: '127.0.0.1', port: node.httpPort })
    t.teardown(() => { socket.destroy() })
    let received = ''
    socket.on('data', chunk => { received += String(chunk) })
    socket.write(upgradeRequest('ledgerline.v1.json').toString()
      .replace('\r\n\r\n', '\r\nsec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n'))
    await until('the upgrade', () => received.includes('\r\n\r\n'))
    t.match(received, /^HTTP\/1\.1 101 /)
    t.notMatch(received, /sec-websocket-extensions/i)
  })

  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) {
    t.test(`the close code ${code}, which comes back`, async t => {
      const client = await rawClient(t, node)
      client.socket.write(Buffer.concat([closing(code), rawFrame(text, Buffer.from('not JSON'))]))
      await until('the close frame', () => client.messages().length > 0)
      const [message] = client.messages()
      t.equal(message!.opcode, close)
      t.equal(message!.payload.readUInt16BE(), code, 'and what follows it is not read')
    })
  }

  t.test('a close with a reason of 123 bytes', async t => {
    const client = await rawClient(t, node)
    client.socket.write(rawFrame(close, Buffer.concat([Buffer.of(0x03, 0xe8), Buffer.alloc(123, 'x')])))
    await until('the close frame', () => client.messages().length > 0)
    t.equal(client.messages()[0]!.payload.readUInt16BE(), 1000)
  })

  t.test('a close within a message, behind which nothing is read: no ping, and no other close', async t => {
    const client = await rawClient(t, node)
    client.socket.write(Buffer.concat([
      rawFrame(0x01, Buffer.from('{')), closing(1000), rawFrame(0x89, Buffer.from('p')), closing(1001), rawFrame(0x80, Buffer.from('}')),
    ]))
    await until('its end', () => client.socket.readableEnded)
    t.strictSame(client.messages().map(({ opcode, payload }) => [opcode, payload.readUInt16BE()]), [[close, 1000]])
  })

  t.test('a close without a code', async t => {
    const client = await rawClient(t, node)
    client.socket.write(hex('88 80 00000000'))
    await until('the close frame', () => client.messages().length > 0)
    t.equal(client.messages()[0]!.opcode, close)
  })
})
