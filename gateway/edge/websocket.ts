import fastifyWebSocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { WebSocket } from 'ws'
import type { Connection } from '../../actors/connection/connection.js'
import { takeControl } from '../../actors/connection/rate.js'
import type { SharedFrame, Wire } from '../../actors/connection/wire.js'
import type { SharedSignal } from '../../actors/links.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Frame, ServerFrame } from '../../schemas/frames.js'
import type { OriginRule } from '../origins.js'
import { addressOf, type Client, clientOf, clientOfSocket, namedClient } from './clients.js'
import type { Door } from './door.js'
import type { Edge } from './edge.js'
import { type Encoder, webSocketEncoder, webSocketJsonEncoder } from './encoders.js'
import { startReading, stopReading } from './handle.js'
import { avroMessages, jsonMessages, type MessageKind, takeMessages } from './websocket-frames.js'
import { AcceptTimes, avroProtocol, checkUpgrade, chooseProtocol } from './upgrade.js'

const none: never[] = []

/** Control frames of RFC 6455 are at most 125 bytes long, so their header is two bytes. */
const pongOpcode = 0x8a

/**
 * Adds `GET /v1/connect` to the HTTP side.
 *
 * What a message that is not whole yet may be kept in is bounded by number, too: each fragment, and each read that
 * ended within one, costs some hundred bytes however small it is. A client that writes its frames whole needs one of
 * each, and one read for each packet of the network, which has 256 bytes at least.
 */
export function webSocketRoute (app: FastifyInstance, edge: Edge, door: Door, isAllowedOrigin: OriginRule): void {
  const { frameBytesMax, lingerMs } = edge.context.limits
  const accepted = new AcceptTimes(app, edge.context.ticks)
  app.register(fastifyWebSocket, {
    options: {
      maxPayload: frameBytesMax,
      maxFragments: Math.max(64, frameBytesMax >> 10),
      maxBufferedChunks: 256 + (frameBytesMax >> 8),
      perMessageDeflate: false,
      clientTracking: false,
      closeTimeout: lingerMs,
      autoPong: false, // ours goes out with the turn, and counts
      handleProtocols: chooseProtocol,
      WebSocket: ClientSocket,
    } as object,
    // The edge closes its connections itself, flushed and with a code; the default closes every one at once and waits.
    preClose: (done: () => void) => { done() },
  })
  app.register(async scope => {
    scope.get('/v1/connect', {
      websocket: true,
      config: { browsers: true },
      onRequest: async request => { checkUpgrade(request, door, isAllowedOrigin) },
    // Handlers are attached in this very turn: a frame that comes before them would be lost.
    }, (ws, { raw }) => {
      const { socket } = raw
      const network = door.countsAs(clientOf(raw).ip)
      const wire = new WebSocketWire(ws as ClientSocket, socket, edge, network, namedClient(raw), accepted.take(socket))
      releaseRequest(ws, socket)
      attach(ws as ClientSocket, socket, wire)
    })
  })
}

/**
 * A socket whose peer broke RFC 6455 or sent too much is closed by ws with 1002 to 1009; ours say `bad-frame`. When ws
 * closes because the client did, it gives a reason back, if an empty one.
 */
class ClientSocket extends WebSocket {
  wire: WebSocketWire | undefined

  override close (code?: number, reason?: string | Buffer): void {
    if (code !== undefined && reason === undefined && this.wire) this.wire.broken(code)
    else {
      this.wire?.closes()
      super.close(code, reason)
    }
  }
}

class WebSocketWire implements Wire {
  readonly transport = 'ws'
  readonly #ws: ClientSocket
  /** As a proxy says; undefined: the peer. */
  readonly #client: Client | undefined
  readonly #socket: Socket
  readonly #edge: Edge
  readonly #connection: Connection
  readonly #encoder: Encoder
  readonly #kind: MessageKind
  /** Pings that this turn has to answer. */
  #pongs: Buffer[] | undefined
  /** What the read under way has brought. */
  #frames: Frame[] = none
  #messageBytes = 0
  #ended = false
  /** The closing handshake is on: what the client still sends is read, or the kernel would answer it with a reset. */
  #closing = false

