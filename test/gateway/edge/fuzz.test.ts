import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { mutate } from '../../schemas/mutations.js'
import { startTestNode, type TestNode } from '../node.js'
import {
  ackedUpTo, alive, avro, closeCodes, connected, connectFrame, dialects, type Sent, unavro, uplinks, withLength,
} from './dialects.js'

/** Mutated frames on each transport, and how many a connection is fed with at most. */
const framesMin = 100_000
const framesPerConnection = 20
const connectionsAtOnce = 64

/** What a client may say after `connect`, over and over. */
const vocabulary: Sent[] = [
  ...uplinks(1, 4), { op: 'uplink', seq: 300, service: 'chat', payload: 'příliš žluťoučký kůň', priority: -1 },
  { op: 'downlinkAck', seq: 0 }, { op: 'downlinkAck', seq: 1 }, { op: 'ping' }, { op: 'ping', downlinkSeq: 1 },
  { op: 'disconnect', endSession: true },
]

/** The same numbers below `below` for the same seed. */
function randomly (seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x6d2b79f5 | 0
    const mixed = Math.imul(state ^ state >>> 13, 0x297a2d39)
    return ((mixed ^ mixed >>> 16) >>> 0) % below
  }
}

/** What one connection is fed with. */
interface Meal {
  /** Sent first; `undefined` on TCP. */
  readonly upgrade: Buffer | undefined
  readonly first: Buffer
  /** Whether `first` is a good connect, whose answer is waited for. */
  readonly waits: boolean
  readonly rest: Buffer[]
  /** Bytes of the transport itself are wrong, so that it may have read a close frame of its own. */
  readonly rough: boolean
  readonly mutated: number
}

interface Outcome { readonly received: Buffer, readonly serverFirst: boolean, readonly failure: Error | undefined }

/** Sends it all, closes its half and reads what comes until the server closes its own. */
function feed (port: number, { upgrade, first, waits, rest }: Meal): Promise<Outcome> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
    const chunks: Buffer[] = []
    let failure: Error | undefined
    let ended = false
    let serverFirst = false
    const steps = [...upgrade ? [() => { socket.write(upgrade) }] : [], ...waits
      ? [() => { socket.write(first) }, () => { sendRest(rest) }]
      : [() => { sendRest([first, ...rest]) }]]
    const sendRest = (parts: Buffer[]) => {
      for (const part of parts) socket.write(part)
      ended = true
      socket.end()
    }
    socket.on('connect', () => { steps.shift()!() })
    socket.on('data', chunk => {
      chunks.push(chunk)
      steps.shift()?.()
    })
    socket.on('end', () => {
      serverFirst = !ended
      steps.length = 0
      socket.end()
    })
    socket.on('error', err => { failure = err })
    socket.on('close', () => { resolve({ received: Buffer.concat(chunks), serverFirst, failure }) })
  })
}

type Pack = (frame: Buffer, text: boolean) => Buffer

/**
 * Some good, most mutated: in ways that leave the connection open, spliced with another, one bit turned, a few bytes
 * changed, or so with the length or header before them too.
 */
function meal (seed: number, connectFrame: Sent, encode: (frame: Sent) => Buffer, pack: Pack, upgrade?: Buffer): Meal {
  const random = randomly(seed)
  const change = mutate(seed)
  const text = encode({ op: 'ping' })[0] === 0x7b
  let rough = false
  let mutated = 0
  const parts: Buffer[] = []
  const waits = random(4) > 0
  const frames: Sent[] = [connectFrame]
  for (let i = random(framesPerConnection); i >= 0; i--) frames.push(vocabulary[random(vocabulary.length)]!)
  for (const [i, frame] of frames.entries()) {
    const good = encode(frame)
    if (i === 0 ? waits : random(8) === 0) {
      parts.push(pack(good, text))
      continue
    }
    mutated++
    switch (random(8)) {
      case 0: {
        rough = true
        parts.push(change(pack(good, text)))
        break
      }
      case 1: {
        const other = encode(frames[random(frames.length)]!)
        parts.push(pack(Buffer.concat([good.subarray(0, random(good.length)), other.subarray(random(other.length))]), text))
        break
      }
      case 2: {
        const bit = random(8 * good.length)
        good[bit >> 3]! ^= 1 << (bit & 7)
        parts.push(pack(good, text))
        break
      }
      case 3: parts.push(pack(change(good), text)); break
      default: {
        // What follows a frame that is refused is not looked at, so half of them must not be.
        const soft = encode({ op: 'uplink', seq: 1 + random(600), payload: String(random(1 << 30)), priority: random(9) - 4 })
        if (!text) soft[5 + random(soft.length - 6)]! ^= 1 << random(3)
        parts.push(pack(soft, text))
      }
    }
  }
  return { upgrade, first: parts[0]!, waits, rest: parts.slice(1), rough, mutated }
}

/** Why this end of a connection is none that protocol.md 4 knows; undefined where it is. */
function wrongEndTcp ({ received, serverFirst, failure }: Outcome): string | undefined {
  if (failure) return failure.message
  let last: Buffer | undefined
  let start = 0
  while (start + 4 <= received.length) {
    const end = start + 4 + received.readUInt32BE(start)
    if (end > received.length) return 'the last frame is not whole'
    last = received.subarray(start + 4, end)
    start = end
  }
  const frame = last && unavro(last)
  if (frame && /^(error|kick|redirect)$/.test(frame.op)) return frame.code in closeCodes ? undefined : `code ${frame.code}`
  // Without a code it can only be the answer to a goodbye, which some of the mutations are.
  return serverFirst && !frame ? 'closed without a word' : undefined
}

