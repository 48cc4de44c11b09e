import { GatewayError, isErrorCode } from '../schemas/errors.js'
import type { Connect, Connected, Downlink, Migrate, Signal, UplinkAck, UplinkRefused } from '../schemas/frames.js'
import { Backoff } from './backoff.js'
import { Connection } from './connection.js'
import type { ConnectionEnd } from './connection.js'
import { Endpoints } from './endpoints.js'
import { Listeners } from './events.js'
import type { ClientEvents, Listener } from './events.js'
import { Inbox } from './inbox.js'
import { Outbox } from './outbox.js'
import type { Accepted } from './outbox.js'
import { Pace } from './pace.js'

export type { ClientEvents, Ended } from './events.js'
export type { Accepted } from './outbox.js'

export interface ClientOptions {
  /** URLs of edges, used in turn: `ws://`, `wss://`, `tcp://` or `tls://`. */
  readonly endpoints?: readonly string[]
  /** URL of a gateway's ip-config; instead of `endpoints`. */
  readonly ipConfig?: string
  /** What to ask ip-config for; WebSocket by default. */
  readonly transport?: 'ws' | 'tcp'
  readonly region?: string
  /** Called before each attempt, so an expired token is replaced. */
  readonly getToken: () => string | Promise<string>
  readonly deviceId: string
  readonly platform?: string
  /** Name and version of the program, `app/1.2`. */
  readonly client?: string
  /** Uplinks not acked yet; 1,000 by default. */
  readonly outboxMax?: number
  /** 0 up to but without 1. */
  readonly random?: () => number
}

export interface SendOptions { readonly service?: string, readonly priority?: number }

/** A server may send us elsewhere so many times in a row. */
const redirectsMax = 3

/** Opcode, a long, two lengths and an int at their longest. */
const uplinkOverheadMax = 1 + 10 + 2 * 5 + 5

const unreachable: ConnectionEnd =
  { code: 'connection-lost', reason: '', terminal: false, isKick: false, retryAfterMs: 0, endpoints: [] }

const utf8 = new TextEncoder()

type Timer = ReturnType<typeof setTimeout>

export function createClient (options: ClientOptions): Client {
  return new Client(options)
}

/** One device of one user: stays connected, sends each uplink exactly once, hands on each downlink once, in order. */
export class Client {
  readonly #options: ClientOptions
  readonly #random: () => number
  readonly #listeners = new Listeners()
  readonly #backoff: Backoff
  readonly #endpoints: Endpoints
  readonly #outbox: Outbox
  readonly #inbox: Inbox
  #sessionId = crypto.randomUUID()
  #state: 'idle' | 'running' | 'closed' = 'idle'
  /** The connection in use or in the making; and its successor while we move. */
  #current: Connection | undefined
  #next: Connection | undefined
  #redirects = 0
  #frameBytesMax = 65_536
  readonly #pace = new Pace()
  #attemptTimer: Timer | undefined
  #moveTimer: Timer | undefined
  /** Set while the server wants no uplinks. */
  #refusedTimer: Timer | undefined