  constructor (
    ws: ClientSocket, socket: Socket, edge: Edge, network: string | undefined, client: Client | undefined,
    acceptedAt: number
  ) {
    this.#ws = ws
    this.#client = client
    this.#socket = socket
    this.#edge = edge
    const isAvro = ws.protocol === avroProtocol
    this.#kind = isAvro ? avroMessages : jsonMessages
    this.#encoder = isAvro ? webSocketEncoder : webSocketJsonEncoder
    this.#connection = edge.accept(this, network, acceptedAt)
  }

  get address (): string { return addressOf(this.#client ?? clientOfSocket(this.#socket)) }
  get queuedBytes (): number { return this.#socket.writableLength }
  get bytesIn (): number { return this.#socket.bytesRead }
  get bytesOut (): number { return this.#socket.bytesWritten }
  write (frame: ServerFrame): void { this.#encoder.write(frame) }
  writeSignal (signal: SharedSignal): void { this.#encoder.writeSignal(signal) }
  writeShared (shared: SharedFrame): void { this.#encoder.writeShared(shared) }
  bytesOf (shared: SharedFrame): number { return this.#encoder.bytesOf(shared) }

  flush (): void {
    const bytes = this.#encoder.take()
    const pongs = this.#pongs
    this.#pongs = undefined
    if (this.#ws.readyState !== WebSocket.OPEN) return
    if (pongs) this.#socket.write(pongs.length === 1 ? pongs[0]! : Buffer.concat(pongs))
    if (bytes) this.#socket.write(bytes)
  }

  pause (): void {
    this.#ws.pause()
    if (!this.#closing) stopReading(this.#socket)
  }

  resume (): void {
    this.#ws.resume()
    startReading(this.#socket)
  }

  closes (): void {
    this.#closing = true
    startReading(this.#socket)
  }

  end (closeCode: number, reason: string): void {
    this.#ended = true
    // Paused, it would not see the client's half of the closing handshake.
    this.resume()
    this.#ws.close(closeCode, reason)
  }

  destroy (): void {
    this.#encoder.drop()
    this.#ws.terminate()
  }

  /**
   * One read of the socket. Messages that are whole are taken right off it: what ws does for each of them costs more
   * than all else at the edge (docs/decisions/0032-whole-messages.md). ws has the rest, and all while it is within a
   * message.
   */
  read (chunk: Buffer): void {
    const receiver = receiverOf(this.#ws)
    if (!receiver.writable) return // it has seen the close frame, or what breaks RFC 6455
    const taken = this.#ended || !isBetweenMessages(receiver) ? 0 : this.#take(chunk)
    if (taken < chunk.length && !receiver.write(taken === 0 ? chunk : chunk.subarray(taken))) this.#socket.pause()
    if (this.#ended) return
    const { reading } = this.#connection
    reading.hasRead(this.#connection, chunk.length)
    reading.keepsPartial(this.#connection, receiver._bufferedBytes + receiver._messageLength)
    if (this.#frames.length > 0) this.#pass(chunk.length)
  }

  /** From ws: a message that came in pieces, or behind one that did, or behind a control frame. A view, or a copy. */
  message (data: Buffer, isBinary: boolean): void {
    if (this.#ended) return
    try {
      if (isBinary !== (this.#kind === avroMessages)) throw new GatewayError('bad-frame', wrongKind(isBinary))
      const frame = this.#kind.decode(data, 0, data.length)
      if (this.#frames.length === 0) this.#frames = [frame]
      else this.#frames.push(frame)
      this.#messageBytes += data.length
    } catch (err) {
      this.#bad(err as GatewayError)
    }
  }

  pinged (data: Buffer): void {
    if (this.#ended || !this.#inRate()) return
    const pong = Buffer.allocUnsafe(2 + data.length)
    pong[0] = pongOpcode
    pong[1] = data.length
    pong.set(data, 2)
    if (this.#pongs) this.#pongs.push(pong)
    else this.#pongs = [pong]
    this.#connection.wakeUp()
  }

  /** One that nobody asked for is a heartbeat, too (RFC 6455, 5.5.3). */
  ponged (): void {
    if (!this.#ended) this.#inRate()
  }

  /** From ws: nothing more can be read from this client. */
  broken (closeCode: number): void {
    if (!this.#ended) this.#bad(new GatewayError('bad-frame', brokenRules[closeCode] ?? 'not a WebSocket message'))
  }

  drained (): void { this.#connection.tell({ type: 'drained' }) }

  closed (clean: boolean): void {
    // ws reads what its socket still has when that closes, and tells of no read then.
    if (this.#frames.length > 0) this.#pass(0)
    this.#edge.closed(this.#connection, clean)
  }

  /** @returns how many bytes of the read have been dealt with */
  #take (chunk: Buffer): number {
    if (this.#frames.length === 0) this.#frames = []
    const { bytes, error } = takeMessages(chunk, this.#kind, this.#edge.context.limits.frameBytesMax, this.#frames)
    this.#messageBytes += bytes
    if (error) this.#bad(error)
    return bytes
  }

  /** The connection is given the frames of one read. They are views on its buffer, and keep `bytes` of it at least. */
  #pass (bytes: number): void {
    this.#connection.received(this.#frames, Math.max(bytes, this.#messageBytes))
    this.#frames = none
    this.#messageBytes = 0
  }

  #bad (error: GatewayError): void {
    this.#ended = true
    if (this.#frames.length > 0) this.#pass(0)
    this.#connection.receivedBadFrame(error)
  }

  #inRate (): boolean {
    this.#ended = !takeControl(this.#connection)
    return !this.#ended
  }
}

/** What ws reads with, and what that keeps of a message that is not whole: of its frame, and of fragments before it. */
interface Receiver extends Writable {
  readonly _bufferedBytes: number
  readonly _messageLength: number
  /** 0: a header is next. */
  readonly _state: number
  /** Opcode of the message whose fragments come; 0 for none. */
  readonly _fragmented: number
}

function receiverOf (ws: WebSocket): Receiver { return (ws as unknown as { _receiver: Receiver })._receiver }

/** Should ws ever name these otherwise, this is never true, and it reads everything. */
function isBetweenMessages ({ _state, _bufferedBytes, _fragmented }: Receiver): boolean {
  return _state === 0 && _bufferedBytes === 0 && _fragmented === 0
}

/** What ws means by its close codes. */
const brokenRules: Readonly<Record<number, string>> = {
  1008: 'a message in too many parts',
  1009: 'a message larger than frameBytesMax',
}

function wrongKind (isBinary: boolean): string {
  return isBinary
    ? `a binary message, but the subprotocol is not ${avroProtocol}`
    : `a text message, but the subprotocol is ${avroProtocol}`
}

/**
 * Lets go of the upgrade request, which the socket and the plugin's listener would keep as long as the connection
 * lives: 2.8 KB each.
 */
function releaseRequest (ws: WebSocket, socket: Socket): void {
  ws.removeAllListeners('error')
  const held = socket as Socket & { _httpMessage?: ServerResponse | null }
  held._httpMessage?.detachSocket(socket)
}

interface WiredSocket extends Socket { wire: WebSocketWire }

function attach (ws: ClientSocket, socket: Socket, wire: WebSocketWire): void {
  ws.wire = wire
  ;(socket as WiredSocket).wire = wire
  ws.on('message', onMessage)
  ws.on('ping', onPing)
  ws.on('pong', onPong)
  ws.on('error', onError)
  ws.on('close', onClose)
  socket.on('drain', onDrain)
  socket.removeAllListeners('data').on('data', onData) // ws is given what is for it
}

function onMessage (this: WebSocket, data: unknown, isBinary: boolean): void {
  (this as ClientSocket).wire!.message(data as Buffer, isBinary)
}
function onPing (this: WebSocket, data: Buffer): void { (this as ClientSocket).wire!.pinged(data) }
function onPong (this: WebSocket): void { (this as ClientSocket).wire!.ponged() }
function onError (): void { /* 'close' follows */ }
function onClose (this: WebSocket, code: number): void { (this as ClientSocket).wire!.closed(code !== 1006) }
function onData (this: Socket, chunk: Buffer): void { (this as WiredSocket).wire.read(chunk) }
function onDrain (this: Socket): void { (this as WiredSocket).wire.drained() }
