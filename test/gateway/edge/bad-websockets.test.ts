import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { startTestNode, type TestNode, until, WebSocketClient } from '../node.js'
import { alive, connected, connectFrame, type Dialect } from './dialects.js'
import { unavro } from './hand-avro.js'
import { binary, close, type Message, messagesIn, rawFrame, refusedUpgrade, text, upgradeRequest } from './raw-websocket.js'

/** A WebSocket by hand, upgraded. */
async function rawWebSocket (t: Test, node: TestNode, protocol: string) {
  const socket = connect({ host: '127.0.0.1', port: node.httpPort, allowHalfOpen: true })
  t.teardown(() => { socket.destroy() })
  let received: Buffer = Buffer.alloc(0)
  let failure: Error | undefined
  socket.on('data', chunk => { received = Buffer.concat([received, chunk]) })
  socket.on('end', () => { socket.end() })
  socket.on('error', err => { failure = err })
  socket.write(upgradeRequest(protocol))
  await until('the upgrade', () => messagesIn(received))
  return {
    socket,
    get messages (): Message[] { return messagesIn(received)!.messages },
    async closed (): Promise<void> {
      await until('the server closes', () => socket.readableEnded || failure !== undefined)
      if (failure) throw failure
    },
  }
}

/** `error` with `bad-frame` and then a close frame with 4500, whatever ws itself would have said. */
async function badFrame (t: Test, client: Awaited<ReturnType<typeof rawWebSocket>>): Promise<void> {
  await until('the close frame', () => client.messages.at(-1)?.opcode === close)
  const [error, closing] = client.messages.slice(-2) as [Message, Message]
  t.equal(closing.payload.readUInt16BE(), 4500)
  const frame = error.opcode === binary ? unavro(error.payload) : JSON.parse(error.payload.toString())
  t.match(frame, { op: 'error', code: 'bad-frame' })
  await client.closed()
}

const avro = 'ledgerline.v1.avro'
const json = 'ledgerline.v1.json'
const ping = Buffer.from('{"op":"ping"}')

