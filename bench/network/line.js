import { connect, createServer } from 'node:net'
import { once } from 'node:events'

/**
 * What lies between clients and a server: a proxy on a loopback port of its own. A line that was cut takes connections
 * at once, as a network does whose other end is away, and lets them through when it is back.
 */
export class Line {
  #server
  #sockets = new Set()
  #upstreamPort
  #awayUntilMs = 0
  /** Called when a connection is let through, with the time of it. */
  onThrough = () => {}

  constructor (upstreamPort) {
    this.#upstreamPort = upstreamPort
    this.#server = createServer({ noDelay: true }, socket => { this.#accept(socket) })
  }

  async listen () {
    this.#server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 })
    await once(this.#server, 'listening')
    return this.#server.address().port
  }

  /** Ends every connection without a word to either side. New ones wait for `awayMs`. */
  cut (awayMs) {
    this.#awayUntilMs = performance.now() + awayMs
    for (const socket of this.#sockets) socket.destroy()
  }

  close () {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #accept (client) {
    this.#keep(client)
    const waitMs = this.#awayUntilMs - performance.now()
    if (waitMs <= 0) this.#letThrough(client)
    else setTimeout(() => { if (!client.destroyed) this.#letThrough(client) }, waitMs)
  }

  #letThrough (client) {
    this.onThrough(performance.now())
    const upstream = connect({ host: '127.0.0.1', port: this.#upstreamPort, noDelay: true })
    this.#keep(upstream)
    client.pipe(upstream)
    upstream.pipe(client)
    client.once('close', () => { upstream.destroy() })
    upstream.once('close', () => { client.destroy() })
  }

  #keep (socket) {
    this.#sockets.add(socket)
    socket.on('error', () => { /* 'close' follows */ })
    socket.once('close', () => { this.#sockets.delete(socket) })
  }
}
