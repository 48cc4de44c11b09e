import type { Test } from 'tap'
import { TcpClient, type TestNode, WebSocketClient } from '../node.js'

/*
  The frames of protocol.md 2, written and read here a second time, by hand and from that page alone: what these tests
  send and understand does not come from the codecs that they test.
*/

export interface Sent { readonly op: string, readonly [field: string]: unknown }
export interface Heard { readonly op: string, readonly [field: string]: any }

/** How a connection ended for its client. */
export interface End {
  /** Frames that nobody took, the last one with the reason. */
  readonly left: Heard[]
  /** Undefined on TCP. */
  readonly closeCode: number | undefined
}

/** A client of one transport and encoding. */
export interface Speaker {
  send (frame: Sent): void
  /** All of them in one write where the transport knows that. */
  sendAll (frames: readonly Sent[]): void
  next (): Promise<Heard>
  readonly waiting: number
  closed (): Promise<End>
  /** Leaves without a word. */
  destroy (): void
}

export const dialects = ['TCP', 'WebSocket Avro', 'WebSocket JSON', 'WebSocket without subprotocol'] as const
export type Dialect = typeof dialects[number]

/** Close codes of protocol.md 4. */
export const closeCodes: Readonly<Record<string, number>> = {
  'heartbeat-timeout': 4000,
  'slow-consumer': 4001,
  migrating: 4002,
  redirected: 4003,
  'handshake-timeout': 4004,
  'rate-limited': 4005,
  internal: 4006,
  'token-expired': 4007,
  'bad-frame': 4500,
  'bad-token': 4501,
  protocol: 4502,
  kicked: 4503,
  banned: 4504,
  superseded: 4505,
}

const frames: Record<string, [opcode: number, ...fields: string[]]> = {
  connect: [0x01, 'token:string', 'deviceId:string', 'platform:string', 'client:string', 'sessionId:string', 'downlinkSeq:long'],
  connected: [0x02, 'connectionId:string', 'nodeId:string', 'userId:string', 'resumed:boolean', 'uplinkSeq:long',
    'downlinkSeq:long', 'missed:long', 'heartbeatMs:long', 'uplinkWindow:long', 'frameBytesMax:long', 'serverTimeMs:long'],
  uplink: [0x03, 'seq:long', 'service:string', 'payload:bytes', 'priority:long'],
  uplinkAck: [0x04, 'seq:long', 'userSeqs:longs'],
  uplinkRefused: [0x05, 'expectedSeq:long', 'code:string', 'retryAfterMs:long'],
  downlink: [0x06, 'seq:long', 'messageId:string', 'service:string', 'payload:bytes', 'requestedAtMs:long'],
  downlinkAck: [0x07, 'seq:long'],
  ping: [0x08, 'downlinkSeq:long'],
  pong: [0x09, 'uplinkSeq:long'],
  signal: [0x0a, 'service:string', 'payload:bytes'],
  migrate: [0x0b, 'withinMs:long', 'endpoints:strings', 'reason:string'],
  redirect: [0x0c, 'endpoints:strings', 'retryAfterMs:long', 'code:string'],
  kick: [0x0d, 'code:string', 'reason:string'],
  error: [0x0e, 'code:string', 'message:string'],
  disconnect: [0x0f, 'endSession:boolean'],
}

const defaults: Record<string, unknown> = {
  platform: 'unknown', client: '', downlinkSeq: 0, service: '', priority: 0, endSession: false,
}

/** An Avro long: zigzag, then seven bits a byte, the lowest first. */
export function long (value: number | bigint): Buffer {
  let left = BigInt.asUintN(64, BigInt(value) << 1n ^ BigInt(value) >> 63n)
  const bytes = []
  for (; left > 0x7fn; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(left)])
}

/** An Avro string or bytes. */
export function counted (value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([long(bytes.length), bytes])
}

/** Opcode and body. */
export function avro ({ op, ...values }: Sent): Buffer {
  const [opcode, ...fields] = frames[op]!
  return Buffer.concat([Buffer.of(opcode), ...fields.map(field => {
    const [name, type] = field.split(':') as [string, string]
    const value = name in values ? values[name] : defaults[name]
    switch (type) {
      case 'long': return long(value as number)
      case 'boolean': return Buffer.of(value ? 1 : 0)
      case 'longs': return items(value as number[], long)
      case 'strings': return items(value as string[], counted)
      default: return counted(value as string)
    }
  })])
}

function items<T> (values: readonly T[], write: (value: T) => Buffer): Buffer {
  return Buffer.concat([...values.length > 0 ? [long(values.length), ...values.map(write)] : [], long(0)])
}

/** A frame as it goes over TCP. */
export function withLength (frame: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(frame.length)
  return Buffer.concat([length, frame])
}

/** Reads what the server sent; throws where that is not to the letter. */
export function unavro (bytes: Buffer): Heard {
  let pos = 1
  const readLong = (): number => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(bytes[pos++]!)
      value |= (byte & 0x7fn) << shift
      if (byte < 0x80n) return Number(value >> 1n ^ -(value & 1n))
    }
  }
  const readBytes = (): Buffer => {
    const length = readLong()
    pos += length
    return bytes.subarray(pos - length, pos)
  }
  const readItems = <T>(read: () => T): T[] => {
    const values = []
    for (let count = readLong(); count > 0; count = readLong()) while (count-- > 0) values.push(read())
    return values
  }
  const found = Object.entries(frames).find(([, [opcode]]) => opcode === bytes[0])
  if (!found) throw new Error(`the server sent opcode ${bytes[0]}`)
  const [op, [, ...fields]] = found
  const frame: Record<string, unknown> = { op }
  for (const field of fields) {
    const [name, type] = field.split(':') as [string, string]
    switch (type) {
      case 'long': frame[name] = readLong(); break
      case 'boolean': frame[name] = bytes[pos++] === 1; break
      case 'longs': frame[name] = readItems(readLong); break
      case 'strings': frame[name] = readItems(() => readBytes().toString()); break
      case 'string': frame[name] = readBytes().toString(); break
      case 'bytes': frame[name] = payloadOf(readBytes())
    }
  }
  if (pos !== bytes.length) throw new Error(`${op} has ${bytes.length - pos} bytes too many`)
  return frame as unknown as Heard
}

