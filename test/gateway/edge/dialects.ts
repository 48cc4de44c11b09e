import type { Test } from 'tap'
import { TcpClient, type TestNode, WebSocketClient } from '../node.js'
import { avro, type Heard, type Sent, unavro, withLength } from './hand-avro.js'

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
  'token-early': 4008,
  'key-set-unavailable': 4009,
  'ledger-unavailable': 4010,
  'auth-unavailable': 4011,
  'bad-frame': 4500,
  'bad-token': 4501,
  protocol: 4502,
  kicked: 4503,
  banned: 4504,
  superseded: 4505,
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

export abstract class WebSocketSpeaker implements Speaker {
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
