import { clientMaker } from './clients.js'
import { Line } from './line.js'

const openingMax = 50

/** What one client has got, and how long it takes after a cut until it has all again. */
class Listener {
  isConnected = false
  /** By message number: how often it came. */
  counts
  delivered = 0
  repeats = 0
  outOfOrder = 0
  #highest = -1
  #audience
  /** Of the cut that it is coming back from. */
  #backAtMs = 0
  #due = 0

  constructor (audience, messagesMax) {
    this.#audience = audience
    this.counts = new Uint8Array(messagesMax)
  }

  connected () { this.isConnected = true }
  disconnected () { this.isConnected = false }
  ended (code) { this.#audience.ended.push(code) }

  message (number) {
    if (this.counts[number]++ > 0) this.repeats++
    else {
      this.delivered++
      if (number < this.#highest) this.outOfOrder++
      this.#highest = Math.max(this.#highest, number)
    }
    if (this.#backAtMs > 0 && this.delivered >= this.#due) {
      this.#audience.replaysMs.push(performance.now() - this.#backAtMs)
      this.#backAtMs = 0
    }
  }

  /** Its line was cut: a replay that was under way will be another one. */
  cut () { this.#backAtMs = 0 }

  /** It is let through again. What was sent until now is what it missed. */
  through (atMs, sent) {
    if (this.delivered >= sent) return
    this.#backAtMs = atMs
    this.#due = sent
  }
}

/** Many clients, each of which must get every message once and in order. */
export class Audience {
  listeners = []
  /** Times from when a client was let through again until it had what had been sent by then. */
  replaysMs = []
  /** Codes of clients that gave up for good. */
  ended = []
  sent = 0
  #lines = []
  #clients = []

  /**
   * @param {{ kind: string, target: object, program: string, clients: number, lines: number, messagesMax: number,
   *   everyMs?: number }} options `lines` of 1: all behind one; else each client has its own. `everyMs` between clients
   */
  static async open (options) {
    const audience = new Audience()
    const make = await clientMaker(options)
    for (let i = 0; i < options.clients; i++) {
      const listener = new Listener(audience, options.messagesMax)
      const line = i < options.lines ? await audience.#addLine(options.target.port) : audience.#lines[0]
      if (options.lines > 1) line.line.onThrough = atMs => { listener.through(atMs, audience.sent) }
      audience.listeners.push(listener)
      const told = {
        connected: () => { listener.connected() },
        disconnected: () => { listener.disconnected() },
        ended: code => { listener.ended(code) },
        message: number => { listener.message(number) },
      }
      audience.#clients.push(make(i, line.port, told))
      if (options.everyMs) await wait(options.everyMs)
      else if (i % openingMax === openingMax - 1) await audience.untilConnected()
    }
    await audience.untilConnected()
    return audience
  }

  async #addLine (upstreamPort) {
    const line = new Line(upstreamPort)
    const port = await line.listen()
    this.#lines.push({ line, port })
    return this.#lines.at(-1)
  }

  /** @throws Error where a client ended for good, or does not come within a minute */
  async untilConnected (msMax = 60_000) {
    await this.#until(() => this.listeners.every(({ isConnected }) => isConnected), msMax, 'to connect')
  }

  /** @returns whether all has been delivered within `msMax` */
  async untilDelivered (msMax) {
    const startMs = performance.now()
    while (performance.now() - startMs < msMax) {
      if (this.listeners.every(({ delivered }) => delivered === this.sent)) return true
      await wait(20)
    }
    return false
  }

  cut (index, awayMs) {
    this.listeners[index].cut()
    this.#lines[index].line.cut(awayMs)
  }

  cutAll (awayMs) {
    for (const { line } of this.#lines) line.cut(awayMs)
  }

  /** What was to be delivered, what was, and what came too often or too late. */
  totals () {
    const sum = field => this.listeners.reduce((total, listener) => total + listener[field], 0)
    return {
      wanted: this.sent * this.listeners.length,
      delivered: sum('delivered'),
      repeats: sum('repeats'),
      outOfOrder: sum('outOfOrder'),
      ended: this.ended.length,
    }
  }

  async close () {
    await Promise.all(this.#clients.map(client => client.close()))
    for (const { line } of this.#lines) line.close()
  }

  async #until (condition, msMax, what) {
    const startMs = performance.now()
    while (!condition()) {
      if (performance.now() - startMs > msMax) {
        const missing = this.listeners.filter(({ isConnected }) => !isConnected).length
        throw new Error(`${missing} of ${this.listeners.length} clients took over ${msMax / 1000} s ${what}` +
          (this.ended.length > 0 ? `; ${this.ended.length} ended for good: ${[...new Set(this.ended)]}` : ''))
      }
      await wait(10)
    }
  }
}

export function wait (ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}
