import { createServer, type Server, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { readBytesMax } from '../../actors/connection/intake.js'
import { GatewayError } from '../../schemas/errors.js'
import type { ServerFrame } from '../../schemas/frames.js'
import type { ServerTls } from '../server-tls.js'
import { type AddressList, clientOfSocket } from './clients.js'
import type { Door, Refusal } from './door.js'
import type { Edge } from './edge.js'
import { tcpEncoder } from './encoders.js'
import { fdOf } from './handle.js'
import { Prelude } from './prelude.js'
import { acceptBacklog } from '../ports.js'
import { attach, detach, type HeaderWatch, onRead, onTlsData, TcpWire, type WiredSocket } from './tcp-wire.js'

export interface TcpOptions extends HeaderWatch {
  readonly host: string
  readonly port: number
  /** Its clients speak TLS. */
  readonly tls: ServerTls | undefined
  /** Who begins with a PROXY header; undefined for nobody. */
  readonly proxies: AddressList | undefined
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
  socket.end(tcpEncoder.take()!)
  if (mayLinger) {
    lingerers.add(socket)
    socket.once('close', () => { lingerers.delete(socket) })
  } else socket.destroySoon()
}
