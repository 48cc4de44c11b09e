import { createServer, type Server, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Connection } from '../../actors/connection/connection.js'
import { readBytesMax } from '../../actors/connection/intake.js'
import type { Wire } from '../../actors/connection/wire.js'
import type { SharedSignal } from '../../actors/links.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Frame, ServerFrame } from '../../schemas/frames.js'
import type { ServerTls } from '../server-tls.js'
import { type AddressList, addressOf, type Client, clientOfSocket } from './clients.js'
import type { Door, Refusal } from './door.js'
import type { Edge } from './edge.js'
import { type Encoder, tcpEncoder } from './encoders.js'
import { fdOf, startReading, stopReading } from './handle.js'
import { Prelude } from './prelude.js'
import { looksLikeProxyHeader } from './proxy-header.js'
import { acceptBacklog } from '../ports.js'
import { lengthBytes, takeFrames } from './tcp-frames.js'

export interface TcpOptions {
  readonly host: string
  readonly port: number
  /** Its clients speak TLS. */
  readonly tls: ServerTls | undefined
  /** Who begins with a PROXY header; undefined for nobody. */
  readonly proxies: AddressList | undefined
  /** Told of each PROXY header that is bad, missing, or from somebody else. */
  headerRefused (): void
}

export interface TcpListener {
  readonly port: number
  stop (): Promise<void>
}

/** Accepts raw TCP clients. Handlers are shared functions and state is in one object: nothing is made per read. */
export async function listenTcp (edge: Edge, door: Door, options: TcpOptions): Promise<TcpListener> {
  const { host, port } = options
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, backlog: acceptBacklog }, resolve)
  })
  const beginning = new Set<Socket>()
  takeHandles(server, edge, door, options, beginning)
  return {
    port: (server.address() as { port: number }).port,
    stop () {
      for (const socket of beginning) socket.destroy()
      return new Promise(resolve => { server.close(() => { resolve() }) })
    },
  }
}

/**
 * Takes the handles of accepted sockets as they arrive, for two reasons.
 *
 * All sockets read into one buffer, from which each read is copied. Node would make a buffer of 64 KB for every read
 * and cut it to size, which leaves the heap of the C library in pieces: 11.6 KB a connection after 8,000 at once,
 * against 4.3 KB (docs/decisions/0007-one-read-buffer.md). Accepted sockets take no `onread` option, so they are made
 * here, as net.js would make them.
 *
 * And one that is refused without a word costs no more than its handle. Under TLS each socket reads by itself.
 *
 * @param beginning has the sockets whose PROXY header is still to come
 */
function takeHandles (server: Server, edge: Edge, door: Door, options: TcpOptions, beginning: Set<Socket>): void {
  const { tls, proxies } = options
  const onread = { buffer: Buffer.allocUnsafeSlow(readBytesMax), callback: onRead }
  const { _handle: listening } = server as any
  listening.onconnection = (status: number, handle: any) => {
    if (status !== 0) return // no descriptor was left: the sweep of `Descriptors` sees that
    const peer: { address?: string } = {}
    handle.getpeername(peer)
    const { address: ip = '' } = peer
    const isProxy = proxies !== undefined && proxies.has(ip)
    const refusal = isProxy ? door.shortage(handle.fd) : door.refusal(ip, handle.fd)
    if (refusal?.mute) {
      handle.close()
      return
    }
    handle.setNoDelay(true)
    const accepted = { handle, allowHalfOpen: true, ...(tls ? {} : { onread }) }
    const plain = new Socket(accepted as ConstructorParameters<typeof Socket>[0])
    if (isProxy && !refusal) {
      awaitHeader(plain, edge, door, options, beginning)
      plain.resume()
      return
    }
    const socket = tls ? secured(plain, tls) : plain
    if (refusal) turnAway(socket, refusal, edge)
    else attach(socket, new TcpWire(socket, edge, options, door.countsAs(ip), undefined))
    socket.resume()
  }
}

/**
 * A socket of a proxy, which says first whose it is: in the clear, also where TLS follows. One that says something else
 * may hand on what its client has written, which could be a header then, so it is refused: as the specification has it,
 * nobody guesses. One that says nothing looks whether anybody listens, and may.
 */
