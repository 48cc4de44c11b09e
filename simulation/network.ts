import type { Host, World } from './world.js'

/** What a receiver may have lying unread before its sender waits, as the buffers of two kernels hold. */
const unreadBytesMax = 256 << 10

/** A receiver tells its sender of room in pieces of so much, as kernels do. */
const windowBytes = 64 << 10

/** Where connections arrive. */
export interface Listener {
  readonly host: Host
  readonly port: number
  /** A connection was opened to it; this is its end here. */
  accept (end: End): void
}

/** How the network behaves just now, between two hosts. */
export interface Weather {
  /** One way, ms; a draw of its own for each packet. */
  readonly latencyMs: readonly [min: number, max: number]
  /** Probability that what is written in one piece arrives in two. */
  readonly split: number
}

const calm: Weather = { latencyMs: [0.2, 3], split: 0.05 }

/** The first port that a connection gets which asked for none. */
const portMin = 40_000

/** What an end tells of. Each call is a turn of its host. */
export interface EndEvents {
  opened (): void
  /** Bytes came, or the end of them; they wait until `take`. */
  readable (): void
  /** What was written has gone out so far that there is room for more. */
  drained (): void
  /** The connection is gone: refused, reset. */
  failed (code: string): void
  /** Bytes that wait in the process, for there is no room in the kernel. */
  unsentBytes (): number
}

/**
 * The network of the world: connections of bytes between hosts, with latency, cut in pieces anywhere, and with silence
 * where two hosts can't reach each other.
 */
export class Network {
  weather = calm
  readonly #listeners = new Map<string, Listener>()
  readonly #hosts = new Map<string, Host>()
  readonly #ends = new Set<End>()
  /** Addresses that nobody answers at. */
  readonly #dark = new Set<string>()
  /** Pairs of addresses that do not reach each other; what is sent waits, as with TCP. */
  readonly #cut = new Set<string>()
  #waiting: Array<() => void> = []
  #ports = portMin

  constructor (readonly world: World) {}

