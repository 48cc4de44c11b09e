import type { Socket } from 'node:net'
import type { Connection } from '../../actors/connection/connection.js'
import type { SharedFrame, Wire } from '../../actors/connection/wire.js'
import type { SharedSignal } from '../../actors/links.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Frame, ServerFrame } from '../../schemas/frames.js'
import { addressOf, type Client, clientOfSocket } from './clients.js'
import type { Edge } from './edge.js'
import { tcpEncoder } from './encoders.js'
import { startReading, stopReading } from './handle.js'
import { looksLikeProxyHeader } from './proxy-header.js'
import { lengthBytes, takeFrames } from './tcp-frames.js'

const nothing = new Uint8Array(0)

/** Most frames that a read cuts in two are smaller. */
const roomBytesMin = 512

/** What a socket's events go to. */
export interface Reader {
  read (chunk: Buffer): void
  finished (): void
  drained (): void
  closed (failed: boolean): void
}

export interface HeaderWatch {
  /** Told of each PROXY header that is bad, missing, or from somebody else. */
  headerRefused (): void
}

/** A socket as its connection has it: bytes to frames, and back. */
export class TcpWire implements Wire, Reader {
  readonly transport = 'tcp'
  readonly #socket: Socket
  readonly #edge: Edge
  readonly #connection: Connection
  readonly #headers: HeaderWatch
  /** As a proxy says; undefined: the peer. */
  readonly #client: Client | undefined
  /** Start of a frame whose end was not in the last read, and room for more of it. */
  #partial: Uint8Array = nothing
  #partialLength = 0
  /** What must be there before it is looked at again: the frame, or LENGTH while that is not known. */
  #wantedBytes = 0
  #ended = false

  constructor (
    socket: Socket, edge: Edge, headers: HeaderWatch, network: string | undefined, client: Client | undefined,
    acceptedAt = edge.context.ticks()
  ) {
    this.#socket = socket
    this.#edge = edge
    this.#headers = headers
    this.#client = client
    this.#connection = edge.accept(this, network, acceptedAt)
  }

  get address (): string { return addressOf(this.#client ?? clientOfSocket(this.#socket)) }
  get queuedBytes (): number { return this.#socket.writableLength }
  get bytesIn (): number { return this.#socket.bytesRead }
  get bytesOut (): number { return this.#socket.bytesWritten }
  write (frame: ServerFrame): void { tcpEncoder.write(frame) }
  writeSignal (signal: SharedSignal): void { tcpEncoder.writeSignal(signal) }
  writeShared (shared: SharedFrame): void { tcpEncoder.writeShared(shared) }
  bytesOf (shared: SharedFrame): number { return tcpEncoder.bytesOf(shared) }

  flush (): void {
    const bytes = tcpEncoder.take()
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

  destroy (): void {
    tcpEncoder.drop()
    this.#socket.destroy()
  }

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
    this.#headers.headerRefused()
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

const strangersHeader = new GatewayError('bad-frame', 'a PROXY header from an address that LEDGERLINE_TRUSTED_PROXIES does ' +
  'not name, or a second one')

/** A socket whose events go to `wire`. */
export interface WiredSocket extends Socket { wire: Reader }

export function attach (socket: Socket, wire: Reader): void {
  (socket as WiredSocket).wire = wire
  socket.on('drain', onDrain)
  socket.on('end', onEnd)
  socket.on('error', onError)
  socket.on('close', onClose)
}

export function detach (socket: Socket): void {
  socket.off('drain', onDrain).off('end', onEnd).off('error', onError).off('close', onClose)
}

/** `buffer` holds the next read as soon as this returns. A socket that was turned away has no wire. */
export function onRead (this: Socket, bytes: number, buffer: Uint8Array): boolean {
  (this as Partial<WiredSocket>).wire?.read(Buffer.from(buffer.subarray(0, bytes)))
  return true
}
export function onTlsData (this: Socket, chunk: Buffer): void { (this as Partial<WiredSocket>).wire?.read(chunk) }
function onEnd (this: Socket): void { (this as WiredSocket).wire.finished() }
function onDrain (this: Socket): void { (this as WiredSocket).wire.drained() }
function onError (this: Socket): void { /* 'close' follows and says that there was one */ }
function onClose (this: Socket, failed: boolean): void { (this as WiredSocket).wire.closed(failed) }
