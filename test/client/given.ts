import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { createClient } from '../../client/node.js'
import type { ClientOptions } from '../../client/node.js'
import { FrameReader } from '../../client/transport-tcp.js'
import { encodeFrame } from '../../schemas/frame-codec.js'
import type { Connect, Connected, Frame, ServerFrame } from '../../schemas/frames.js'

interface Teardown { teardown (done: () => unknown): void }

/** One connection as the test sees it from the server's side. */
export class Peer {
  readonly #socket: Socket
  readonly #frames: Frame[] = []
  #wake = () => {}

  constructor (socket: Socket) {
    this.#socket = socket
    const reader = new FrameReader(frame => {
      this.#frames.push('payload' in frame ? { ...frame, payload: Buffer.from(frame.payload) } : frame)
      this.#wake()
    })
    socket.on('data', chunk => reader.read(chunk))
    socket.on('error', () => {})
  }

  /** The next frame of this kind; others before it are passed over. */
  async next<Op extends Frame['op']> (op: Op): Promise<Extract<Frame, { op: Op }>> {
    while (true) {
      const index = this.#frames.findIndex(frame => frame.op === op)
      if (index >= 0) return this.#frames.splice(0, index + 1).at(-1) as Extract<Frame, { op: Op }>
      await new Promise<void>(resolve => { this.#wake = resolve })
    }
  }

  /** The next frame, whatever it is. */
  async any (): Promise<Frame> {
    while (this.#frames.length === 0) await new Promise<void>(resolve => { this.#wake = resolve })
    return this.#frames.shift()!
  }

  async nextSeqs (count: number): Promise<number[]> {
    const seqs: number[] = []
    while (seqs.length < count) seqs.push((await this.next('uplink')).seq)
    return seqs
  }

  send (...frames: ServerFrame[]): void {
    for (const frame of frames) {
      const bytes = Buffer.alloc(4096)
      const end = encodeFrame(frame, bytes, 4)
      bytes.writeUInt32BE(end - 4)
      this.#socket.write(bytes.subarray(0, end))
    }
  }

  async accept (fields: Partial<Connected> = {}): Promise<Connect> {
    const connect = await this.next('connect')
    this.send({ ...connected, ...fields })
    return connect
  }

  /** Ends it without a word. */
  cut (): void {
    this.#socket.destroy()
  }

  end (): void {
    this.#socket.end()
  }

  async closed (): Promise<void> {
    if (!this.#socket.destroyed) await once(this.#socket, 'close')
  }
}

export const connected: Connected = {
  op: 'connected',
  connectionId: 'c1',
  nodeId: 'n1',
  userId: 'ann',
  resumed: false,
  uplinkSeq: 0,
  downlinkSeq: 0,
  missed: 0,
  heartbeatMs: 60_000,
  uplinkWindow: 4,
  frameBytesMax: 1024,
  serverTimeMs: 0,
}

/** A listener whose connections the test answers by hand. */
export async function givenEdge (t: Teardown) {
  const waiting: Peer[] = []
  const all: Peer[] = []
  let wake = () => {}
  const server = createServer(socket => {
    const peer = new Peer(socket)
    all.push(peer)
    waiting.push(peer)
    wake()
  })
  server.listen(0, '127.0.0.1')
  t.teardown(() => {
    for (const peer of all) peer.cut()
    server.close()
  })
  await once(server, 'listening')
  return {
    url: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    count: () => all.length,
    async peer (): Promise<Peer> {
      while (waiting.length === 0) await new Promise<void>(resolve => { wake = resolve })
      return waiting.shift()!
    },
  }
}

/** A client that reconnects at once. */
export function givenClient (t: Teardown, endpoints: string[], options: Partial<ClientOptions> = {}) {
  const client = createClient({ endpoints, getToken: () => 'token', deviceId: 'phone', random: () => 0, ...options })
  t.teardown(() => client.close())
  return client
}

/** A token of the right form, signed by nobody. @param exp in seconds */
export function tokenUntil (exp: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'HS256' })}.${part({ sub: 'ann', exp })}.AAAA`
}