  constructor (options: ClientOptions) {
    const { endpoints, ipConfig, transport = 'ws', region = '', outboxMax = 1000, random = Math.random } = options
    this.#options = options
    this.#random = random
    this.#backoff = new Backoff({ baseMs: 1000, capMs: 60_000, random })
    this.#endpoints = new Endpoints({ endpoints, ipConfig, transport, region }, this.#backoff)
    this.#outbox = new Outbox(outboxMax)
    this.#inbox = new Inbox({
      handle: async downlink => { await Promise.all(this.#listeners.tell('downlink', downlink)) },
      ack: seq => { this.#current?.send({ op: 'downlinkAck', seq }) },
      failed: err => { this.#current?.fail('internal', `a downlink listener failed: ${String(err)}`) },
    })
  }

  /** Connects, and stays connected until `close` or a terminal end. */
  connect (): this {
    if (this.#state !== 'idle') return this
    this.#state = 'running'
    this.#attempt()
    return this
  }

  /**
   * Resolves once the uplink is in the ledger, over however many connections that takes. Sends keep their order.
   *
   * @throws GatewayError `outbox-full`, `payload-too-large`; or why the client ended: `disconnected`, `kicked`, ...
   */
  async send (payload: string | Uint8Array, { service = '', priority = 0 }: SendOptions = {}): Promise<Accepted> {
    if (this.#state === 'closed') throw new GatewayError('disconnected', 'this client was closed')
    const bytes = typeof payload === 'string' ? utf8.encode(payload) : new Uint8Array(payload)
    const frameBytes = bytes.length + utf8.encode(service).length + uplinkOverheadMax
    if (frameBytes > this.#frameBytesMax) {
      throw new GatewayError('payload-too-large', `${frameBytes} bytes, and ${this.#frameBytesMax} are the bound`)
    }
    const accepted = this.#outbox.add(service, bytes, priority)
    this.#flush()
    return await accepted
  }

  on<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): this {
    this.#listeners.add(name, listener)
    if (name === 'downlink') this.#handOn()
    return this
  }

  off<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): this {
    this.#listeners.remove(name, listener)
    return this
  }

  /**
   * Leaves. What is not acked yet is rejected.
   *
   * @param endSession this device will not come back: its outbox on the server is dropped
   */
  async close ({ endSession = false } = {}): Promise<void> {
    const open = [this.#current, this.#next].filter(each => each !== undefined)
    this.#finish({ code: 'disconnected', reason: 'closed' })
    for (const connection of open) connection.leave(endSession)
    await Promise.all(open.map(connection => connection.closed))
  }

  async #attempt (): Promise<void> {
    let endpoint: string
    let hello: Connect
    try {
      endpoint = await this.#endpoints.next()
      hello = await this.#hello()
    } catch (err) {
      this.#lost({ ...unreachable, reason: err instanceof Error ? err.message : String(err) })
      return
    }
    if (this.#state !== 'running') return
    this.#listeners.tell('connecting', { endpoint })
    this.#current = this.#open(endpoint, hello)
  }

  async #hello (): Promise<Connect> {
    const { getToken, deviceId, platform = 'unknown', client = '' } = this.#options
    const token = await getToken()
    const downlinkSeq = this.#inbox.doneSeq
    return { op: 'connect', token, deviceId, platform, client, sessionId: this.#sessionId, downlinkSeq }
  }

  #open (endpoint: string, hello: Connect): Connection {
    return new Connection(endpoint, hello, {
      connected: (connection, frame) => this.#opened(connection, frame, hello.downlinkSeq),
      received: (connection, frame) => this.#received(connection, frame),
      ended: (connection, end) => this.#ended(connection, end),
      downlinkSeq: () => this.#inbox.doneSeq,
    })
  }

  #opened (connection: Connection, frame: Connected, askedSeq: number): void {
    if (connection === this.#next) this.#moved(connection)
    if (connection !== this.#current) return
    this.#backoff.reset()
    this.#redirects = 0
    this.#frameBytesMax = frame.frameBytesMax
    this.#inbox.resume(frame.downlinkSeq, askedSeq)
    if (!this.#outbox.resume(frame.uplinkSeq)) {
      this.#outbox.restart()
      this.#sessionId = crypto.randomUUID()
      connection.fail('internal', 'the server lost this session; it begins anew')
      return
    }
    const { op, ...connected } = frame
    this.#listeners.tell('connected', { ...connected, endpoint: connection.endpoint })
    if (frame.missed > 0) this.#listeners.tell('missed', { count: frame.missed })
    this.#stopWaiting()
    this.#flush()
  }

  #received (connection: Connection, frame: UplinkAck | UplinkRefused | Downlink | Signal | Migrate): void {
    if (connection !== this.#current) return // it is being left, and what it says comes again
    switch (frame.op) {
      case 'uplinkAck':
        this.#pace.acked(frame.seq - this.#outbox.ackedSeq)
        this.#outbox.ack(frame.seq, frame.userSeqs)
        return this.#flush()
      case 'uplinkRefused': return this.#refused(frame)
      case 'downlink':
        if (!this.#inbox.take(frame)) return connection.fail('protocol', `a downlink before ${frame.seq} is missing`)
        return this.#handOn()
      case 'signal': {
        const { service, payload } = frame
        this.#listeners.tell('signal', { service, payload: new Uint8Array(payload) })
        return
      }
      case 'migrate': return this.#migrate(frame)
    }
  }

  #handOn (): void {
    if (this.#listeners.has('downlink')) this.#inbox.run()
  }

  #flush (): void {
    if (this.#current === undefined || this.#refusedTimer !== undefined) return
    const window = this.#pace.window(this.#current.uplinkWindow)
    for (let next = this.#outbox.take(window); next; next = this.#outbox.take(window)) {
      this.#current.send(next)
    }
  }

  #refused ({ expectedSeq, code, retryAfterMs }: UplinkRefused): void {
    if (expectedSeq <= this.#outbox.ackedSeq) return // of frames that went out before an earlier refusal came
    this.#outbox.rewind(expectedSeq)
    if (this.#refusedTimer !== undefined) return
    const waitMs = code === 'gap' ? retryAfterMs : this.#pace.refused(retryAfterMs)
    this.#listeners.tell('refused', { expectedSeq, code, waitMs })
    this.#refusedTimer = setTimeout(() => {
      this.#stopWaiting()
      this.#flush()
    }, waitMs)
  }

  #stopWaiting (): void {
    clearTimeout(this.#refusedTimer)
    this.#refusedTimer = undefined
  }

  /** Connects to another endpoint first, at random within the time given, and leaves then. */
  #migrate ({ withinMs, endpoints, reason }: Migrate): void {
    if (this.#moveTimer !== undefined) return
    this.#endpoints.prefer(endpoints)
    this.#listeners.tell('migrating', { withinMs, endpoints, reason })
    this.#moveTimer = setTimeout(() => { this.#move() }, this.#random() * withinMs)
  }

  async #move (): Promise<void> {
    const endpoint = await this.#endpoints.next().catch(() => undefined)
    const hello = await this.#hello().catch(() => undefined)
    this.#moveTimer = undefined
    // Where that fails we stay, and the node ends the connection when it goes.
    if (endpoint && hello && this.#current && this.#state === 'running') this.#next = this.#open(endpoint, hello)
  }

  #moved (connection: Connection): void {
    this.#current?.leave(false)
    this.#current = connection
    this.#next = undefined
  }

  #ended (connection: Connection, end: ConnectionEnd): void {
    if (connection === this.#next) {
      this.#next = undefined
      if (this.#current === undefined) this.#lost(end)
    } else if (connection === this.#current) {
      this.#current = undefined
      // The successor goes on. That it supersedes this connection is what we wanted.
      if (this.#next === undefined || end.code === 'kicked') this.#lost(end)
    }
  }

  #lost (end: ConnectionEnd): void {
    if (this.#state !== 'running') return
    if (end.isKick) this.#listeners.tell('kicked', { code: end.code, reason: end.reason })
    if (end.terminal) return this.#finish(end)
    if (end.endpoints.length > 0) this.#endpoints.prefer(end.endpoints)
    const isSentElsewhere = end.endpoints.length > 0 && ++this.#redirects <= redirectsMax
    const retryInMs = isSentElsewhere ? 0 : Math.max(end.retryAfterMs, this.#backoff.nextMs())
    this.#attemptTimer = setTimeout(() => { this.#attempt() }, retryInMs)
    this.#listeners.tell('disconnected', { code: end.code, reason: end.reason, willReconnect: true, retryInMs })
  }

  #finish ({ code, reason }: { code: string, reason: string }): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    for (const timer of [this.#attemptTimer, this.#moveTimer, this.#refusedTimer]) clearTimeout(timer)
    this.#next?.leave(false)
    this.#outbox.fail(new GatewayError(isErrorCode(code) ? code : 'disconnected', reason))
    this.#listeners.tell('disconnected', { code, reason, willReconnect: false, retryInMs: 0 })
  }
}
