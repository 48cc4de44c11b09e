import { connect } from 'node:net'
import t from 'tap'
import * as ws from 'ws'
import { avroMessages, jsonMessages, type MessageKind, takeMessages } from '../../../gateway/edge/websocket-frames.js'
import { GatewayError } from '../../../schemas/errors.js'
import type { Frame } from '../../../schemas/frames.js'
import { mulberry32, mutate } from '../../schemas/mutations.js'
import { startTestNode, until } from '../node.js'
import { connectFrame } from './dialects.js'
import { avro, type Sent, unavro } from './hand-avro.js'
import { binary, messagesIn, rawFrame, text, upgradeRequest } from './raw-websocket.js'

const ping = rawFrame(binary, avro({ op: 'ping', downlinkSeq: 0 }))
const uplink = (seq: number, payload: string): Sent => ({ op: 'uplink', seq, payload: Buffer.from(payload) })
const short = rawFrame(binary, avro(uplink(1, 'hi')))
const long = rawFrame(binary, avro(uplink(2, 'long '.repeat(60))))
/** Not masked with a key of zero, nor with one of equal bytes. */
const three = Buffer.concat([ping, short, long])

function taken (bytes: Buffer, kind: MessageKind = avroMessages, frameBytesMax = 1_000) {
  const frames: Frame[] = []
  const own = Buffer.from(bytes)
  const { bytes: count, error } = takeMessages(own, kind, frameBytesMax, frames)
  return { ops: frames.map(({ op }) => op), frames, count, error, left: own.subarray(count) }
}

t.test('takeMessages', async t => {
  t.test('takes all messages of one read, with their masks off', async t => {
    const { frames, count, error } = taken(three)
    t.match(frames, [
      { op: 'ping' },
      { op: 'uplink', seq: 1, payload: Buffer.from('hi') },
      { op: 'uplink', seq: 2, payload: Buffer.from('long '.repeat(60)) },
    ])
    t.equal(count, three.length)
    t.equal(error, undefined)
  })

  t.test('takes text where the subprotocol says so', async t => {
    const message = rawFrame(text, Buffer.from('{"op":"ping","x":"☃"}'))
    t.strictSame(taken(message, jsonMessages).ops, ['ping'])
    t.strictSame(taken(message).count, 0)
    const cut = taken(rawFrame(text, Buffer.of(0x7b, 0xc3, 0x28, 0x7d)), jsonMessages)
    t.equal(cut.error?.code, 'bad-frame')
  })

  const others: Array<[what: string, bytes: Buffer]> = [
    ['a control frame', rawFrame(0x89, Buffer.from('p'))],
    ['a close frame', rawFrame(0x88, Buffer.of(0x03, 0xe8))],
    ['a fragment', rawFrame(0x02, Buffer.of(8))],
    ['the end of fragments', rawFrame(0x80, Buffer.of(8))],
    ['a message of the other kind', rawFrame(text, Buffer.from('{}'))],
    ['a reserved bit', rawFrame(binary | 0x40, Buffer.of(8))],
    ['a message without a mask', rawFrame(binary, Buffer.from('more than six bytes'), { masked: false })],
    ['a message that is too large', rawFrame(binary, Buffer.alloc(1_001))],
    ['a length of eight bytes', Buffer.concat([Buffer.of(0x82, 0xff), Buffer.alloc(100)])],
  ]
  for (const [what, bytes] of others) {
    t.test(`leaves ${what} as it came, and what is behind it`, async t => {
      const { ops, left, error } = taken(Buffer.concat([short, bytes, ping]))
      t.strictSame(ops, ['uplink'])
      t.strictSame(left, Buffer.concat([bytes, ping]))
      t.equal(error, undefined)
    })
  }

  t.test('leaves what is not whole as it came', async t => {
    for (const message of [short, long]) {
      for (let bytes = 0; bytes < message.length; bytes++) {
        const { left, error } = taken(Buffer.concat([ping, message.subarray(0, bytes)]))
        t.ok(left.equals(message.subarray(0, bytes)), `${bytes} bytes`)
        t.equal(error, undefined)
      }
    }
  })

  t.test('ends with one that is bad, and counts it', async t => {
    const bad = rawFrame(binary, Buffer.of(0xff))
    const { ops, error, left } = taken(Buffer.concat([short, bad, ping]))
    t.strictSame(ops, ['uplink'])
    t.equal(error?.code, 'bad-frame')
    t.strictSame(left, ping)
    t.equal(taken(rawFrame(binary, Buffer.of())).error?.code, 'bad-frame')
  })

  t.test('throws nothing, whatever the bytes, and never takes more than there is', async t => {
    for (let seed = 1; seed <= 20_000; seed++) {
      const bytes = mutate(seed)(three)
      const { error, count } = taken(bytes)
      const wrong = (what: string) => { t.fail(`seed ${seed}: ${what}, ${bytes.toString('hex')}`) }
      if (error && !(error instanceof GatewayError && error.code === 'bad-frame')) wrong(`error ${error}`)
      if (count > bytes.length) wrong(`${count} bytes taken`)
    }
  })
})

