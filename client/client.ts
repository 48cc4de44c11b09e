import type { Connected } from '../schemas/frames.js'
import { Backoff } from './backoff.js'
import { ClientError, quiet } from './client-error.js'
import { systemClock, within } from './clock.js'
import type { Clock } from './clock.js'
import { Connection } from './connection.js'
import type { Hello, Received } from './connection.js'
import { Connector } from './connector.js'
import { endpointsKept, endpointsOf } from './discovery.js'
import { Downlinks } from './downlinks.js'
import type { Endpoints } from './endpoints.js'
import { Listeners } from './events.js'
import type { ClientEvents, Ended, Listener } from './events.js'
import { HeartbeatInterval } from './heartbeat-interval.js'
import type { ReceivedDownlink } from './inbox.js'
import { KnownIntervals } from './known-intervals.js'
import { LoopStream } from './loop-stream.js'
import { checkOptions } from './options.js'
import type { ClientOptions } from './options.js'
import type { Accepted } from './outbox.js'
import { bytesOf, checkSend, jsonOf, readable, uplinkBytes } from './payloads.js'
import type { Payload } from './payloads.js'
import type { Address, Platform } from './platform.js'
import { handOn } from './recall.js'
import type { Room } from './room.js'
import { Rooms } from './rooms.js'
import { Keeper } from './storage/keeper.js'
import { Tokens } from './tokens.js'
import { Uplinks } from './uplinks.js'
import { Waiters } from './waiters.js'
import { boundedWait } from './waits.js'

export interface SendOptions { readonly service?: string, readonly priority?: number }

/** `idle` before `connect`, `waiting` between attempts, `closed` by `close`, `ended` for another reason. */
export type ClientState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed' | 'ended'

/** What a server dictates where it says nothing that can be. */
const heartbeatMsDefault = 45_000

