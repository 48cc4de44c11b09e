import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { startTestNode, type TestNode, until } from '../node.js'
import { alive, connected, connectFrame } from './dialects.js'
import { close, type Message, messagesIn, rawFrame, text, upgradeRequest } from './raw-websocket.js'

/** A frame of the client's, its mask 0: what stands here is what goes over the wire. */
const hex = (bytes: string) => Buffer.from(bytes.replaceAll(' ', ''), 'hex')
const closing = (code: number) => rawFrame(close, Buffer.of(code >> 8, code & 255))
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

const forbidden: Array<[what: string, bytes: Buffer]> = [
  ['the second reserved bit', hex('a1 80 00000000')],
  ['the third reserved bit', hex('91 80 00000000')],
  ['all reserved bits on a ping', hex('f9 80 00000000')],
  ...[...range(0x3, 0x7), ...range(0xb, 0xf)].map((opcode): [string, Buffer] =>
    [`the opcode 0x${opcode.toString(16)}`, Buffer.concat([Buffer.of(0x80 | opcode), hex('80 00000000')])]),
  ['a ping of 126 bytes', Buffer.concat([hex('89 fe 007e 00000000'), Buffer.alloc(126)])],
  ['a fragment of a pong', hex('0a 80 00000000')],
  ['a fragment of a close', hex('08 80 00000000')],
  ['a continuation of nothing', hex('00 80 00000000')],
  ['a continuation after a message that was whole', hex('01 81 00000000 7b 80 81 00000000 7d 80 80 00000000')],
  ['a binary message within a text message', hex('01 81 00000000 7b 82 80 00000000')],
  ['text that is cut within a character', hex('81 82 00000000 e2 82')],
  ['text whose second fragment is not UTF-8', hex('01 83 00000000 cebae1 80 82 00000000 eda0')],
  ['text whose last fragment ends within a character', hex('01 81 00000000 f0 00 81 00000000 9f 80 81 00000000 92')],
  ['a surrogate', hex('81 83 00000000 eda080')],
  ['an overlong slash', hex('81 82 00000000 c0af')],
  ['an overlong NUL', hex('81 83 00000000 e08080')],
  ['a character beyond U+10FFFF', hex('81 84 00000000 f4908080')],
  ['a continuation byte alone', hex('81 81 00000000 80')],
  ['a byte that is never UTF-8', hex('81 81 00000000 fe')],
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

  t.test('a close without a code', async t => {
    const client = await rawClient(t, node)
    client.socket.write(hex('88 80 00000000'))
    await until('the close frame', () => client.messages().length > 0)
    t.equal(client.messages()[0]!.opcode, close)
  })
})
