import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { startTestNode, type TestNode, until, WebSocketClient } from '../node.js'
import { alive, connected, connectFrame, type Dialect, unavro } from './dialects.js'

/** Opcode byte, then the length with or without the mask bit, mask and payload: RFC 6455, 5.2. */
function rawFrame (first: number, payload: Uint8Array, { masked = true } = {}): Buffer {
  const length = payload.length < 126 ? Buffer.of(payload.length) : Buffer.of(126, payload.length >> 8, payload.length)
  if (!masked) return Buffer.concat([Buffer.of(first), length, payload])
  length[0]! |= 0x80
  const mask = Buffer.of(1, 2, 3, 4)
  return Buffer.concat([Buffer.of(first), length, mask, payload.map((byte, i) => byte ^ mask[i % 4]!)])
}

/** A WebSocket by hand: what the server sent after the upgrade, as opcode and payload. */
async function rawWebSocket (t: Test, node: TestNode, protocol: string) {
  const socket = connect({ host: '127.0.0.1', port: node.httpPort, allowHalfOpen: true })
  t.teardown(() => { socket.destroy() })
  let bytes = Buffer.alloc(0)
  let upgraded = false
  let failure: Error | undefined
  const messages: Array<{ opcode: number, payload: Buffer }> = []
  const state = { finished: false }
  socket.on('data', chunk => {
    bytes = Buffer.concat([bytes, chunk])
    const end = bytes.indexOf('\r\n\r\n')
    if (!upgraded && end > 0) {
      upgraded = true
      bytes = bytes.subarray(end + 4)
    }
    while (upgraded && bytes.length >= 2) {
      const short = bytes[1]! & 0x7f
      const start = short < 126 ? 2 : 4
      const length = short < 126 ? short : bytes.length < 4 ? Infinity : bytes.readUInt16BE(2)
      if (bytes.length < start + length) break
      messages.push({ opcode: bytes[0]!, payload: bytes.subarray(start, start + length) })
      bytes = bytes.subarray(start + length)
    }
  })
  socket.on('end', () => { state.finished = true; socket.end() })
  socket.on('error', err => { failure = err })
  socket.write('GET /v1/connect HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n' +
    `sec-websocket-version: 13\r\nsec-websocket-key: dGVzdGluZyB0ZXN0aW5nIQ==\r\nsec-websocket-protocol: ${protocol}\r\n\r\n`)
  await until('the upgrade', () => upgraded)
  return {
    socket,
    messages,
    async closed () {
      await until('the server closes', () => state.finished || failure !== undefined)
      if (failure) throw failure
      return messages
    },
  }
}

/** `error` with `bad-frame` and then a close frame with 4500, whatever ws itself would have said. */
async function badFrame (t: Test, client: { messages: Array<{ opcode: number, payload: Buffer }>, closed (): Promise<unknown> }) {
  await until('the close frame', () => client.messages.at(-1)?.opcode === 0x88)
  const close = client.messages.at(-1)!
  const error = client.messages.at(-2)!
  t.equal(close.payload.readUInt16BE(), 4500)
  const frame = error.opcode === 0x82 ? unavro(error.payload) : JSON.parse(error.payload.toString())
  t.match(frame, { op: 'error', code: 'bad-frame' })
  await client.closed()
}

const avro = 'ledgerline.v1.avro'
const json = 'ledgerline.v1.json'
const text = 0x81
const binary = 0x82
const ping = Buffer.from('{"op":"ping"}')

const broken: Array<[what: string, ...bytes: Buffer[]]> = [
  ['is not masked', rawFrame(text, ping, { masked: false })],
  ['is not UTF-8', rawFrame(text, Buffer.of(0x7b, 0xc3, 0x28, 0x7d))],
  ['is larger than frameBytesMax', rawFrame(text, Buffer.alloc(4097, 0x20))],
  ['says that it is larger than memory', Buffer.from('81ff7fffffffffffffff00000000', 'hex')],
  ['says that it is larger than frameBytesMax', Buffer.from('81ff000000010000000000000000', 'hex')],
  ['grows larger than frameBytesMax in fragments',
    rawFrame(0x01, Buffer.alloc(3000, 0x20)), rawFrame(0x80, Buffer.alloc(3000, 0x20))],
  ['has a reserved bit', rawFrame(text | 0x40, ping)],
  ['has a reserved opcode', rawFrame(0x83, ping)],
  ['goes on without a beginning', rawFrame(0x80, ping)],
  ['begins within another', rawFrame(0x01, ping), rawFrame(text, ping)],
  ['is a fragmented control frame', rawFrame(0x09, Buffer.of())],
  ['is a control frame that is too long', rawFrame(0x89, Buffer.alloc(126))],
  ['closes with a code that is none', rawFrame(0x88, Buffer.of(0x03, 0xed))],
  ['closes with half a code', rawFrame(0x88, Buffer.of(0x03))],
  ['closes with a reason that is not UTF-8', rawFrame(0x88, Buffer.of(0x03, 0xe8, 0xc3, 0x28))],
]

