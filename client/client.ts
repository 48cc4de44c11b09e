import type { Connected } from '../schemas/frames.js'
import { encodeUtf8 } from '../schemas/utf8.js'
import { Backoff } from './backoff.js'
import { ClientError } from './client-error.js'
import { systemClock } from './clock.js'
import type { Clock } from './clock.js'
import { Connection } from './connection.js'
import type { Hello, Received } from './connection.js'
import { Connector } from './connector.js'
import { endpointsKept, endpointsOf } from './discovery.js'
import { DownlinkStream } from './downlink-stream.js'
import { Downlinks } from './downlinks.js'
import type { Endpoints } from './endpoints.js'
import { Listeners } from './events.js'
import type { ClientEvents, Ended, Listener } from './events.js'
import { HeartbeatInterval } from './heartbeat-interval.js'
import type { ReceivedDownlink } from './inbox.js'
import { KnownIntervals } from './known-intervals.js'
import { checkOptions } from './options.js'
import type { ClientOptions } from './options.js'
import type { Accepted } from './outbox.js'
import type { Address, Platform } from './platform.js'
import { Keeper } from './storage/keeper.js'
import { Uplinks } from './uplinks.js'

export interface SendOptions { readonly service?: string, readonly priority?: number }

/** Opcode, a long, two lengths and an int at their longest. */
const uplinkOverheadMax = 1 + 10 + 2 * 5 + 5

/** An application that does not come up with a token for so long is asked again. */
const tokenMsMax = 30_000

/*
  Kept beside uplinks and downlinks:
    user => whose they are
*/
const userKey = 'user'

/** One device of one user: stays connected, sends each uplink exactly once, hands on each downlink once, in order. */
export class Client {
  readonly #options: ClientOptions
  readonly #platform: Platform
  readonly #clock: Clock
  readonly #listeners = new Listeners()
  readonly #streams = new Set<DownlinkStream>()
  readonly #keeper: Keeper
  readonly #uplinks: Uplinks
  readonly #downlinks: Downlinks
  readonly #backoff: Backoff
  readonly #endpoints: Endpoints
  readonly #connector: Connector
  readonly #interval: HeartbeatInterval
  readonly #intervals: KnownIntervals
  #userId: string | undefined
  #frameBytesMax = 65_536
  #restoring: Promise<void> | undefined
  #isRestored = false
  #isConnecting = false
  #unwatchNetwork = () => {}
  /** How it ended, unless by `close`. */
  #error: ClientError | undefined