function awaitHeader (plain: Socket, edge: Edge, door: Door, options: TcpOptions, beginning: Set<Socket>): void {
  const { tls } = options
  const acceptedAt = edge.context.ticks()
  const prelude = new Prelude(edge.context.limits.handshakeMs, () => { plain.destroy() }, ({ header, rest, error }) => {
    beginning.delete(plain)
    if (tls) {
      plain.off('data', onPlainData).pause()
      detach(plain)
      if (rest.length > 0) plain.unshift(rest)
    }
    const socket = tls ? secured(plain, tls) : plain
    if (header) {
      const client = header.client ?? clientOfSocket(plain)
      const refusal = door.refusal(client.ip, fdOf(plain))
      if (refusal) turnAway(socket, refusal, edge)
      else {
        const wire = new TcpWire(socket, edge, options, door.countsAs(client.ip), client, acceptedAt)
        if (tls) attach(socket, wire)
        else {
          (socket as WiredSocket).wire = wire
          if (rest.length > 0) wire.read(rest)
        }
      }
    } else {
      options.headerRefused()
      sayLast(socket, errorFrame(error ?? new GatewayError('bad-frame', 'no PROXY header, but LEDGERLINE_TRUSTED_PROXIES ' +
        `names ${plain.remoteAddress}: it must send one`)), edge, true)
    }
    socket.resume()
  })
  const onPlainData = (chunk: Buffer): void => { prelude.read(chunk) }
  beginning.add(plain)
  if (tls) plain.on('data', onPlainData)
  attach(plain, {
    read: onPlainData,
    finished () { plain.end() },
    drained () {},
    closed () {
      prelude.stop()
      beginning.delete(plain)
    },
  })
}

/** What it writes before the handshake is over waits for that. */
function secured (plain: Socket, tls: ServerTls): TLSSocket {
  const socket = new TLSSocket(plain, { isServer: true, secureContext: tls.context })
  const onFailure = (error: Error): void => { tls.failed('tcp', error) }
  socket.once('error', onFailure)
  socket.once('secure', () => { socket.off('error', onFailure) })
  socket.on('data', onTlsData)
  return socket
}

/** Says why. */
function turnAway (socket: Socket, { code, reason, retryAfterMs, mayLinger }: Refusal, edge: Edge): void {
  sayLast(socket, code === 'redirected'
    ? { op: 'redirect', endpoints: edge.context.alternates('tcp'), retryAfterMs, code }
    : { op: 'error', code, message: reason, retryAfterMs }, edge, mayLinger)
}

function errorFrame ({ code, message }: GatewayError): ServerFrame {
  return { op: 'error', code, message, retryAfterMs: 0 }
}

/** The socket is gone as soon as its client has read it, or has had a moment to. */
function sayLast (socket: Socket, frame: ServerFrame, { lingerers }: Edge, mayLinger: boolean): void {
  socket.on('error', () => {})
  tcpEncoder.write(frame)
  socket.end(tcpEncoder.take() ?? nothing)
  if (mayLinger) {
    lingerers.add(socket)
    socket.once('close', () => { lingerers.delete(socket) })
  } else socket.destroySoon()
}

const nothing = new Uint8Array(0)

/** Most frames that a read cuts in two are smaller. */
const roomBytesMin = 512

/** What a socket's events go to. */
interface Reader {
  read (chunk: Buffer): void
  finished (): void
  drained (): void
  closed (failed: boolean): void
}

class TcpWire implements Wire, Reader {
  readonly transport = 'tcp'
  readonly #socket: Socket
  readonly #edge: Edge
  readonly #connection: Connection
  readonly #options: TcpOptions
  /** As a proxy says; undefined: the peer. */
  readonly #client: Client | undefined
  /** Start of a frame whose end was not in the last read, and room for more of it. */
  #partial: Uint8Array = nothing
  #partialLength = 0
  /** What must be there before it is looked at again: the frame, or LENGTH while that is not known. */
  #wantedBytes = 0
  #ended = false

  constructor (
    socket: Socket, edge: Edge, options: TcpOptions, network: string | undefined, client: Client | undefined,
    acceptedAt = edge.context.ticks()
  ) {
    this.#socket = socket
    this.#edge = edge
    this.#options = options
    this.#client = client
    this.#connection = edge.accept(this, network, acceptedAt)
  }