t.test('A WebSocket message', async t => {
  const node = await startTestNode(t, { LEDGERLINE_FRAME_BYTES_MAX: '4096' })
  const { client: bystander } = await connected(t, node, 'WebSocket JSON', 'bystander')

  for (const [what, ...bytes] of broken) {
    for (const when of ['before', 'after']) {
      t.test(`ends its connection with bad-frame when it ${what}, ${when} connect`, async t => {
        const client = await rawWebSocket(t, node, json)
        if (when === 'after') {
          client.socket.write(rawFrame(text, Buffer.from(JSON.stringify(await connectFrame(node, 'ann')))))
          await until('connected', () => client.messages.length > 0)
        }
        client.socket.write(Buffer.concat(bytes))
        await badFrame(t, client)
      })
    }
  }

  t.test('must be binary where the subprotocol is Avro', async t => {
    const client = await rawWebSocket(t, node, avro)
    client.socket.write(rawFrame(text, ping))
    await badFrame(t, client)
  })

  for (const protocol of [json, '']) {
    t.test(`must be text where the subprotocol is ${protocol || 'none'}`, async t => {
      const client = await WebSocketClient.open(t, node, protocol || undefined)
      client.send(Buffer.of(0x08, 0x00))
      const left = await client.closed()
      t.match(JSON.parse(String(left.at(-1))), { op: 'error', code: 'bad-frame' })
      t.equal(client.closeCode, 4500)
      t.equal(client.closeReason, 'bad-frame')
    })
  }

  t.test('may come in fragments, with a control frame between', async t => {
    const client = await rawWebSocket(t, node, json)
    const connect = Buffer.from(JSON.stringify(await connectFrame(node, 'fragments')))
    client.socket.write(Buffer.concat([
      rawFrame(0x01, connect.subarray(0, 20)), rawFrame(0x89, Buffer.from('p')), rawFrame(0x80, connect.subarray(20)),
    ]))
    await until('connected', () => client.messages.length === 2)
    t.match(client.messages[0], { opcode: 0x8a, payload: Buffer.from('p') }, 'a WebSocket ping is answered by its own')
    t.match(JSON.parse(client.messages[1]!.payload.toString()), { op: 'connected' })
  })

  t.test('may have fields that nobody knows', async t => {
    const client = await WebSocketClient.open(t, node, json)
    client.send(JSON.stringify({ ...await connectFrame(node, 'fields'), colour: 'red', __proto__: { x: 1 } }))
    t.match(JSON.parse(String(await client.next())), { op: 'connected' })
    client.send('{"op":"ping","op2":1,"downlinkSeq":0}')
    t.match(JSON.parse(String(await client.next())), { op: 'pong' })
  })

  t.test('that is refused hurts nobody', async t => {
    await alive(t, bystander)
    t.strictSame(node.logged, [])
  })
})

t.test('A WebSocket client', async t => {
  const node = await startTestNode(t)
  const dialect: Dialect = 'WebSocket JSON'

  for (const code of [undefined, 1000, 1001, 3000, 4000]) {
    t.test(`may close with ${code ?? 'no code'}, and that is a goodbye`, async t => {
      const client = await WebSocketClient.open(t, node, 'ledgerline.v1.json')
      client.send(JSON.stringify(await connectFrame(node, 'closer')))
      await client.next()
      const before = await node.closed('disconnected')
      client.ws.close(code)
      t.strictSame(await client.closed(), [], 'no frame answers it')
      t.equal(client.closeCode, code ?? 1005, 'its own code comes back')
      await until('the end is counted', async () => await node.closed('disconnected') === before + 1)
    })
  }

  t.test('that names only subprotocols which nobody knows is not taken for one that speaks them', async t => {
    await t.rejects(WebSocketClient.open(t, node, 'mqtt'))
    const { client } = await connected(t, node, dialect, 'still-here')
    await alive(t, client)
  })

  t.test('gets the first subprotocol that it names and the node knows', async t => {
    const { WebSocket } = await import('ws')
    const ws = new WebSocket(`${node.http.replace('http', 'ws')}/v1/connect`, ['mqtt', 'ledgerline.v1.avro', 'ledgerline.v1.json'])
    t.teardown(() => { ws.terminate() })
    await new Promise((resolve, reject) => { ws.once('open', resolve).once('error', reject) })
    t.equal(ws.protocol, 'ledgerline.v1.avro')
  })

  t.test('leaves nothing in the log', async t => { t.strictSame(node.logged, []) })
})
