import type { Connected, Migrate } from '../schemas/frames.js'
import { Backoff } from './backoff.js'
import type { Clock } from './clock.js'
import type { Connection, ConnectionEnd, Hello } from './connection.js'
import type { Endpoints } from './endpoints.js'
import type { Ended } from './events.js'
import { reasonOf } from './client-error.js'
import type { EndCode, OrNewer } from './end-codes.js'
import type { Address } from './platform.js'
import { NoToken } from './tokens.js'
import { boundedWait } from './waits.js'

export interface ConnectorOptions {
  readonly clock: Clock
  readonly random: () => number
  readonly endpoints: Endpoints
  readonly backoff: Backoff
  readonly attemptsMax: number
  readonly giveUpAfterMs: number
  /** @param isExpired whether the server refused the last token as expired */
  readonly hello: (isExpired: boolean) => Promise<Hello>
  readonly open: (address: Address, hello: Hello) => Connection
  readonly connecting: (endpoint: string, attempt: number) => void
  /** @param from the endpoint that is left for this one; undefined where there was no connection */
  readonly opened: (connection: Connection, frame: Connected, from: string | undefined) => void
  /** The connection is gone; another one may be on its way. */
  readonly paused: () => void
  readonly disconnected: (ended: Ended, isKick: boolean) => void
  /** The server never sent us as many downlinks as we had: the next `connect` must not say so again. */
  readonly ahead: () => void
}

/** A server may send us elsewhere so many times in a row. */
const redirectsMax = 3

/** A connection that lasted so long was none that fails at once: attempts begin with short waits again. */
const stableMs = 5_000

/** A move begins within this part of the time for it, so that there is time left to connect. */
const moveBeginPart = 0.8

/** How long a connection has to prove that it survived a change of network; and that it did while the page slept. */
const probeMs = 3_000
const probeAwakeMs = 10_000

/** A server whose ledger is slow may take a `connect` so long after the client has given up on it. */
const lateOpeningMs = 120_000

/** How a `connect` ends that the server may store all the same. */
const unanswered: ReadonlySet<string> = new Set(['connection-lost', 'handshake-timeout', 'ledger-unavailable', 'internal'])

const unreachable: ConnectionEnd = {
  code: 'connection-lost', reason: '', terminal: false, isKick: false, retryAfterMs: 0, endpoints: [], lastedMs: 0,
}

/** Keeps one connection open: reconnects, follows redirects, moves before it leaves (protocol.md 3, Leaving). */
export class Connector {
  readonly #options: ConnectorOptions
  #state: 'idle' | 'running' | 'ended' = 'idle'
  /** The connection in use or in the making; and its successor while we move. */
  #current: Connection | undefined
  #next: Connection | undefined
  /** Attempts since the last connection, those of them that failed, and since when there is none. */
  #attempts = 0
  #failures = 0
  #downSinceMs = -1
  #redirects = 0
  #isExpired = false
  #isAsleep = false
  /** The attempt that counts: one that was under way when the page fell asleep does not. */
  #attempting = {}
  /** Set while we wait for the next attempt; and until when the server does not want one, whatever way we come. */
  #cancelRetry: (() => void) | undefined
  #notBeforeMs = -Infinity
  #move: { readonly from: string, readonly byMs: number, readonly backoff: Backoff, cancel: () => void } | undefined
  /** When the last `connect`, of a move or not, ended without an answer that says that it is not stored. */
  #unansweredAtMs = -Infinity

  constructor (options: ConnectorOptions) {
    this.#options = options
  }