  constructor (options: ClientOptions, platform: Platform, clock: Clock = systemClock) {
    checkOptions(options)
    const { random = Math.random, outboxMax = 1000, outboxBytesMax = 4 << 20, ack = 'auto' } = options
    const { attemptsMax = Infinity, giveUpAfterMs = Infinity, heartbeat = 'dictated' } = options
    this.#options = options
    this.#platform = platform
    this.#clock = clock
    this.#keeper = new Keeper(options.storage, {
      clock,
      failed: error => this.#listeners.tell('storageFailed', { error }),
    })
    this.#uplinks = new Uplinks({
      clock,
      keeper: this.#keeper,
      max: outboxMax,
      bytesMax: outboxBytesMax,
      accepted: event => this.#listeners.tell('accepted', event),
      refused: event => this.#listeners.tell('refused', event),
    })
    this.#downlinks = new Downlinks({
      clock,
      keeper: this.#keeper,
      random,
      isManual: ack === 'manual',
      tell: downlink => {
        if (this.#listeners.has('downlink')) return Promise.all(this.#listeners.ask('downlink', downlink))
      },
      failed: event => this.#listeners.tell('failed', event),
    })
    this.#backoff = new Backoff({ baseMs: 1000, capMs: 60_000, random })
    this.#endpoints = endpointsOf(options, { platform, clock, keeper: this.#keeper, backoff: this.#backoff })
    this.#intervals = new KnownIntervals(this.#keeper)
    this.#interval = new HeartbeatInterval(heartbeat === 'adaptive', (network, ms) => this.#intervals.learn(network, ms))
    this.#connector = new Connector({
      clock,
      random,
      endpoints: this.#endpoints,
      backoff: this.#backoff,
      attemptsMax,
      giveUpAfterMs,
      hello: async isExpired => await this.#hello(isExpired),
      open: (address, hello) => this.#open(address, hello),
      connecting: (endpoint, attempt) => this.#listeners.tell('connecting', { endpoint, attempt }),
      opened: (connection, frame, from) => this.#opened(connection, frame, from),
      paused: () => {
        this.#uplinks.pause()
        this.#downlinks.pause()
      },
      disconnected: (ended, isKick) => this.#disconnected(ended, isKick),
      ahead: () => this.#downlinks.forget(),
    })
  }

  /** Uplinks that the server has not accepted yet. */
  get unackedUplinks (): number { return this.#uplinks.size }

  /** Connects, and stays connected until `close` or a terminal end. */
  connect (): this {
    if (this.#isConnecting) return this
    this.#isConnecting = true
    this.#unwatchNetwork = this.#platform.watchNetwork(isBack => this.#connector.networkChanged(isBack), {
      sleep: () => {
        this.#connector.sleep()
        this.#keeper.sleep()
      },
      wake: () => { this.#keeper.wake().then(() => this.#connector.wake()) },
    })
    this.#restore().then(() => this.#connector.start(), () => {})
    return this
  }

  /**
   * Resolves once the uplink is in the ledger, over however many connections that takes. Sends keep their order.
   *
   * @throws ClientError `outbox-full`, `payload-too-large`; or why the client ended: `disconnected`, `kicked`, ...
   */
  async send (payload: string | Uint8Array, { service = '', priority = 0 }: SendOptions = {}): Promise<Accepted> {
    const bytes = typeof payload === 'string' ? encodeUtf8(payload) : new Uint8Array(payload)
    const frameBytes = bytes.length + encodeUtf8(service).length + uplinkOverheadMax
    if (frameBytes > this.#frameBytesMax) {
      throw new ClientError('payload-too-large', `${frameBytes} bytes, and ${this.#frameBytesMax} are the bound`)
    }
    if (!this.#isRestored) await this.#restore()
    if (this.#connector.state === 'ended') throw new ClientError('disconnected', 'this client has ended')
    return await this.#uplinks.send(service, bytes, priority)
  }

  on<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): this {
    this.#listeners.add(name, listener)
    if (name === 'downlink') this.#downlinks.listening()
    return this
  }

  off<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): this {
    this.#listeners.remove(name, listener)
    return this
  }

  /**
   * Downlinks for a `for await`: each is done with when the loop asks for the next one. One at which the loop is left
   * is not, unless its `ack` was called; whoever listens next gets it again.
   *
   * @throws ClientError why the client ended, unless by `close`
   */
  async * downlinks (): AsyncGenerator<ReceivedDownlink, void, void> {
    const stream = new DownlinkStream()
    if (this.#connector.state === 'ended') stream.end(this.#error)
    this.#streams.add(stream)
    this.on('downlink', stream.push)
    try {
      for (let next = await stream.next(); next; next = await stream.next()) yield next
    } finally {
      this.off('downlink', stream.push)
      this.#streams.delete(stream)
      stream.leave()
    }
  }

  /** Tells that the network is another one, or back, where the platform does not say so by itself. */
  networkChanged (): void {
    this.#connector.networkChanged(true)
  }

  /**
   * Leaves. What is not acked yet is rejected; in a storage it waits for the next run.
   *
   * @param endSession this device will not come back: its outbox on the server is dropped
   */
  async close ({ endSession = false } = {}): Promise<void> {
    this.#downlinks.flush()
    this.#keeper.stopWaiting()
    await this.#restoring?.catch(() => {})
    await this.#connector.close(endSession)
    await this.#keeper.close()
  }

  #restore (): Promise<void> {
    this.#restoring ??= this.#restoreOnce()
    return this.#restoring
  }

  async #restoreOnce (): Promise<void> {
    const kept = await this.#keeper.open(() => {
      this.#connector.stop('superseded', 'another client took the storage over')
    })
    try {
      this.#uplinks.restore(kept) // takes nothing over where it throws, and the others do not
      this.#downlinks.restore(kept)
      this.#userId = kept.get(userKey)
      this.#endpoints.restore(endpointsKept(this.#options, kept))
      this.#intervals.restore(kept)
    } catch (err) {
      await this.#keeper.giveUp(err)
    }
    this.#isRestored = true
  }

  async #hello (isExpired: boolean): Promise<Hello> {
    const { getToken, deviceId, platform = 'unknown', client = '' } = this.#options
    const token = await this.#inTime(getToken({ isExpired }))
    const { sessionId, ackedSeq } = this.#uplinks
    const { doneSeq: downlinkSeq } = this.#downlinks
    return { frame: { op: 'connect', token, deviceId, platform, client, sessionId, downlinkSeq }, uplinkSeq: ackedSeq }
  }

  async #inTime (token: string | Promise<string>): Promise<string> {
    let cancel = () => {}
    const late = new Promise<never>((_resolve, reject) => {
      cancel = this.#clock.after(tokenMsMax, () => reject(new Error(`no token for ${tokenMsMax} ms`)))
    })
    try {
      return await Promise.race([token, late])
    } finally {
      cancel()
    }
  }

  #open (address: Address, hello: Hello): Connection {
    return new Connection(address, hello, {
      platform: this.#platform,
      clock: this.#clock,
      encoding: this.#options.encoding ?? 'avro',
      interval: this.#interval,
      connected: (connection, frame) => this.#connector.opened(connection, frame),
      received: (connection, frame) => this.#received(connection, frame),
      ended: (connection, end) => this.#connector.ended(connection, end),
      downlinkSeq: () => this.#downlinks.ackableSeq,
    })
  }

  #opened (connection: Connection, frame: Connected, from: string | undefined): void {
    const { hello, endpoint } = connection
    const { op, ...connected } = frame
    if (this.#userId !== undefined && this.#userId !== frame.userId) {
      this.#connector.stop('bad-token', `the storage is that of user ${this.#userId}, and the token that of ${frame.userId}`)
      return
    }
    this.#userId = frame.userId
    this.#keeper.put(userKey, () => frame.userId)
    this.#frameBytesMax = frame.frameBytesMax
    const network = this.#options.network?.() ?? ''
    this.#interval.dictate(frame.heartbeatMs, network, this.#intervals.of(network))
    if (from === undefined) this.#listeners.tell('connected', { ...connected, endpoint })
    else this.#listeners.tell('migrated', { ...connected, endpoint, from })
    this.#downlinks.resume(connection, frame.downlinkSeq, hello.frame.downlinkSeq)
    if (!this.#uplinks.resume(connection, frame.uplinkSeq, hello.uplinkSeq)) {
      connection.fail('internal', 'the server has this session otherwise than we do; a new one begins')
      return
    }
    if (frame.missed === 0) return
    this.#listeners.tell('missed', { count: frame.missed })
    connection.send({ op: 'ping', downlinkSeq: this.#downlinks.ackableSeq, silentMs: 0 }) // so that it is not announced again
  }

  #received (connection: Connection, frame: Received): void {
    const isCurrent = connection === this.#connector.current
    switch (frame.op) {
      case 'uplinkAck':
        // From the connection that we have just left too: it is as true.
        if (connection.hello.frame.sessionId === this.#uplinks.sessionId) this.#uplinks.acked(frame)
        return
      case 'signal': {
        const { service, payload } = frame
        this.#listeners.tell('signal', { service, payload: new Uint8Array(payload) })
        return
      }
      case 'uplinkRefused':
        if (isCurrent) this.#uplinks.refused(frame)
        return
      case 'downlink':
        // What a connection that we have left still says comes again.
        if (isCurrent && !this.#downlinks.take(frame)) connection.fail('protocol', `a downlink before ${frame.seq} is missing`)
        return
      case 'migrate': {
        const { withinMs, endpoints, reason } = frame
        if (isCurrent && this.#connector.migrate(frame)) this.#listeners.tell('migrating', { withinMs, endpoints, reason })
      }
    }
  }

  #disconnected (ended: Ended, isKick: boolean): void {
    const { code, reason, willReconnect } = ended
    if (isKick) this.#listeners.tell('kicked', { code, reason, willReconnect: false })
    if (!willReconnect) {
      this.#unwatchNetwork()
      this.#error = code === 'disconnected' ? undefined : new ClientError(code, reason)
      this.#uplinks.end(code, reason)
      this.#downlinks.end()
      for (const stream of this.#streams) stream.end(this.#error)
    }
    this.#listeners.tell('disconnected', ended)
  }
}