function payloadOf (bytes: Buffer): string | { base64: string } {
  return Buffer.from(bytes.toString()).equals(bytes) ? bytes.toString() : { base64: bytes.toString('base64') }
}

/** Opens a connection; nothing is said on it yet. */
export async function speaker (t: Test, node: TestNode, dialect: Dialect): Promise<Speaker> {
  switch (dialect) {
    case 'TCP': return new TcpSpeaker(await TcpClient.open(t, node))
    case 'WebSocket Avro': return new AvroSpeaker(await WebSocketClient.open(t, node, 'ledgerline.v1.avro'))
    case 'WebSocket JSON': return new JsonSpeaker(await WebSocketClient.open(t, node, 'ledgerline.v1.json'))
    case 'WebSocket without subprotocol': return new JsonSpeaker(await WebSocketClient.open(t, node))
  }
}

export class TcpSpeaker implements Speaker {
  constructor (readonly client: TcpClient) {}
  send (frame: Sent): void { this.client.write(withLength(avro(frame))) }
  sendAll (frames: readonly Sent[]): void {
    this.client.write(Buffer.concat(frames.map(frame => withLength(avro(frame)))))
  }

  async next (): Promise<Heard> { return unavro(await this.client.next()) }
  get waiting (): number { return this.client.waiting }
  async closed (): Promise<End> { return { left: (await this.client.closed()).map(unavro), closeCode: undefined } }
  destroy (): void { this.client.socket.destroy() }
}

abstract class WebSocketSpeaker implements Speaker {
  constructor (readonly client: WebSocketClient) {}
  abstract send (frame: Sent): void
  abstract read (message: string | Buffer): Heard
  sendAll (frames: readonly Sent[]): void { for (const frame of frames) this.send(frame) }
  async next (): Promise<Heard> { return this.read(await this.client.next()) }
  get waiting (): number { return this.client.waiting }
  async closed (): Promise<End> {
    const left = await this.client.closed()
    return { left: left.map(message => this.read(message)), closeCode: this.client.closeCode }
  }

  destroy (): void { this.client.ws.terminate() }
}

class AvroSpeaker extends WebSocketSpeaker {
  send (frame: Sent): void { this.client.send(avro(frame)) }
  read (message: string | Buffer): Heard {
    if (typeof message === 'string') throw new Error('the server sent text')
    return unavro(message)
  }
}

class JsonSpeaker extends WebSocketSpeaker {
  send (frame: Sent): void { this.client.send(JSON.stringify(frame)) }
  read (message: string | Buffer): Heard {
    if (typeof message !== 'string') throw new Error('the server sent bytes')
    return JSON.parse(message) as Heard
  }
}

/** What a device says first; fields may be replaced. */
export async function connectFrame (node: TestNode, userId: string, more: Partial<Sent> = {}): Promise<Sent> {
  return { op: 'connect', token: await node.token(userId), deviceId: 'phone', sessionId: 's1', ...more }
}

/** A connection that was let in, and what `connected` said; `behind` is sent right behind `connect`. */
export async function connected (
  t: Test, node: TestNode, dialect: Dialect, userId: string, more: Partial<Sent> = {}, behind: readonly Sent[] = []
): Promise<{ client: Speaker, welcome: Heard }> {
  const client = await speaker(t, node, dialect)
  client.sendAll([await connectFrame(node, userId, more), ...behind])
  const welcome = await client.next()
  if (welcome.op !== 'connected') throw new Error(`connect was answered with ${JSON.stringify(welcome)}`)
  return { client, welcome }
}

/** The last frame gives `code`, the close code is its own, and the server closed in order. */
export async function endsWith (t: Test, client: Speaker, code: string): Promise<Heard> {
  const { left, closeCode } = await client.closed()
  const last = left.at(-1) ?? { op: 'nothing' }
  t.equal(last.code, code, `the last frame says ${code}`)
  if (closeCode !== undefined) t.equal(closeCode, closeCodes[code], `the close code is that of ${code}`)
  return last
}

/** A `ping` is answered: the connection lives, and all that was sent before is handled. */
export async function alive (t: Test, client: Speaker): Promise<void> {
  client.send({ op: 'ping' })
  t.equal((await client.next()).op, 'pong', 'a ping is answered')
}

/** Takes acks until everything up to `seq` is acked; returns all userSeqs in order. */
export async function ackedUpTo (client: Speaker, seq: number): Promise<number[]> {
  const userSeqs: number[] = []
  for (let acked = 0; acked < seq;) {
    const frame = await client.next()
    if (frame.op !== 'uplinkAck') throw new Error(`wanted an ack, got ${JSON.stringify(frame)}`)
    if (frame.seq <= acked) throw new Error(`ack of ${frame.seq} after ${acked}`)
    if (frame.userSeqs.length > frame.seq - acked) throw new Error(`${frame.userSeqs.length} answers for ${frame.seq}`)
    acked = frame.seq
    userSeqs.push(...frame.userSeqs)
  }
  return userSeqs
}

export function uplinks (from: number, to: number, payload = 'up'): Sent[] {
  return Array.from({ length: to - from + 1 }, (_, i) => ({ op: 'uplink', seq: from + i, payload: `${payload} ${from + i}` }))
}
