import { connect, type Socket } from 'node:net'
import { frameBytes } from '../client/transport-tcp.js'
import type { ClientFrame } from '../schemas/frames.js'
import type { Network } from './network.js'
import { ports, type SimulatedNode } from './node.js'
import type { Random } from './random.js'
import { jwtOf } from './tokens.js'
import type { Host, World } from './world.js'

export interface StrangersOptions {
  readonly address: string
  /** Nodes that take clients. */
  readonly nodes: readonly SimulatedNode[]
  readonly jwtSecret: string
}

/** Within which a node is to have closed its socket, ms: a handshake, a pause of the node, and a while. */
const closedWithinMs = 60_000
const noiseBytesMax = 300
/** A frame that is none, and bytes that begin no WebSocket frame. */
const noFrame = Buffer.alloc(4)
const noWebSocketFrame = Buffer.from([0xff, 0xff])
const upgrade = 'GET /v1/connect HTTP/1.1\r\nhost: gateway\r\nconnection: Upgrade\r\nupgrade: websocket\r\n' +
  'sec-websocket-version: 13\r\nsec-websocket-key: c2l4dGVlbiBieXRlcyAhIQ==\r\n\r\n'

/** What a stranger says to the port of TCP clients. */
const sayings: ReadonlyArray<(frames: readonly Buffer[], random: Random) => readonly Buffer[]> = [
  () => [],
  (_frames, random) => [noise(random)],
  () => [Buffer.from([0xff, 0xff, 0xff, 0xff, 1])],
  ([first], random) => [first!.subarray(0, 1 + random.below(first!.length - 1))],
  (frames, random) => [changed(Buffer.concat(frames), random), noFrame],
  (frames, random) => [...frames, framed(noise(random)), noFrame],
]

/** Programs that are no clients of ours, or no longer: what they say is noise, in part or all of it. */
export class Strangers {
  readonly complaints: string[] = []
  readonly #host: Host
  #count = 0

  constructor (world: World, network: Network, readonly options: StrangersOptions) {
    this.#host = world.host('strangers', options.address)
    network.attach(this.#host)
  }

  /** One more. */
  come (random: Random): void {
    const node = random.pick(this.options.nodes)
    const isTcp = random.chance(0.6)
    const says = isTcp
      ? random.pick(sayings)(this.#frames(), random)
      : [...random.chance(0.6) ? [Buffer.from(upgrade)] : [], noise(random), noWebSocketFrame]
    this.#host.later(0, 'a stranger comes', () => {
      const socket = connect({ host: node.options.address, port: isTcp ? ports.tcp : ports.http })
      this.#watch(socket, node, says)
      socket.on('error', () => {})
      socket.once('connect', () => { for (const bytes of says) socket.write(bytes) })
      socket.resume()
    })
  }

  #watch (socket: Socket, node: SimulatedNode, says: readonly Buffer[]): void {
    const { host } = node
    const cancel = this.#host.later(closedWithinMs, 'has waited for its end', () => {
      // Of a node that has ended without a word it hears nothing.
      if (node.isUp && node.host === host) {
        const said = Buffer.concat(says).toString('hex')
        this.complaints.push(`${node.options.id} has kept the socket of a stranger who said "${said}"`)
      }
      socket.destroy()
    })
    socket.once('close', cancel)
  }

  /** A client's first frames, of a user that nobody else is. */
  #frames (): Buffer[] {
    const userId = `stranger-${++this.#count}`
    const token = jwtOf({ userId, tokenId: userId, expiresAtMs: Infinity }, this.options.jwtSecret)
    const frames: ClientFrame[] = [
      { op: 'connect', token, deviceId: 'd', platform: '', client: '', sessionId: userId, downlinkSeq: 0 },
      { op: 'uplink', seq: 1, service: '', payload: Buffer.from(`${userId} 1`), priority: 0, roomId: '' },
      { op: 'ping', downlinkSeq: 0, silentMs: 0 },
    ]
    return frames.map(frame => framed(frameBytes(frame, 0)))
  }
}

function framed (body: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}

function noise (random: Random): Buffer {
  const bytes = Buffer.alloc(1 + random.below(noiseBytesMax))
  random.fill(bytes)
  return bytes
}

/** With one bit that is another one. */
function changed (bytes: Buffer, random: Random): Buffer {
  bytes[random.below(bytes.length)]! ^= 1 << random.below(8)
  return bytes
}