  get address (): string { return addressOf(this.#client ?? clientOfSocket(this.#socket)) }
  get queuedBytes (): number { return this.#socket.writableLength }
  get bytesIn (): number { return this.#socket.bytesRead }
  get bytesOut (): number { return this.#socket.bytesWritten }
  write (frame: ServerFrame): void { encoder.write(frame) }
  writeSignal (signal: SharedSignal): void { encoder.writeSignal(signal) }

  flush (): void {
    const bytes = encoder.take()
    if (bytes && this.#socket.writable) this.#socket.write(bytes)
  }

  pause (): void {
    this.#socket.pause()
    stopReading(this.#socket)
  }

  resume (): void {
    this.#socket.resume()
    startReading(this.#socket)
  }

  end (): void {
    this.#ended = true
    this.#socket.end()
    // Reads on and drops it: closing on unread bytes would make the kernel reset, and our last frame with it.
    this.resume()
  }

  destroy (): void { this.#socket.destroy() }

  read (chunk: Buffer): void {
    if (this.#ended) return
    const { reading } = this.#connection
    reading.hasRead(this.#connection, chunk.length)
    const bytes = this.#partialLength === 0 ? chunk : this.#complete(chunk)
    if (!bytes) {
      reading.keepsPartial(this.#connection, this.#partial.length)
      return
    }
    const frames: Frame[] = []
    const { partial, partialBytes, error } = takeFrames(bytes, this.#edge.context.limits.frameBytesMax, frames)
    if (partial) this.#keep(partial, partialBytes)
    reading.keepsPartial(this.#connection, this.#partial.length)
    if (frames.length > 0) this.#connection.received(frames, bytes.length)
    if (error) {
      this.#ended = true
      this.#connection.receivedBadFrame(this.#isForeignHeader(bytes) ? strangersHeader : error)
    }
  }

  /** The client has closed its half. One that does so within a frame did not mean to. */
  finished (): void {
    if (this.#ended || this.#partialLength === 0) {
      this.#socket.end()
      return
    }
    this.#ended = true
    this.#connection.receivedBadFrame(new GatewayError('bad-frame', 'the stream ends within a frame'))
  }

  drained (): void { this.#connection.tell({ type: 'drained' }) }
  closed (failed: boolean): void { this.#edge.closed(this.#connection, !failed) }

  /** Nothing that it sent before was a frame, and this begins as a PROXY header does. */
  #isForeignHeader (bytes: Buffer): boolean {
    if (this.#connection.phase !== 'new' || !looksLikeProxyHeader(bytes)) return false
    this.#options.headerRefused()
    return true
  }

  /** The chunk behind what was kept; undefined while a frame larger than both is still not whole. */
  #complete (chunk: Buffer): Buffer | undefined {
    const length = this.#partialLength + chunk.length
    if (length > this.#partial.length) this.#partial = this.#withRoom(length)
    const partial = this.#partial
    partial.set(chunk, this.#partialLength)
    this.#partialLength = length
    if (length < this.#wantedBytes) return undefined
    this.#partial = nothing
    this.#partialLength = 0
    return Buffer.from(partial.buffer, partial.byteOffset, length)
  }

  #keep (partial: Uint8Array, partialBytes: number): void {
    this.#wantedBytes = Math.max(partialBytes, lengthBytes)
    this.#partial = this.#withRoom(partial.length, partial)
    this.#partialLength = partial.length
  }

  /**
   * What is kept, in a buffer for `bytes` and as many again, so that most reads are copied once. Not for the whole
   * frame at once: the four bytes of a length must not make us hold 64 KB.
   */
  #withRoom (bytes: number, kept = this.#partial.subarray(0, this.#partialLength)): Uint8Array {
    const room = new Uint8Array(Math.max(bytes, Math.min(this.#wantedBytes, Math.max(2 * bytes, roomBytesMin))))
    room.set(kept)
    return room
  }
}

const encoder: Encoder = tcpEncoder

const strangersHeader = new GatewayError('bad-frame', 'a PROXY header from an address that LEDGERLINE_TRUSTED_PROXIES does ' +
  'not name, or a second one')

interface WiredSocket extends Socket { wire: Reader }

function attach (socket: Socket, wire: Reader): void {
  (socket as WiredSocket).wire = wire
  socket.on('drain', onDrain)
  socket.on('end', onEnd)
  socket.on('error', onError)
  socket.on('close', onClose)
}

function detach (socket: Socket): void {
  socket.off('drain', onDrain).off('end', onEnd).off('error', onError).off('close', onClose)
}

/** `buffer` holds the next read as soon as this returns. A socket that was turned away has no wire. */
function onRead (this: Socket, bytes: number, buffer: Uint8Array): boolean {
  (this as Partial<WiredSocket>).wire?.read(Buffer.from(buffer.subarray(0, bytes)))
  return true
}
function onTlsData (this: Socket, chunk: Buffer): void { (this as Partial<WiredSocket>).wire?.read(chunk) }
function onEnd (this: Socket): void { (this as WiredSocket).wire.finished() }
function onDrain (this: Socket): void { (this as WiredSocket).wire.drained() }
function onError (this: Socket): void { /* 'close' follows and says that there was one */ }
function onClose (this: Socket, failed: boolean): void { (this as WiredSocket).wire.closed(failed) }