/** What ws reads with, which its types do not name. */
const receiver = (ws as unknown as { Receiver: { prototype: { _write (): void } } }).Receiver.prototype

const encodings = [
  { protocol: 'ledgerline.v1.avro', opcode: binary, encode: avro, payload: (bytes: number) => Buffer.alloc(bytes, 'p') },
  {
    protocol: 'ledgerline.v1.json',
    opcode: text,
    encode: (frame: Sent) => Buffer.from(JSON.stringify(frame)),
    payload: (bytes: number) => Buffer.alloc(bytes, 'p').toString('base64'),
  },
]

t.test('A WebSocket whose messages come whole, in fragments and in pieces', async t => {
  const node = await startTestNode(t, { LEDGERLINE_FRAME_RATE: '0' })

  for (const { protocol, opcode, encode, payload } of encodings) {
    const open = async (userId: string) => {
      const socket = connect({ host: '127.0.0.1', port: node.httpPort, noDelay: true })
      t.teardown(() => { socket.destroy() })
      let received: Buffer = Buffer.alloc(0)
      socket.on('data', chunk => { received = Buffer.concat([received, chunk]) })
      socket.write(upgradeRequest(protocol))
      await until('the upgrade', () => messagesIn(received))
      const heard = () => messagesIn(received)!.messages.map(({ opcode, payload }) => {
        if (opcode !== binary && opcode !== text) return { op: opcode, payload }
        return opcode === binary ? unavro(payload) : JSON.parse(payload.toString())
      })
      const last = (op: unknown) => heard().findLast(frame => frame.op === op)
      socket.write(rawFrame(opcode, encode(await connectFrame(node, userId))))
      await until('connected', () => last('connected'))
      return { socket, heard, last }
    }

    t.test(`are all read, in order: ${protocol}`, async t => {
      for (let seed = 1; seed <= 5; seed++) {
        const random = mulberry32(seed)
        const { socket, heard, last } = await open(`${protocol}-${seed}`)
        const uplinks = 100
        const pings: Buffer[] = []
        const sent: Buffer[] = []
        for (let seq = 1; seq <= uplinks; seq++) {
          const message = encode({ op: 'uplink', seq, payload: payload(random(2) === 0 ? random(40) : random(3_000)) })
          const ping = () => {
            pings.push(Buffer.from(`${seq}`))
            return rawFrame(0x89, pings.at(-1)!)
          }
          const cut = random(message.length)
          switch (random(6)) {
            case 0: sent.push(ping(), rawFrame(opcode, message)); break
            case 1: {
              const [first, last] = [message.subarray(0, cut), message.subarray(cut)]
              sent.push(rawFrame(opcode & 0x0f, first), ping(), rawFrame(0x80, last))
              break
            }
            default: sent.push(rawFrame(opcode, message))
          }
        }
        for (let bytes = Buffer.concat(sent); bytes.length > 0;) {
          const piece = 1 + random(random(3) === 0 ? 10 : 4_000)
          socket.write(bytes.subarray(0, piece))
          bytes = bytes.subarray(piece)
          if (random(2) === 0) await new Promise(resolve => setImmediate(resolve))
        }
        await until(`the last ack, seed ${seed}`, () => last('uplinkAck')?.seq === uplinks)
        await until(`the pongs, seed ${seed}`, () => heard().filter(({ op }) => op === 0x8a).length === pings.length)
        t.strictSame(heard().filter(({ op }) => op === 0x8a).map(({ payload }) => payload), pings, `seed ${seed}`)
        t.equal(last('error') ?? last('uplinkRefused'), undefined, `seed ${seed}`)
      }
    })

    t.test(`cost ws nothing where they come whole: ${protocol}`, async t => {
      const { socket, last } = await open(`${protocol}-whole`)
      const write = t.capture(receiver, '_write', receiver._write)
      const uplinks = Array.from({ length: 20 }, (_, i) =>
        rawFrame(opcode, encode({ op: 'uplink', seq: i + 1, payload: payload(10) })))
      socket.write(Buffer.concat(uplinks))
      await until('the acks', () => last('uplinkAck')?.seq === uplinks.length)
      t.equal(write().length, 0)
    })
  }
})
