import { connect, createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/**
 * What a NAT of a mobile network does: it hands on what connections send, and forgets each that was quiet for a while.
 * Neither side is told: what they send then goes nowhere.
 */
export class ForgetfulNat {
  /** The port of whom it hands on to; set before anybody connects. */
  toPort = 0

  private constructor (readonly port: number) {}

  static async listen (t: Test, forgetsAfterMs: number): Promise<ForgetfulNat> {
    const sockets = new Set<Socket>()
    const server = createServer({ noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    const nat = new ForgetfulNat((server.address() as AddressInfo).port)
    server.on('connection', client => {
      const upstream = connect({ host: '127.0.0.1', port: nat.toPort, noDelay: true })
      let isForgotten = false
      let timer: NodeJS.Timeout
      const heard = () => {
        clearTimeout(timer)
        timer = setTimeout(() => { isForgotten = true }, forgetsAfterMs)
      }
      heard()
      for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
        sockets.add(from)
        from.on('error', () => {}).on('close', () => { sockets.delete(from) })
        from.on('data', bytes => {
          if (isForgotten) return
          heard()
          to.write(bytes)
        })
        from.on('end', () => { if (!isForgotten) to.end() })
      }
    })
    return nat
  }
}