function wrongEndWebSocket ({ received, serverFirst, failure }: Outcome, rough: boolean): string | undefined {
  if (failure) return failure.message
  let start = received.indexOf('\r\n\r\n') + 4
  if (!received.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) return `answered ${received.subarray(0, 12)}`
  const messages: Array<{ opcode: number, payload: Buffer }> = []
  while (start + 2 <= received.length) {
    const long = (received[start + 1]! & 0x7f) === 126
    const length = long ? received.readUInt16BE(start + 2) : received[start + 1]! & 0x7f
    const from = start + (long ? 4 : 2)
    if (from + length > received.length) return 'the last message is not whole'
    messages.push({ opcode: received[start]!, payload: received.subarray(from, from + length) })
    start = from + length
  }
  const [before, close] = messages.slice(-2)
  if (close?.opcode !== 0x88) return serverFirst ? 'closed without a close frame' : undefined
  const closeCode = close.payload.length === 0 ? 1005 : close.payload.readUInt16BE()
  const code = Object.keys(closeCodes).find(each => closeCodes[each] === closeCode)
  if (code === undefined) return rough || closeCode === 1000 ? undefined : `close code ${closeCode}`
  const frame = before!.opcode === 0x82 ? unavro(before!.payload) : JSON.parse(before!.payload.toString())
  return frame.code === code ? undefined : `close code ${closeCode} behind ${JSON.stringify(frame)}`
}

/** A masked message of RFC 6455; the mask is all zeros half the time. */
function message (payload: Buffer, text: boolean): Buffer {
  const mask = payload.length % 2 === 0 ? Buffer.alloc(4) : Buffer.of(0x5a, 0xa5, 0x3c, 0xc3)
  const header = payload.length < 126
    ? Buffer.of(text ? 0x81 : 0x82, 0x80 | payload.length)
    : Buffer.of(text ? 0x81 : 0x82, 0xfe, payload.length >> 8, payload.length)
  return Buffer.concat([header, mask, payload.map((byte, i) => byte ^ mask[i % 4]!)])
}

function upgradeTo (protocol: string): Buffer {
  return Buffer.from('GET /v1/connect HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n' +
    `sec-websocket-version: 13\r\nsec-websocket-key: dGVzdGluZyB0ZXN0aW5nIQ==\r\nsec-websocket-protocol: ${protocol}\r\n\r\n`)
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function usedBytes (): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Feeds until `framesMin` mutated frames were sent; the first half shows what memory is needed, the second that it is all. */
async function feedAll (
  t: Test, cook: (seed: number, hello: Sent) => Meal, wrongEnd: (outcome: Outcome, meal: Meal) => string | undefined,
  node: TestNode, port: number, seedBase: number
): Promise<void> {
  const hellos = await Promise.all(Array.from({ length: connectionsAtOnce * 2 }, (_, i) =>
    connectFrame(node, `fuzz-${i}`, { downlinkSeq: i % 2 })))
  let seed = seedBase
  let fed = 0
  let closes = 0
  const wrong: string[] = []
  const worker = async (framesWanted: number): Promise<void> => {
    while (fed < framesWanted && wrong.length < 5) {
      const mine = seed++
      const served = cook(mine, hellos[mine % hellos.length]!)
      fed += served.mutated
      const outcome = await feed(port, served)
      closes++
      const what = wrongEnd(outcome, served)
      if (what) wrong.push(`seed ${mine}: ${what}`)
    }
  }
  const feedUpTo = (frames: number) => Promise.all(Array.from({ length: connectionsAtOnce }, () => worker(frames)))
  await feedUpTo(framesMin / 2)
  const before = usedBytes()
  await feedUpTo(framesMin)
  const grownBytes = usedBytes() - before
  t.strictSame(wrong, [], 'every connection ended as documented')
  t.ok(fed >= framesMin, `${fed} mutated frames on ${closes} connections`)
  t.ok(grownBytes < 32 << 20, `memory grew by ${grownBytes} bytes over the second half`)
}

t.test('A node that is fed with mutated frames', async t => {
  const node = await startTestNode(t, { LEDGERLINE_FRAME_BYTES_MAX: '1024' })
  const { client: bystander } = await connected(t, node, 'TCP', 'bystander')

  t.test('closes each connection over TCP with a documented code', async t => {
    await feedAll(t, (seed, hello) => meal(seed, hello, avro, withLength), wrongEndTcp, node, node.tcpPort, 1)
  })

  t.test('closes each connection over WebSocket with a documented code', async t => {
    const asJson = (frame: Sent) => Buffer.from(JSON.stringify(frame))
    const [avroUpgrade, jsonUpgrade] = [upgradeTo('ledgerline.v1.avro'), upgradeTo('ledgerline.v1.json')]
    const cook = (seed: number, hello: Sent) => seed % 2 === 0
      ? meal(seed, hello, avro, message, avroUpgrade)
      : meal(seed, hello, asJson, message, jsonUpgrade)
    await feedAll(t, cook, (outcome, { rough }) => wrongEndWebSocket(outcome, rough), node, node.httpPort, 1_000_001)
  })

  t.test('serves others as if nothing had been', async t => {
    await alive(t, bystander)
    for (const [i, dialect] of dialects.entries()) {
      const { client, welcome } = await connected(t, node, dialect, `after-${i}`)
      t.match(welcome, { resumed: false, uplinkSeq: 0, missed: 0 })
      client.sendAll(uplinks(1, 10))
      t.strictSame(await ackedUpTo(client, 10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
      await node.push(`after-${i}`, 'still here')
      t.match(await client.next(), { op: 'downlink', seq: 1, payload: 'still here' })
      client.send({ op: 'ping', downlinkSeq: 1 })
      t.strictSame(await client.next(), { op: 'pong', uplinkSeq: 10 })
    }
    t.strictSame(node.logged, [])
  })
})
