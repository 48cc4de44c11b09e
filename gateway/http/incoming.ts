import type { IncomingMessage, Server } from 'node:http'

/**
 * Requests that are not whole yet, each with a clock. Node's own clock can not be told that one comes as slowly as we
 * read it; that of the head is Node's all the same, for here a request begins when its head is there.
 */
export class Incoming {
  readonly #begunAtMs = new Map<IncomingMessage, number>()
  readonly #server: Server
  readonly #requestMs: number

  /** @param requestMs how long the rest of a request may take */
  constructor (server: Server, requestMs: number) {
    this.#server = server
    this.#requestMs = requestMs
    const looking = setInterval(() => { this.#endLate() }, Math.max(50, requestMs / 10)).unref()
    server.once('close', () => { clearInterval(looking) })
  }

  /** Its rest has so much time from now on. */
  begin (request: IncomingMessage): void { this.#begunAtMs.set(request, performance.now()) }

  /** It is whole, or comes at the pace of its reader from now on. */
  end (request: IncomingMessage): void { this.#begunAtMs.delete(request) }

  #endLate (): void {
    const since = performance.now() - this.#requestMs
    for (const [request, begunAtMs] of this.#begunAtMs) {
      if (request.complete || request.socket.destroyed) this.#begunAtMs.delete(request)
      else if (begunAtMs <= since) this.#endOne(request)
    }
  }

  /** As Node ends those of its own clock. */
  #endOne (request: IncomingMessage): void {
    this.#begunAtMs.delete(request)
    const late = Object.assign(new Error('the request did not come in time'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
    this.#server.emit('clientError', late, request.socket)
  }
}