  get state (): 'idle' | 'running' | 'ended' { return this.#state }

  /** Whether a connection is open. */
  get isOpen (): boolean { return this.#current !== undefined && this.#current.uplinkWindow > 0 }

  get isWaiting (): boolean { return this.#cancelRetry !== undefined || this.#isAsleep }

  get current (): Connection | undefined { return this.#current }

  start (): void {
    if (this.#state !== 'idle') return
    this.#state = 'running'
    this.#attempt()
  }

  /** Leaves for good. Resolves once the sockets are gone. */
  async close (endSession: boolean): Promise<void> {
    const open = [this.#current, this.#next].filter(each => each !== undefined)
    this.#finish({ code: 'disconnected', reason: 'closed' }, false)
    for (const connection of open) connection.leave(endSession)
    await Promise.all(open.map(connection => connection.closed))
  }

  /** Terminal, for a reason that is not the server's. */
  stop (code: EndCode, reason: string): void {
    const { current } = this
    this.#finish({ code, reason }, false)
    current?.leave(false)
  }

  /** @param isBack the network is another one, or back; else we only slept */
  networkChanged (isBack: boolean): void {
    if (this.#cancelRetry !== undefined) {
      if (this.#options.clock.nowMs() < this.#notBeforeMs) return
      this.#cancelRetry()
      this.#attempt()
    } else {
      this.#current?.probe(isBack ? probeMs : probeAwakeMs)
    }
  }

  /** No connection until `wake`: a page that has one may not sleep, or sleeps through its end. */
  sleep (): void {
    this.#isAsleep = true
    this.#cancelRetry?.()
    this.#cancelRetry = undefined
    for (const connection of [this.#next, this.#current]) {
      connection?.send({ op: 'disconnect', endSession: false })
      connection?.fail('disconnected', 'the page sleeps')
    }
  }

  wake (): void {
    if (!this.#isAsleep) return
    this.#isAsleep = false
    if (this.#state !== 'running') return
    const waitMs = this.#notBeforeMs - this.#options.clock.nowMs()
    if (waitMs > 0) this.#cancelRetry = this.#options.clock.after(waitMs, () => { this.#attempt() })
    else this.#attempt()
  }

  opened (connection: Connection, frame: Connected): void {
    const isSuccessor = connection === this.#next
    const old = isSuccessor ? this.#current : undefined
    const from = isSuccessor ? this.#move?.from : undefined
    if (isSuccessor) {
      this.#stopMove()
      this.#next = undefined
      this.#current = connection
    }
    if (connection !== this.#current) return
    this.#attempts = this.#failures = this.#redirects = 0
    this.#downSinceMs = -1
    this.#isExpired = false
    this.#options.opened(connection, frame, from)
    old?.leave(false)
  }

  ended (connection: Connection, end: ConnectionEnd): void {
    const wasOpen = connection.uplinkWindow > 0
    if (end.code === 'token-expired') this.#isExpired = true
    if (connection === this.#next) {
      this.#next = undefined
      this.#unansweredAtMs = this.#options.clock.nowMs()
      if (this.#current === undefined) this.#lost(end)
      else this.#moveFailed(end)
    } else if (connection === this.#current) {
      this.#current = undefined
      this.#options.paused()
      if (end.code === 'protocol' && !wasOpen && connection.hello.frame.downlinkSeq > 0) {
        this.#options.ahead()
        return this.#lost({ ...end, terminal: false })
      }
      if (end.code === 'superseded' && this.#isOwnLateOpening()) {
        this.#unansweredAtMs = -Infinity // once: the next time it is another client
        return this.#lost({ ...end, terminal: false })
      }
      const mayBeStored = !wasOpen && connection.hasAsked && unanswered.has(end.code)
      if (mayBeStored) this.#unansweredAtMs = this.#options.clock.nowMs()
      // The successor goes on. That it supersedes this connection is what we wanted.
      if (this.#next === undefined || (end.terminal && end.code !== 'superseded')) this.#lost(end)
    }
  }

  /** Connects to another endpoint first, at random within the time given, and leaves then. */
  migrate ({ withinMs, endpoints }: Migrate): boolean {
    if (this.#move !== undefined || this.#current === undefined) return false
    const { clock, random } = this.#options
    const timeMs = boundedWait(withinMs)
    this.#options.endpoints.prefer(endpoints)
    this.#move = {
      from: this.#current.endpoint,
      byMs: clock.nowMs() + timeMs,
      backoff: new Backoff({ baseMs: 500, capMs: 5_000, random }),
      cancel: clock.after(random() * moveBeginPart * timeMs, () => { this.#moveOn() }),
    }
    return true
  }

  async #attempt (): Promise<void> {
    const attempting = this.#attempting = {}
    const counts = () => attempting === this.#attempting && !this.#isAsleep
    this.#cancelRetry = undefined
    this.#attempts++
    try {
      const address = await this.#options.endpoints.next()
      const hello = await this.#options.hello(this.#isExpired)
      if (this.#state !== 'running' || !counts()) return
      this.#options.connecting(address.url, this.#attempts)
      this.#current = this.#options.open(address, hello)
    } catch (err) {
      if (counts()) this.#lost(unreachableFor(err))
    }
  }

  async #moveOn (): Promise<void> {
    const move = this.#move
    try {
      const address = await this.#options.endpoints.next()
      const hello = await this.#options.hello(this.#isExpired)
      if (move === this.#move && this.#current !== undefined) this.#next = this.#options.open(address, hello)
    } catch (err) {
      const end = unreachableFor(err)
      if (end.terminal) this.stop('no-token', end.reason)
      else if (move === this.#move) this.#moveFailed(end)
    }
  }

  /** We stay, and try again for as long as there is time; after that the node ends the connection when it goes. */
  #moveFailed (end: ConnectionEnd): void {
    const { clock, endpoints } = this.#options
    if (this.#move === undefined) return
    if (this.#isSentElsewhere(end)) endpoints.prefer(end.endpoints)
    const waitMs = end.retryAfterMs > 0 ? this.#move.backoff.toldMs(end.retryAfterMs) : this.#move.backoff.nextMs()
    if (end.terminal || clock.nowMs() + waitMs >= this.#move.byMs) return this.#stopMove()
    this.#move.cancel = clock.after(waitMs, () => { this.#moveOn() })
  }

  #stopMove (): void {
    this.#move?.cancel()
    this.#move = undefined
  }

  /** The server has taken, late, a `connect` of ours that we had given up: no other client has taken our place. */
  #isOwnLateOpening (): boolean {
    return this.#next === undefined && this.#options.clock.nowMs() - this.#unansweredAtMs < lateOpeningMs
  }

  #isSentElsewhere ({ endpoints }: ConnectionEnd): boolean {
    return endpoints.length > 0 && ++this.#redirects <= redirectsMax
  }

  #lost (end: ConnectionEnd): void {
    if (this.#state !== 'running') return
    const { clock, backoff, endpoints, attemptsMax, giveUpAfterMs } = this.#options
    this.#stopMove()
    if (end.terminal) return this.#finish(end, end.isKick)
    if (end.lastedMs >= stableMs) backoff.reset()
    if (this.#downSinceMs < 0) this.#downSinceMs = clock.nowMs()
    const downMs = clock.nowMs() - this.#downSinceMs
    // Who is told to wait has not failed.
    const isTold = end.retryAfterMs > 0 && end.endpoints.length === 0
    if (!isTold && this.#attempts > 0) this.#failures++
    if (this.#failures >= attemptsMax || downMs >= giveUpAfterMs) {
      const reason = `gave up after ${this.#attempts} attempts in ${Math.round(downMs / 1000)} s: ${end.reason}`
      return this.#finish({ code: end.code, reason }, false)
    }
    const isSentElsewhere = this.#isSentElsewhere(end)
    // Sent round in circles: a list of its own is better.
    if (isSentElsewhere || end.endpoints.length > 0) endpoints.prefer(isSentElsewhere ? end.endpoints : [])
    const retryInMs = isSentElsewhere ? 0 : isTold ? backoff.toldMs(end.retryAfterMs) : backoff.nextMs()
    if (isTold) this.#notBeforeMs = clock.nowMs() + retryInMs
    if (!this.#isAsleep) this.#cancelRetry = clock.after(retryInMs, () => { this.#attempt() })
    this.#options.disconnected({ code: end.code, reason: end.reason, willReconnect: true, retryInMs }, false)
  }

  #finish ({ code, reason }: { code: OrNewer<EndCode>, reason: string }, isKick: boolean): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#cancelRetry?.()
    this.#cancelRetry = undefined
    this.#stopMove()
    this.#next?.leave(false)
    this.#options.disconnected({ code, reason, willReconnect: false, retryInMs: 0 }, isKick)
  }
}

function unreachableFor (err: unknown): ConnectionEnd {
  const { retryAfterMs } = (err ?? {}) as { retryAfterMs?: unknown }
  const end = { ...unreachable, reason: reasonOf(err), retryAfterMs: boundedWait(retryAfterMs) }
  return err instanceof NoToken ? { ...end, ...err.end } : end
}