const broken: Array<[what: string, ...bytes: Buffer[]]> = [
  ['is not masked', rawFrame(text, ping, { masked: false })],
  ['is not UTF-8', rawFrame(text, Buffer.of(0x7b, 0xc3, 0x28, 0x7d))],
  ['is larger than frameBytesMax', rawFrame(text, Buffer.alloc(4097, 0x20))],
  ['says that it is larger than memory', Buffer.from('81ff7fffffffffffffff00000000', 'hex')],
  ['says that it is larger than frameBytesMax', Buffer.from('81ff000000010000000000000000', 'hex')],
  ['grows larger than frameBytesMax in fragments',
    rawFrame(0x01, Buffer.alloc(3000, 0x20)), rawFrame(0x80, Buffer.alloc(3000, 0x20))],
  ['comes in fragments without end', rawFrame(0x01, Buffer.from('abc')),
    ...Array.from({ length: 100 }, () => rawFrame(0x00, Buffer.from('abc')))],
  ['comes in empty fragments without end', rawFrame(0x01, Buffer.of()),
    ...Array.from({ length: 100 }, () => rawFrame(0x00, Buffer.of()))],
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

  t.test('ends its connection with bad-frame when it comes a byte at a time', async t => {
    const client = await rawWebSocket(t, node, json)
    client.socket.setNoDelay() // the kernel may join hundreds of bytes otherwise, and the server reads few parts
    const frame = rawFrame(text, Buffer.alloc(4000, 0x20))
    for (let i = 0; i < frame.length && client.messages.length === 0; i++) {
      client.socket.write(frame.subarray(i, i + 1))
      await new Promise(resolve => setImmediate(resolve))
    }
    t.ok(client.socket.bytesWritten < frame.length, 'before it is whole')
    await badFrame(t, client)
  })

  t.test('may come in a few dozen fragments and in as many reads', async t => {
    const client = await rawWebSocket(t, node, json)
    const connect = Buffer.from(JSON.stringify(await connectFrame(node, 'pieces')))
    for (let start = 0; start < connect.length; start += 16) {
      const isLast = start + 16 >= connect.length
      const opcode = start === 0 ? 0x01 : 0x00
      client.socket.write(rawFrame(isLast ? opcode | 0x80 : opcode, connect.subarray(start, start + 16)))
      await new Promise(resolve => setImmediate(resolve))
    }
    await until('connected', () => client.messages.length === 1)
    t.match(JSON.parse(client.messages[0]!.payload.toString()), { op: 'connected' })
  })

  t.test('must be binary where the subprotocol is Avro', async t => {
    const client = await rawWebSocket(t, node, avro)
    client.socket.write(rawFrame(text, Buffer.of(0x08, 0x00))) // a good ping, were it binary
    await badFrame(t, client)
  })

  for (const protocol of [json, '']) {
    t.test(`must be text where the subprotocol is ${protocol || 'none'}`, async t => {
      const client = await WebSocketClient.open(t, node, protocol || undefined)
      client.send(Buffer.from(JSON.stringify(await connectFrame(node, 'ann'))))
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

t.test('WebSocket pings', async t => {
  const node = await startTestNode(t, { LEDGERLINE_FRAME_RATE: '100' })

  for (const when of ['before', 'after']) {
    const open = async (t: Test) => {
      const client = await rawWebSocket(t, node, json)
      if (when === 'before') return client
      client.socket.write(rawFrame(text, Buffer.from(JSON.stringify(await connectFrame(node, 'pinger')))))
      await until('connected', () => client.messages.length > 0)
      return client
    }

    t.test(`are each answered, also a hundred at once, ${when} connect`, async t => {
      const client = await open(t)
      const before = client.messages.length
      const sent = Array.from({ length: 100 }, (_, i) => Buffer.from(`ping ${i}`))
      client.socket.write(Buffer.concat(sent.map(payload => rawFrame(0x89, payload))))
      await until('the pongs', () => client.messages.length === before + 100)
      t.strictSame(client.messages.slice(before), sent.map(payload => ({ opcode: 0x8a, payload })))
    })

    for (const [what, opcode] of [['pings', 0x89], ['pongs', 0x8a]] as const) {
      t.test(`count as frames: too many ${what} end with rate-limited, ${when} connect`, async t => {
        const client = await open(t)
        client.socket.write(Buffer.concat(Array.from({ length: 3_000 }, () => rawFrame(opcode, Buffer.of()))))
        await until('the close frame', () => client.messages.at(-1)?.opcode === close)
        const [error, closing] = client.messages.slice(-2) as [Message, Message]
        t.equal(closing.payload.readUInt16BE(), 4005)
        t.match(JSON.parse(error.payload.toString()), { op: 'error', code: 'rate-limited' })
        await client.closed()
      })
    }
  }

  t.test('leave nothing in the log', async t => { t.strictSame(node.logged, []) })
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

  t.test('that names only subprotocols which nobody knows is told ours', async t => {
    await t.rejects(WebSocketClient.open(t, node, 'mqtt'), /400/)
    t.match(await refusedUpgrade(node, { 'sec-websocket-protocol': 'mqtt, wamp' }), {
      status: 400, body: { statusCode: 400, code: 'bad-request', message: /ledgerline\.v1\.avro.*ledgerline\.v1\.json/ },
    })
    const { client } = await connected(t, node, dialect, 'still-here')
    await alive(t, client)
  })

  t.test('of another version is told ours', async t => {
    for (const version of ['8', '14', '']) {
      t.match(await refusedUpgrade(node, { 'sec-websocket-version': version }), {
        status: 426, headers: { 'sec-websocket-version': '13' }, body: { statusCode: 426, code: 'bad-request' },
      }, version)
    }
  })

  t.test('without a key that is one is refused in JSON', async t => {
    for (const key of ['', 'short', 'dGVzdGluZyB0ZXN0aW5nIQ']) {
      t.match(await refusedUpgrade(node, { 'sec-websocket-key': key }), {
        status: 400, body: { statusCode: 400, code: 'bad-request', message: /Sec-WebSocket-Key/ },
      }, key)
    }
  })

  t.test('that does not ask for one is told what to ask for', async t => {
    const { status, json: body } = await node.request('GET', '/v1/connect')
    t.match({ status, body }, { status: 426, body: { statusCode: 426, code: 'bad-request', message: /WebSocket/ } })
  })

  t.test('that is odd in what the node need not know is taken', async t => {
    const odd: Array<Record<string, string>> = [
      { 'sec-websocket-protocol': 'ledgerline.v1.json, ledgerline.v1.json' },
      { 'sec-websocket-protocol': ',ledgerline.v1.json,' },
      { 'sec-websocket-protocol': 'a b, "c";d, ledgerline.v1.json' },
      { 'sec-websocket-extensions': ';;x==' },
      { upgrade: 'h2c, WebSocket' },
      { upgrade: 'websocket,websocket' },
    ]
    for (const headers of odd) t.equal(await refusedUpgrade(node, headers), undefined, JSON.stringify(headers))
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