/** A storage that does not answer keeps no client from closing. */
const closeMsMax = 5_000

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
  readonly #streams = new Set<LoopStream<ReceivedDownlink>>()
  readonly #keeper: Keeper
  readonly #uplinks: Uplinks
  readonly #downlinks: Downlinks
  readonly #rooms: Rooms
  readonly #backoff: Backoff
  readonly #endpoints: Endpoints
  readonly #connector: Connector
  readonly #interval: HeartbeatInterval
  readonly #intervals: KnownIntervals
  readonly #tokens: Tokens
  #userId: string | undefined
  #restoring: Promise<void> | undefined
  #isRestored = false
  #sendsWaiting = 0
  #isConnecting = false
  #isClosed = false
  #unwatchNetwork = () => {}
  /** How it ended. */
  #error: ClientError | undefined
  readonly #waiters = new Waiters()

  /** @throws TypeError naming the option, what it got and what it wants */
  constructor (options: ClientOptions, platform: Platform, clock: Clock = systemClock) {
    checkOptions(options)
    const { outboxMax = 1000, outboxBytesMax = 4 << 20, ack = 'auto', handlerAttemptsMax = 5 } = options
    const { attemptsMax = Infinity, giveUpAfterMs = Infinity, heartbeat = 'dictated', getToken } = options
    const random = (): number =>
      this.#listeners.guard('random', options.random ?? Math.random, value => value >= 0 && value < 1, Math.random)
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
      frameBytes: uplink => uplinkBytes(uplink, options.encoding ?? 'avro'),
      accepted: event => this.#listeners.tell('accepted', event),
      rejected: event => this.#listeners.tell('rejected', event),
      refused: event => this.#listeners.tell('refused', event),
    })
    this.#downlinks = new Downlinks({
      clock,
      keeper: this.#keeper,
      random,
      isManual: ack === 'manual',
      attemptsMax: handlerAttemptsMax,
      tell: downlink => handOn(this.#listeners, downlink),
      failed: event => this.#listeners.tell('failed', event),
      skipped: event => this.#listeners.tell('skipped', event),
    })
    this.#rooms = new Rooms({
      keeper: this.#keeper,
      send: (payload, options, roomId) => quiet(this.#send(() => bytesOf(payload), options, roomId)),
      sendJson: (value, options, roomId) => quiet(this.#send(() => bytesOf(jsonOf(value)), options, roomId)),
      failed: (callback, error) => this.#listeners.failed(callback, error),
      ended: () => this.#error && { error: this.#isClosed ? undefined : this.#error },
    })
    this.#tokens = new Tokens({
      clock,
      random,
      getToken,
      renewed: token => this.#connector.current?.send({ op: 'token', token }),
      gaveUp: reason => this.#connector.stop('no-token', reason),
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
        this.#rooms.pause()
        this.#tokens.stop()
      },
      disconnected: (ended, isKick) => this.#disconnected(ended, isKick),
      ahead: () => this.#downlinks.forget(),
    })
  }

  get state (): ClientState {
    if (this.#isClosed) return 'closed'
    if (this.#connector.state === 'ended') return 'ended'
    if (!this.#isConnecting) return 'idle'
    if (this.#connector.isOpen) return 'connected'
    return this.#connector.isWaiting ? 'waiting' : 'connecting'
  }

  /** Uplinks that the server has not accepted yet. */
  get unackedUplinks (): number { return this.#uplinks.size }

  /**
   * Connects, and stays connected until `close` or a terminal end.
   *
   * @throws Error once this client is closed or has ended
   */
  connect (): this {
    if (this.#isClosed) throw new Error('this client is closed; make another one with createClient')
    if (this.#error) {
      const { code, message } = this.#error
      throw new Error(`this client has ended, ${code}: ${message}; make another one with createClient`)
    }
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
   * Resolves once it is connected, at once where it is.
   *
   * @throws ClientError why this client ended; `disconnected` by `close`
   */
  ready (): Promise<void> {
    return this.#waiters.wait(resolve => {
      if (this.state !== 'connected') return this.on('connected', () => resolve())
      resolve()
    })
  }

  /**
   * Resolves once the uplink is in the ledger, over however many connections that takes. Sends keep their order.
   *
   * @throws TypeError where it can't be sent; ClientError `outbox-full`, `payload-too-large`; or why the client ended:
   *   `disconnected`, `kicked`, ...
   */
  send (payload: Payload, options?: SendOptions): Promise<Accepted> {
    return quiet(this.#send(() => bytesOf(payload), options))
  }

  /** As `send`, of the JSON of `value`. */
  sendJson (value: unknown, options?: SendOptions): Promise<Accepted> {
    return quiet(this.#send(() => bytesOf(jsonOf(value)), options))
  }

  /**
   * A room, by its id; the same one each time.
   *
   * @throws TypeError for what is no id
   */
  room (roomId: string): Room { return this.#rooms.room(roomId) }

  /** @returns what stops it */
  on<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): () => void {
    this.#listeners.add(name, listener)
    if (name === 'downlink' || name === 'recall') this.#downlinks.listening()
    return () => this.#listeners.remove(name, listener)
  }

  /** The next event of this name: to the listener, or to whoever awaits it, who is told if there will be none. */
  once<Name extends keyof ClientEvents> (name: Name): Promise<ClientEvents[Name]>
  once<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): () => void
  once<Name extends keyof ClientEvents> (
    name: Name, listener?: Listener<Name>
  ): (() => void) | Promise<ClientEvents[Name]> {
    if (listener === undefined) return this.#waiters.wait(resolve => this.once(name, resolve))
    const stop = this.on(name, event => {
      stop()
      return listener(event)
    })
    return stop
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
  downlinks (): AsyncGenerator<ReceivedDownlink, void, void> {
    const stream = new LoopStream<ReceivedDownlink>()
    return stream.loop(() => {
      if (this.#error) stream.end(this.#isClosed ? undefined : this.#error)
      this.#streams.add(stream)
      const stop = this.on('downlink', stream.push)
      return () => {
        stop()
        this.#streams.delete(stream)
      }
    })
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
  close ({ endSession = false } = {}): Promise<void> {
    return quiet(this.#close(endSession))
  }

  async #close (endSession: boolean): Promise<void> {
    this.#isClosed ||= this.#error === undefined
    this.#downlinks.flush()
    this.#keeper.stopWaiting()
    // Now, and not once the storage has answered: what its next owner takes over is closed by then.
    const left = this.#connector.close(endSession)
    try {
      await within(closeMsMax, (async () => {
        await this.#restoring
        await left
        await this.#keeper.close()
      })(), this.#clock)
    } catch (error) {
      this.#listeners.tell('storageFailed', { error })
    }
  }

  async #send (bytes: () => Uint8Array, { service = '', priority = 0 }: SendOptions = {}, roomId = ''): Promise<Accepted> {
    checkSend(service, priority)
    const payload = bytes()
    // Behind those that wait for it, though it may be restored by now.
    if ((!this.#isRestored || this.#sendsWaiting > 0) && this.#error === undefined) {
      this.#sendsWaiting++
      try {
        await this.#restore()
      } finally {
        this.#sendsWaiting--
      }
    }
    if (this.#error) throw new ClientError('disconnected', `this client has ended: ${this.#error.message}`)
    return await this.#uplinks.send(service, payload, priority, roomId)
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
      this.#rooms.restore(kept)
      this.#userId = kept.get(userKey)
      this.#endpoints.restore(endpointsKept(this.#options, kept))
      this.#intervals.restore(kept)
    } catch (err) {
      await this.#keeper.giveUp(err)
    }
    this.#isRestored = true
  }

  async #hello (isExpired: boolean): Promise<Hello> {
    const { deviceId, platform = 'unknown', client = '' } = this.#options
    const token = await this.#tokens.ask(isExpired)
    const { sessionId, ackedSeq } = this.#uplinks
    const { doneSeq: downlinkSeq } = this.#downlinks
    return { frame: { op: 'connect', token, deviceId, platform, client, sessionId, downlinkSeq }, uplinkSeq: ackedSeq }
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
    const network = this.#listeners.guard('network', this.#options.network ?? (() => ''), value => typeof value === 'string', () => '')
    this.#interval.dictate(boundedWait(frame.heartbeatMs, heartbeatMsDefault), network, this.#intervals.of(network))
    this.#tokens.begin(hello.frame.token, frame.serverTimeMs)
    if (from === undefined) this.#listeners.tell('connected', { ...connected, endpoint })
    else this.#listeners.tell('migrated', { ...connected, endpoint, from })
    this.#downlinks.resume(connection, frame.downlinkSeq, hello.frame.downlinkSeq)
    // While it connected a new session may have begun, on the connection that it takes the place of.
    const isOurs = hello.frame.sessionId === this.#uplinks.sessionId &&
      this.#uplinks.resume(connection, frame.uplinkSeq, hello.uplinkSeq)
    if (isOurs) this.#rooms.resume(connection)
    if (frame.missed > 0) {
      this.#listeners.tell('missed', { count: frame.missed })
      connection.send({ op: 'ping', downlinkSeq: this.#downlinks.ackableSeq, silentMs: 0 }) // so that it is not announced again
    }
    if (!isOurs) this.#beginAnew(connection)
  }

  #received (connection: Connection, frame: Received): void {
    const isCurrent = connection === this.#connector.current
    switch (frame.op) {
      case 'uplinkAck':
        // From the connection that we have just left too: it is as true.
        if (connection.hello.frame.sessionId !== this.#uplinks.sessionId) return
        if (!this.#uplinks.acked(frame)) this.#beginAnew(this.#connector.current)
        return
      case 'signal': {
        const { service, payload, roomId } = frame
        this.#listeners.tell('signal', { service, ...readable(payload), roomId })
        this.#rooms.received(frame)
        return
      }
      case 'joined': case 'left': {
        const { op, ...event } = frame
        if (!isCurrent) return
        this.#rooms.received(frame)
        this.#listeners.tell(op, event as any)
        return
      }
      case 'post':
        if (isCurrent) this.#rooms.received(frame)
        return
      case 'pong':
        if (isCurrent) this.#downlinks.answered(connection.pongs)
        return
      case 'tokenAccepted':
        if (isCurrent) this.#tokens.accepted(frame.expiresAtMs)
        return
      case 'uplinkRefused':
        if (isCurrent && !this.#uplinks.refused(frame)) this.#beginAnew(connection)
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

  #beginAnew (connection: Connection | undefined): void {
    connection?.fail('internal', 'the server has this session otherwise than we do; a new one begins')
  }

  #disconnected (ended: Ended, isKick: boolean): void {
    const { code, reason, willReconnect } = ended
    if (isKick) this.#listeners.tell('kicked', { code, reason, willReconnect: false })
    if (!willReconnect) {
      this.#unwatchNetwork()
      this.#tokens.stop()
      this.#error = new ClientError(code, reason)
      this.#uplinks.end(code, reason)
      this.#downlinks.end()
      this.#rooms.end(this.#isClosed ? undefined : this.#error)
      for (const stream of this.#streams) stream.end(this.#isClosed ? undefined : this.#error)
    }
    this.#listeners.tell('disconnected', ended)
    if (this.#error) this.#waiters.end(this.#error)
  }
}
