import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import { decodeFrame, encodeFrame, opcodes } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'
import { type NodeProcess, request, tokenFor, until } from './node-process.js'

const lengthBytes = 4
const readBytes = 256 << 10
/** Clients that are on their way in at the same time. */
const openingMax = 200

/** What one client has been given of a room. */
export interface Heard {
  /** Place that it was given last, and posts since. */
  roomSeq: number
  posts: number
  /** Posts that it was told are gone. */
  missed: number
  /** The first post that did not follow the one before. */
  wrong: string
}

/**
 * A client of which a process has room for thousands: a socket, and some numbers for each of its rooms. All of them
 * read into one buffer.
 */
export class CrowdClient {
  readonly #socket: Socket
  readonly #rooms = new Map<string, Heard>()
  #rest: Buffer | undefined
  /** Number of the last uplink that was sent and not refused, and of the last one that was acked. */
  sent = 0
  acked = 0
  /** How often it was told `uplinkRefused`, by code. */
  readonly refused = new Map<string, number>()
  connectionId = ''
  /** Until then nothing is posted: it was told to wait. */
  waitUntilMs = 0
  /** Code of its end; empty while there is none. */
  endedBy = ''
  isClosed = false

  constructor (t: Test, node: NodeProcess, readonly userId: string) {
    const { port } = new URL(node.tcp)
    this.#socket = connect({
      host: '127.0.0.1',
      port: Number(port),
      onread: {
        buffer: readBuffer,
        callback: (bytes, buffer) => {
          this.#read(Buffer.from(buffer.buffer, buffer.byteOffset, bytes))
          return true
        },
      },
    })
    this.#socket.on('error', () => {}).on('close', () => { this.isClosed = true })
    t.teardown(() => { this.#socket.destroy() })
  }

  async open (): Promise<void> {
    const { userId } = this
    const token = await tokenFor(userId, { rooms: { '*': 'rw' } })
    this.send({ op: 'connect', token, deviceId: 'd', platform: '', client: '', sessionId: 's', downlinkSeq: 0 })
    await until(() => this.connectionId !== '' || this.isClosed)
    if (this.isClosed) throw new Error(`${userId} was closed: ${this.endedBy}`)
  }

  async join (roomId: string): Promise<void> {
    this.#rooms.set(roomId, { roomSeq: -1, posts: 0, missed: 0, wrong: '' })
    this.send({ op: 'join', roomId, roomSeq: -1 })
    await until(() => this.heard(roomId).roomSeq >= 0)
  }

  heard (roomId: string): Heard { return this.#rooms.get(roomId)! }

  /** It does not read any more; `read` ends that. */
  stopReading (): void { this.#socket.pause() }
  read (): void { this.#socket.resume() }

  post (roomId: string, payload: Uint8Array): void {
    this.send({ op: 'uplink', seq: ++this.sent, service: '', payload, priority: 0, roomId })
  }

  ping (): void { this.send({ op: 'ping', downlinkSeq: 0, silentMs: 0 }) }

  send (frame: Frame): void { if (!this.isClosed) this.#socket.write(framed(frame)) }

  close (): void { this.#socket.destroy() }

  /** `bytes` are gone as soon as this returns. */
  #read (bytes: Buffer): void {
    const whole = this.#rest ? Buffer.concat([this.#rest, bytes]) : bytes
    let at = 0
    while (whole.length - at >= lengthBytes) {
      const start = at + lengthBytes
      const end = start + whole.readUInt32BE(at)
      if (end > whole.length) break
      if (whole[start] === opcodes.post) this.#post(whole, start + 1)
      else this.#received(decodeFrame(whole, start, end))
      at = end
    }
    this.#rest = at < whole.length ? Buffer.from(whole.subarray(at)) : undefined
  }

  /** The payload is nobody's business: a frame is not decoded for its number. */
  #post (bytes: Buffer, start: number): void {
    const idAt = start + 1
    const idEnd = idAt + (bytes[start]! >> 1) // ids here have less than 64 bytes
    const heard = this.#rooms.get(bytes.toString('latin1', idAt, idEnd))
    if (!heard) return
    const roomSeq = zigZag(bytes, idEnd)
    if (roomSeq !== heard.roomSeq + 1) heard.wrong ||= `${this.userId} was given ${roomSeq} after ${heard.roomSeq}`
    heard.roomSeq = roomSeq
    heard.posts++
  }

  #received (frame: Frame): void {
    switch (frame.op) {
      case 'connected': this.connectionId = frame.connectionId; return
      case 'joined': {
        const heard = this.heard(frame.roomId)
        heard.roomSeq = frame.roomSeq
        heard.missed += frame.missed
        return
      }
      case 'uplinkAck': this.acked = Math.max(this.acked, frame.seq); return
      case 'uplinkRefused':
        this.refused.set(frame.code, (this.refused.get(frame.code) ?? 0) + 1)
        this.sent = frame.expectedSeq - 1 // what comes next has that number
        this.waitUntilMs = Date.now() + frame.retryAfterMs
        return
      case 'error': case 'kick': case 'redirect': this.endedBy = frame.code
    }
  }
}

/** Opens as many, all in these rooms. */
export async function openCrowd (
  t: Test, node: NodeProcess, { name, count, rooms }: { name: string, count: number, rooms: readonly string[] }
): Promise<CrowdClient[]> {
  const clients: CrowdClient[] = []
  for (let from = 0; from < count; from += openingMax) {
    const some = Array.from({ length: Math.min(openingMax, count - from) }, (_, i) =>
      new CrowdClient(t, node, `${name}${from + i}`))
    await Promise.all(some.map(async client => {
      await client.open()
      for (const roomId of rooms) await client.join(roomId)
    }))
    clients.push(...some)
  }
  return clients
}

/** Has all of them ping in turn, each once in `everyMs`. @returns what stops it */
export function keepAlive (t: Test, clients: readonly CrowdClient[], everyMs: number): () => void {
  const turnMs = 100
  const each = Math.ceil(clients.length * turnMs / everyMs)
  let next = 0
  const timer = setInterval(() => {
    for (let i = 0; i < each; i++) clients[next++ % clients.length]!.ping()
  }, turnMs)
  const stop = () => { clearInterval(timer) }
  t.teardown(stop)
  return stop
}

/** What `/metrics` says; 0 where it is not there. */
export async function gaugeOf (node: NodeProcess, name: string): Promise<number> {
  const { text } = await request(node, '/metrics')
  return Number(new RegExp(`^ledgerline_${name.replace(/[{}"]/g, '\\$&')} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}

/** Waits until all that follows a stream has done what there is. */
export async function settled (node: NodeProcess): Promise<void> {
  await until(async () => {
    const { body } = await request(node, '/v1/lag')
    return body.followers?.every(({ blocks }: { blocks: number }) => blocks === 0)
  }, 200)
}

const readBuffer = Buffer.allocUnsafeSlow(readBytes)
const scratch = Buffer.allocUnsafeSlow(128 << 10)

function framed (frame: Frame): Buffer {
  const end = encodeFrame(frame, scratch, lengthBytes)
  scratch.writeUInt32BE(end - lengthBytes)
  return Buffer.from(scratch.subarray(0, end))
}

/** A number of Avro, below 2^52. */
function zigZag (bytes: Buffer, at: number): number {
  let value = 0
  for (let factor = 1; ; factor *= 128) {
    const byte = bytes[at++]!
    value += (byte & 127) * factor
    if (byte < 128) return value / 2
  }
}
