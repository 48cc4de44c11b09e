import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { type AddressList, tell } from '../edge/clients.js'
import { Prelude } from '../edge/prelude.js'
import { endWithError, HttpError } from './errors.js'

/** Who may say whose sockets and requests are. */
export interface Proxied {
  /** Undefined for none. */
  readonly proxies: AddressList | undefined
  /** Who has no bound of an address; undefined for nobody. */
  readonly uncounted: AddressList | undefined
  /** Told of each PROXY header that is bad, or from somebody else. */
  headerRefused (): void
}

/**
 * Takes the PROXY header off sockets of trusted proxies before `server` reads them, and before TLS. There may be none:
 * a proxy that speaks HTTP itself tells its clients by the header fields of each request.
 *
 * @param waitMs for a header to be whole
 * @param found told of each client that a header names
 */
export function takeProxyHeaders (
  server: Server, proxies: AddressList, headerRefused: () => void, waitMs: number,
  found: (socket: Socket, ip: string) => void
): void {
  const begin = server.listeners('connection') as Array<(this: Server, socket: Socket) => void>
  server.removeAllListeners('connection')
  server.on('connection', socket => {
    const go = (): void => { for (const listener of begin) listener.call(server, socket) }
    if (!proxies.has(socket.remoteAddress ?? '')) {
      go()
      return
    }
    const prelude = new Prelude(waitMs, () => { socket.destroy() }, ({ header, rest, error }) => {
      socket.pause().off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose)
      if (error) {
        headerRefused()
        endWithError(socket, new HttpError(400, 'bad-request', error.message))
        socket.resume()
        return
      }
      if (rest.length > 0) socket.unshift(rest)
      go()
      if (header?.client) {
        tell(socket, header.client)
        found(socket, header.client.ip)
      }
      // TLS takes what was put back, and must not meet a stream that throws it away.
      if (!(server instanceof TlsServer)) socket.resume()
    })
    const onData = (chunk: Buffer): void => { prelude.read(chunk) }
    const onEnd = (): void => { socket.end() }
    const onError = (): void => {}
    const onClose = (): void => { prelude.stop() }
    socket.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose)
  })
}
