import type { Connected, Signal, UplinkAck } from '../schemas/frames.js'
import { Backoff } from './backoff.js'
import { ClientError, quiet } from './client-error.js'
import { within } from './clock.js'
import type { Clock } from './clock.js'
import { Connection } from './connection.js'
import type { Hello, Received } from './connection.js'
import { Connector } from './connector.js'
import { endpointsKept, endpointsOf } from './discovery.js'
import { Downlinks } from './downlinks.js'
import type { Endpoints } from './endpoints.js'
import type { Ended, Listeners } from './events.js'
import { HeartbeatInterval } from './heartbeat-interval.js'
import { KnownIntervals } from './known-intervals.js'
import type { ClientOptions, SendOptions } from './options.js'
import type { Accepted } from './outbox.js'
import { bytesOf, checkedSend, jsonOf, readable, uplinkBytes } from './payloads.js'
import type { Payload } from './payloads.js'
import type { Address, Platform } from './platform.js'
import { handOn } from './recall.js'
import type { Room } from './room.js'
import { Rooms } from './rooms.js'
import { Keeper } from './storage/keeper.js'
import { Restoring } from './storage/restoring.js'
import { Tokens } from './tokens.js'
import { Uplinks } from './uplinks.js'
import { boundedWait } from './waits.js'

/** `idle` before `connect`, `waiting` between attempts, `closed` by `close`, `ended` for another reason. */
export type ClientState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed' | 'ended'

export interface SessionDeps {
  readonly platform: Platform
  readonly clock: Clock
  readonly listeners: Listeners
  /** It is over for good, and all listeners were told. */
  readonly ended: (error: ClientError) => void
}

/** What a server dictates where it says nothing that can be. */
const heartbeatMsDefault = 45_000

/** A storage that does not answer keeps no client from closing. */
const closeMsMax = 5_000

/** From the end of a listener to the ack of what it had are eight steps of promises. Close waits for twice as many. */
const ackStepsMax = 16

/*
  Kept beside uplinks and downlinks:
    user => whose they are
*/
const userKey = 'user'

/**
 * One device's stay over time: what it sends and gets, over however many connections, and what outlives a restart. Each
 * part has its rules; here they are put together, and get the frames that are for them.
 */
export class Session {
  readonly #options: ClientOptions
  readonly #deps: SessionDeps
  readonly #listeners: Listeners
  readonly #keeper: Keeper
  readonly #restoring: Restoring
  readonly #uplinks: Uplinks
  readonly #downlinks: Downlinks
  readonly #rooms: Rooms
  readonly #endpoints: Endpoints
  readonly #connector: Connector
  readonly #interval: HeartbeatInterval
  readonly #intervals: KnownIntervals
  readonly #tokens: Tokens
  #userId: string | undefined
  #isConnecting = false
  #isClosed = false
  #unwatchNetwork = () => {}
  #error: ClientError | undefined