  /** Starts over: nobody listens, and nothing is on its way. */
  begin (): void {
    this.weather = calm
    for (const each of [this.#listeners, this.#hosts, this.#ends, this.#dark, this.#cut]) each.clear()
    this.#waiting = []
    this.#ports = portMin
  }

  /** The host answers at its address from now on. */
  attach (host: Host): void {
    this.#hosts.set(host.address, host)
    this.#dark.delete(host.address)
  }

  /** @returns undefined where somebody listens there already */
  listen (host: Host, port: number, accept: (end: End) => void): Listener | undefined {
    const listener = { host, port: port === 0 ? this.#ports++ : port, accept }
    const key = `${host.address}:${listener.port}`
    if (this.#listeners.get(key)?.host.isDown === false) return undefined
    this.#listeners.set(key, listener)
    return listener
  }

  unlisten (listener: Listener): void {
    const key = `${listener.host.address}:${listener.port}`
    if (this.#listeners.get(key) === listener) this.#listeners.delete(key)
  }

  connect (from: Host, address: string, port: number): End {
    const here = new End(this, from, this.#ports++)
    this.#ends.add(here)
    this.send(here, address, 'syn', () => {
      const listener = this.#listeners.get(`${address}:${port}`)
      const target = this.#hosts.get(address)
      if (target === undefined || this.#dark.has(address)) return
      if (listener === undefined || listener.host.isDown || listener.host !== target) {
        return this.#toHost(here, address, 'refused', () => { here.fail('ECONNREFUSED') })
      }
      const there = new End(this, target, port)
      there.join(here)
      this.#ends.add(there)
      target.later(0, `accepts ${from.name}`, () => { listener.accept(there) })
      this.#toHost(here, address, 'connected', () => { here.opened() })
    })
    return here
  }

  /** Silence between these two from now on, in both directions. */
  cut (one: Host, other: Host): void { this.#cut.add(pair(one.address, other.address)) }

  heal (): void {
    this.#cut.clear()
    for (const send of this.#waiting.splice(0)) send()
  }

  /**
   * The sockets of a host that is down.
   *
   * @param silently as where the power fails: nobody is told, until they ask
   */
  vanish (host: Host, silently: boolean): void {
    if (silently) this.#dark.add(host.address)
    for (const end of [...this.#ends]) if (end.host === host) end.vanish(silently)
  }

  /** For an `End`: a packet to whoever is at the other side, in the order of sending. */
  send (end: End, address: string, what: string, arrive: () => void): void {
    if (this.#cut.has(pair(end.host.address, address))) {
      this.#waiting.push(() => { this.send(end, address, what, arrive) })
      return
    }
    const { random } = this.world.outside
    const [min, max] = this.weather.latencyMs
    const at = Math.max(end.sentUntilMs, this.world.nowMs + random.between(min, max))
    end.sentUntilMs = at
    this.world.outside.later(at - this.world.nowMs, `${end.host.name} sends ${what}`, arrive)
  }

  #toHost (end: End, from: string, what: string, arrive: () => void): void {
    const [min, max] = this.weather.latencyMs
    const deliver = (): void => {
      if (this.#cut.has(pair(end.host.address, from))) {
        this.#waiting.push(deliver)
        return
      }
      end.host.later(this.world.outside.random.between(min, max), what, arrive)
    }
    deliver()
  }

  forget (end: End): void { this.#ends.delete(end) }

  /** What waits in this host's process for the socket that has most of that. */
  unsentBytes (host: Host): number {
    let most = 0
    for (const end of this.#ends) if (end.host === host) most = Math.max(most, end.events?.unsentBytes() ?? 0)
    return most
  }
}

/** One end of a connection, as the kernel of its host has it. */
export class End {
  peer: End | undefined
  events: EndEvents | undefined
  /** When the last packet of this end arrives, so that none overtakes it. */
  sentUntilMs = 0
  isGone = false
  #arrived: Buffer[] = []
  #sentBytes = 0
  /** Read, and the sender has not been told that there is room again. */
  #untoldBytes = 0
  #hasEnded = false
  #isBlocked = false

  constructor (readonly network: Network, readonly host: Host, readonly port: number) {}

  join (peer: End): void {
    this.peer = peer
    peer.peer = this
  }

  get hasArrived (): boolean { return this.#arrived.length > 0 || this.#hasEnded }

  opened (): void { if (!this.isGone) this.events?.opened() }

  /** @returns false where the writer has to wait for `drained` */
  write (bytes: Buffer): boolean {
    const { peer, network } = this
    if (peer === undefined || this.isGone) return true
    const { random } = network.world.outside
    const isCut = bytes.length > 1 && random.chance(network.weather.split)
    const at = isCut ? 1 + random.below(bytes.length - 1) : bytes.length
    for (const piece of at < bytes.length ? [bytes.subarray(0, at), bytes.subarray(at)] : [bytes]) {
      const copy = Buffer.from(piece)
      this.#sentBytes += copy.length
      network.send(this, peer.host.address, `${copy.length} bytes`, () => { peer.arrive(copy) })
    }
    this.#isBlocked = this.#sentBytes > unreadBytesMax
    return !this.#isBlocked
  }

  /** No more bytes come from here. */
  end (): void {
    const { peer } = this
    if (peer && !this.isGone) this.network.send(this, peer.host.address, 'fin', () => { peer.arrive(undefined) })
  }

  /** Bytes that have come; null for the end of them; undefined for nothing yet. */
  take (): Buffer | null | undefined {
    const bytes = this.#arrived.shift()
    if (bytes === undefined) return this.#hasEnded ? null : undefined
    this.#untoldBytes += bytes.length
    if (this.#untoldBytes >= windowBytes) this.#tellOfRoom()
    return bytes
  }

  #tellOfRoom (): void {
    const { peer } = this
    const bytes = this.#untoldBytes
    this.#untoldBytes = 0
    if (peer) this.network.send(this, peer.host.address, 'window', () => { peer.acknowledged(bytes) })
  }

  /** The socket is closed; what was written before still goes out. */
  close (): void {
    if (this.isGone) return
    const { peer } = this
    const code = this.#arrived.length > 0 ? 'reset' : 'closed'
    if (peer) this.network.send(this, peer.host.address, code, () => { peer.hasLeft(code === 'reset') })
    this.isGone = true
    this.network.forget(this)
  }

  vanish (silently: boolean): void {
    const { peer } = this
    this.isGone = true
    this.network.forget(this)
    if (!silently && peer) this.network.send(this, peer.host.address, 'reset', () => { peer.hasLeft(true) })
  }

  arrive (bytes: Buffer | undefined): void {
    if (this.isGone) return this.#refuse()
    if (bytes === undefined) this.#hasEnded = true
    else this.#arrived.push(bytes)
    this.host.now(bytes ? `gets ${bytes.length} bytes` : 'gets the end', () => { this.events?.readable() })
  }

  acknowledged (bytes: number): void {
    this.#sentBytes -= bytes
    if (!this.#isBlocked || this.#sentBytes > unreadBytesMax) return
    this.#isBlocked = false
    this.host.later(0, 'may send', () => { if (!this.isGone) this.events?.drained() })
  }

  hasLeft (isReset: boolean): void {
    if (this.isGone) return
    if (isReset) this.host.later(0, 'is reset', () => { this.fail('ECONNRESET') })
    else if (!this.#hasEnded) this.arrive(undefined)
  }

  fail (code: string): void {
    if (this.isGone) return
    this.isGone = true
    this.network.forget(this)
    this.events?.failed(code)
  }

  /** Bytes for a socket that is closed, or whose host has started again. */
  #refuse (): void {
    const { peer } = this
    if (peer === undefined || peer.isGone) return
    this.network.send(this, peer.host.address, 'reset', () => { peer.hasLeft(true) })
  }
}

function pair (one: string, other: string): string { return one < other ? `${one} ${other}` : `${other} ${one}` }
