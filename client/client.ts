import { quiet } from './client-error.js'
import { systemClock } from './clock.js'
import type { Clock } from './clock.js'
import { Listeners } from './events.js'
import type { ClientEvents, Listener } from './events.js'
import type { ReceivedDownlink } from './inbox.js'
import { Loops } from './loops.js'
import { checkNames, checkOptions } from './options.js'
import type { ClientOptions, SendOptions } from './options.js'
import type { Accepted } from './outbox.js'
import type { Payload } from './payloads.js'
import type { Platform } from './platform.js'
import type { Room } from './room.js'
import { Session } from './session.js'
import type { ClientState } from './session.js'
import { Waiters } from './waiters.js'

/** One device of one user: stays connected, sends each uplink exactly once, hands on each downlink once, in order. */
export class Client {
  readonly #listeners = new Listeners()
  readonly #loops = new Loops<ReceivedDownlink>()
  readonly #waiters = new Waiters()
  readonly #session: Session

  /** @throws TypeError naming the option, what it got and what it wants */
  constructor (options: ClientOptions, platform: Platform, clock: Clock = systemClock) {
    checkOptions(options)
    this.#session = new Session(options, {
      platform,
      clock,
      listeners: this.#listeners,
      ended: error => {
        this.#loops.end(this.state === 'closed' ? undefined : error)
        this.#waiters.end(error)
      },
    })
  }

  get state (): ClientState { return this.#session.state }

  /** Uplinks that the server has not accepted yet. */
  get unackedUplinks (): number { return this.#session.unackedUplinks }

  /**
   * Connects, and stays connected until `close` or a terminal end.
   *
   * @throws Error once this client is closed or has ended
   */
  connect (): this {
    this.#session.connect()
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
    return this.#session.send(payload, options)
  }

  /** As `send`, of the JSON of `value`. */
  sendJson (value: unknown, options?: SendOptions): Promise<Accepted> {
    return this.#session.sendJson(value, options)
  }

  /**
   * A room, by its id; the same one each time.
   *
   * @throws TypeError for what is no id
   */
  room (roomId: string): Room { return this.#session.room(roomId) }

  /** @returns what stops it */
  on<Name extends keyof ClientEvents> (name: Name, listener: Listener<Name>): () => void {
    this.#listeners.add(name, listener)
    if (name === 'downlink' || name === 'recall') this.#session.listening()
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
    return this.#loops.loop(listener => this.on('downlink', listener))
  }

  /** Tells that the network is another one, or back, where the platform does not say so by itself. */
  networkChanged (): void {
    this.#session.networkChanged(true)
  }

  /**
   * Leaves. Downlinks that listeners are done with are acked first, and no others are handed on. Uplinks that are not
   * acked yet are rejected; in a storage they wait for the next run.
   *
   * @param options.endSession this device will not come back: its outbox on the server is dropped
   * @throws TypeError for another option
   */
  close (options: { endSession?: boolean } = {}): Promise<void> {
    checkNames(options, ['endSession'])
    return quiet(this.#session.close(!!options.endSession))
  }
}
