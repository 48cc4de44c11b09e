import type { Socket } from 'node:net'

interface Bounds {
  /** Of one address. */
  readonly max: number
  /** It waits for no answer, and may go for another one. */
  isIdle (socket: Socket): boolean
}

/** Sockets of an HTTP port that are no WebSockets and have shown no API key, by the address that each counts for. */
export class Strangers {
  /** Undefined: for none. */
  readonly #networks = new Map<Socket, string | undefined>()
  readonly #ofNetwork = new Map<string, Set<Socket>>()

  constructor (readonly bounds: Bounds) {}

  has (socket: Socket): boolean { return this.#networks.has(socket) }

  /**
   * Adds one, or moves it; where its address has too many, one of them is destroyed.
   *
   * @param network undefined where it counts for no address
   */
  count (socket: Socket, network: string | undefined): void {
    if (this.#networks.has(socket)) {
      if (this.#networks.get(socket) === network) return
      this.delete(socket)
    }
    this.#networks.set(socket, network)
    if (network === undefined) return
    const neighbours = this.#ofNetwork.get(network) ?? new Set()
    this.#ofNetwork.set(network, neighbours)
    neighbours.add(socket)
    if (neighbours.size > this.bounds.max) this.#oldestIdle(neighbours).destroy()
  }

  /** @returns false where it was none */
  delete (socket: Socket): boolean {
    const network = this.#networks.get(socket)
    if (!this.#networks.delete(socket)) return false
    if (network === undefined) return true
    const neighbours = this.#ofNetwork.get(network)!
    neighbours.delete(socket)
    if (neighbours.size === 0) this.#ofNetwork.delete(network)
    return true
  }

  /** The one that came first of those that wait for no answer, else the last one. */
  #oldestIdle (sockets: ReadonlySet<Socket>): Socket {
    let last: Socket | undefined
    for (const socket of sockets) {
      if (this.bounds.isIdle(socket)) return socket
      last = socket
    }
    return last!
  }
}