  constructor (options: ClientOptions, deps: SessionDeps) {
    const { outboxMax = 1000, outboxBytesMax = 4 << 20, ack = 'auto', handlerAttemptsMax = 5 } = options
    const { attemptsMax = Infinity, giveUpAfterMs = Infinity, heartbeat = 'dictated', getToken } = options
    const { platform, clock, listeners } = deps
    const random = (): number =>
      listeners.guard('random', options.random ?? Math.random, value => value >= 0 && value < 1, Math.random)
    const keeper = new Keeper(options.storage, {
      clock,
      failed: error => listeners.tell('storageFailed', { error }),
    })
    this.#options = options
    this.#deps = deps
    this.#listeners = listeners
    this.#keeper = keeper
    this.#restoring = new Restoring(() => this.#restore())
    this.#uplinks = new Uplinks({
      clock,
      keeper,
      max: outboxMax,
      bytesMax: outboxBytesMax,
      frameBytes: uplink => uplinkBytes(uplink, options.encoding ?? 'avro'),
      accepted: event => listeners.tell('accepted', event),
      rejected: event => listeners.tell('rejected', event),
      refused: event => listeners.tell('refused', event),
    })
    this.#downlinks = new Downlinks({
      clock,
      keeper,
      random,
      isManual: ack === 'manual',
      attemptsMax: handlerAttemptsMax,
      tell: downlink => this.#isClosed ? undefined : handOn(listeners, downlink),
      failed: event => listeners.tell('failed', event),
      skipped: event => listeners.tell('skipped', event),
    })
    this.#rooms = new Rooms({ keeper, listeners, session: this })
    this.#tokens = new Tokens({
      clock,
      random,
      getToken,
      renewed: token => this.#connector.current?.send({ op: 'token', token }),
      gaveUp: reason => this.#connector.stop('no-token', reason),
    })
    const backoff = new Backoff({ baseMs: 1000, capMs: 60_000, random })
    this.#endpoints = endpointsOf(options, { platform, clock, keeper, backoff })
    this.#intervals = new KnownIntervals(keeper)
    this.#interval = new HeartbeatInterval(heartbeat === 'adaptive', (network, ms) => this.#intervals.learn(network, ms))
    this.#connector = new Connector({
      clock,
      random,
      endpoints: this.#endpoints,
      backoff,
      attemptsMax,
      giveUpAfterMs,
      hello: isExpired => this.#hello(isExpired),
      open: (address, hello) => this.#open(address, hello),
      connecting: (endpoint, attempt) => listeners.tell('connecting', { endpoint, attempt }),
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

  get unackedUplinks (): number { return this.#uplinks.size }

  /** @throws Error once it is closed or has ended */
  connect (): void {
    if (this.#isClosed) throw new Error('this client is closed; make another one with createClient')
    if (this.#error) {
      const { code, message } = this.#error
      throw new Error(`this client has ended, ${code}: ${message}; make another one with createClient`)
    }
    if (this.#isConnecting) return
    this.#isConnecting = true
    this.#unwatchNetwork = this.#deps.platform.watchNetwork(isBack => this.networkChanged(isBack), {
      sleep: () => {
        this.#downlinks.flush()
        this.#connector.sleep()
        this.#keeper.sleep()
      },
      wake: () => { this.#keeper.wake().then(() => this.#connector.wake()) },
    })
    this.#restoring.begin().then(() => this.#connector.start(), () => {})
  }

  /** @param isBack see `Connector` */
  networkChanged (isBack: boolean): void { this.#connector.networkChanged(isBack) }

  send (payload: Payload, options?: SendOptions, roomId?: string): Promise<Accepted> {
    return quiet(this.#send(() => bytesOf(payload), options, roomId))
  }

  sendJson (value: unknown, options?: SendOptions, roomId?: string): Promise<Accepted> {
    return quiet(this.#send(() => bytesOf(jsonOf(value)), options, roomId))
  }

  room (roomId: string): Room { return this.#rooms.room(roomId) }

  /** Somebody listens for downlinks now. */
  listening (): void { this.#downlinks.listening() }

  async close (endSession: boolean): Promise<void> {
    this.#isClosed ||= this.#error === undefined
    for (let i = 0; this.#downlinks.flush() && i < ackStepsMax; i++) await 0
    this.#keeper.stopWaiting()
    // Now, and not once the storage has answered: what its next owner takes over is closed by then.
    const left = this.#connector.close(endSession)
    try {
      await within(closeMsMax, (async () => {
        await this.#restoring.begun
        await left
        await this.#keeper.close()
      })(), this.#deps.clock)
    } catch (error) {
      this.#listeners.tell('storageFailed', { error })
    }
  }

  async #send (bytes: () => Uint8Array, options?: SendOptions, roomId = ''): Promise<Accepted> {
    const { service, priority } = checkedSend(options)
    const payload = bytes()
    if (!this.#restoring.isPassed && this.#error === undefined) await this.#restoring.pass()
    if (this.#isClosed || this.#error) throw new ClientError('disconnected', `this client has ended: ${this.#error?.message ?? 'closed'}`)
    return await this.#uplinks.send(service, payload, priority, roomId)
  }

  async #restore (): Promise<void> {
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
  }

  async #hello (isExpired: boolean): Promise<Hello> {
    const { deviceId, platform = 'unknown', client = '' } = this.#options
    const token = await this.#tokens.ask(isExpired)
    const { sessionId, ackedSeq } = this.#uplinks
    const { doneSeq: downlinkSeq } = this.#downlinks
    return { frame: { op: 'connect', token, deviceId, platform, client, sessionId, downlinkSeq }, uplinkSeq: ackedSeq }
  }

  #open (address: Address, hello: Hello): Connection {
    const { platform, clock } = this.#deps
    return new Connection(address, hello, {
      platform,
      clock,
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

  /** Acks and signals count from the connection that we have just left, too. What else it still says comes again. */
  #received (connection: Connection, frame: Received): void {
    switch (frame.op) {
      case 'uplinkAck':
        if (connection.hello.frame.sessionId !== this.#uplinks.sessionId) return
        if (!this.#uplinks.acked(frame)) this.#beginAnew(this.#connector.current)
        return
      case 'signal': {
        const { service, payload, roomId } = frame
        this.#listeners.tell('signal', { service, ...readable(payload), roomId })
        return this.#rooms.received(frame)
      }
      default:
        if (connection === this.#connector.current) this.#receivedNow(connection, frame)
    }
  }

  #receivedNow (connection: Connection, frame: Exclude<Received, UplinkAck | Signal>): void {
    switch (frame.op) {
      case 'joined': case 'left': {
        const { op, ...event } = frame
        this.#rooms.received(frame)
        return this.#listeners.tell(op, event as any)
      }
      case 'post': return this.#rooms.received(frame)
      case 'pong': return this.#downlinks.answered(connection.pongs)
      case 'tokenAccepted': return this.#tokens.accepted(frame.expiresAtMs)
      case 'uplinkRefused':
        if (!this.#uplinks.refused(frame)) this.#beginAnew(connection)
        return
      case 'downlink':
        if (!this.#downlinks.take(frame)) connection.fail('protocol', `a downlink before ${frame.seq} is missing`)
        return
      case 'migrate': {
        const { withinMs, endpoints, reason } = frame
        if (this.#connector.migrate(frame)) this.#listeners.tell('migrating', { withinMs, endpoints, reason })
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
    }
    this.#listeners.tell('disconnected', ended)
    if (this.#error) this.#deps.ended(this.#error)
  }
}
