import type { Connection } from '../../actors/connection/connection.js'
import type { EdgeCounters } from '../../actors/connection/edge-context.js'
import type { SharedSignal } from '../../actors/links.js'
import { appOf } from '../../schemas/apps.js'
import type { BroadcastReported } from '../../schemas/node-facts.js'
import type { Broadcast, BroadcastOrder } from '../broadcasts/known.js'

const tickMs = 20
const reportEveryMs = 1_000

/** Of one app, at the same time on one edge; more are refused. Each node takes fewer (gateway/broadcasts). */
const appRunsMax = 16
/** Of all apps together; one that has none may have one all the same. */
const runsMax = 64

/** Connections that one turn of the event loop looks at. */
const turnMax = 64

/** A tick that comes late makes up for no more than so long: the rest is as much later. */
const lateMsMax = 100

/** A client that has more in its queue does not read, and is left out. */
const queuedBytesMax = 256 << 10

/** Told of broadcasts, where some messages are traced. */
export interface BroadcastTracer {
  /** @returns what is told of its end; undefined where it is not traced */
  begun (broadcast: Broadcast): ((last: BroadcastReported) => void) | undefined
}

export interface EdgeBroadcastsDeps {
  /** All sockets of this edge, as `Edge.all`. */
  all (): IterableIterator<Connection>
  /** How many of them are open, of an app; the default one has no name. */
  connectionsOf (app: string): number
  readonly region: string
  /** How far one is, which replaces what was said of it before. */
  report (fact: BroadcastReported): void
  readonly count: Pick<EdgeCounters, 'signals' | 'broadcastsSent' | 'broadcastsSlow'>
  readonly tracer?: BroadcastTracer | undefined
}

/**
 * Carries broadcasts out on this edge: each goes once to each connection that is open, or opens before all have it, at
 * its own pace, and a few of them in one turn of the event loop, so that nobody else waits for it.
 */
export class EdgeBroadcasts {
  readonly #deps: EdgeBroadcastsDeps
  /** By key. */
  readonly #runs = new Map<string, Run>()
  #timer: NodeJS.Timeout | undefined
  #turn: NodeJS.Immediate | undefined
  #hasStopped = false

  constructor (deps: EdgeBroadcastsDeps) {
    this.#deps = deps
  }

  get running (): number { return this.#runs.size }

  take (order: BroadcastOrder): void {
    if (order.type === 'begin') this.#begin(order.broadcast)
    else this.#end(this.#runs.get(order.key), 'cancelled')
  }

  stop (): void {
    this.#hasStopped = true
    this.#runs.clear()
    this.#rest()
  }

  #begin (broadcast: Broadcast): void {
    const { region } = this.#deps
    if (this.#hasStopped || this.#runs.has(broadcast.key)) return
    if (broadcast.regions.length > 0 && !broadcast.regions.includes(region)) return
    const run = new Run(broadcast, this.#deps.all(), this.#deps.connectionsOf(broadcast.app))
    run.ended = this.#deps.tracer?.begun(broadcast)
    if (performance.now() >= broadcast.endsAtMs) this.#report(run, 'expired')
    else if (!this.#hasRoomFor(broadcast.app)) this.#report(run, 'refused')
    else {
      this.#runs.set(broadcast.key, run)
      this.#report(run, 'running')
      this.#timer ??= setInterval(() => { this.#tick() }, tickMs)
    }
  }

  #hasRoomFor (app: string): boolean {
    let ofApp = 0
    for (const { broadcast } of this.#runs.values()) if (broadcast.app === app) ofApp++
    return ofApp < appRunsMax && (ofApp === 0 || this.#runs.size < runsMax)
  }

  #tick (): void {
    const nowMs = performance.now()
    for (const run of this.#runs.values()) {
      if (nowMs >= run.broadcast.endsAtMs) this.#end(run, 'expired')
      else run.earn(nowMs)
    }
    if (this.#turn === undefined) this.#serve()
  }

  /** One turn: some connections of each. */
  #serve (): void {
    this.#turn = undefined
    const max = Math.ceil(turnMax / Math.max(1, this.#runs.size))
    let isMore = false
    for (const run of this.#runs.values()) {
      for (let i = 0; i < max && run.mayWrite; i++) {
        const connection = run.next()
        if (!connection) break
        this.#write(run, connection)
      }
      if (run.isDone) this.#end(run, 'done')
      else {
        if (performance.now() - run.reportedMs >= reportEveryMs) this.#report(run, 'running')
        isMore ||= run.mayWrite && run.hasMore
      }
    }
    if (isMore) this.#turn = setImmediate(() => { this.#serve() })
  }

  #write (run: Run, connection: Connection): void {
    const { app, platforms } = run.broadcast
    if (!connection.life.isOpen || appOf(connection.userId) !== app) return
    run.passed++
    if (platforms.length > 0 && !platforms.includes(connection.platform)) return
    const { count } = this.#deps
    if (connection.wire.queuedBytes >= queuedBytesMax) {
      run.progress.slow++
      count.broadcastsSlow++
      return
    }
    connection.writeSignal(run.signal)
    connection.wire.flush()
    run.wrote()
    count.signals++
    count.broadcastsSent++
  }

  #end (run: Run | undefined, state: 'done' | 'cancelled' | 'expired'): void {
    if (!run) return
    this.#runs.delete(run.broadcast.key)
    this.#report(run, state)
    if (this.#runs.size === 0) this.#rest()
  }

  #rest (): void {
    clearInterval(this.#timer)
    clearImmediate(this.#turn)
    this.#timer = this.#turn = undefined
  }

  #report (run: Run, state: string): void {
    const { broadcast: { app, messageId }, progress: { sent, slow } } = run
    run.reportedMs = performance.now()
    const left = state === 'done' ? 0 : run.left
    const report: BroadcastReported = { type: 'BroadcastReported', app, messageId, state, sent, slow, left }
    this.#deps.report(report)
    if (state !== 'running') run.ended?.(report)
  }
}

/** One broadcast on its way through the connections. */
class Run {
  readonly signal: SharedSignal
  readonly progress = { sent: 0, slow: 0 }
  /** Open ones of its app that it has come to. */
  passed = 0
  reportedMs = 0
  /** Whoever traces it is told of its end. */
  ended: ((last: BroadcastReported) => void) | undefined
  /** Those behind where it is; who comes meanwhile is the last of them. */
  readonly #rest: IterableIterator<Connection>
  #hasPassedAll = false
  /** In their handshake when it came to them. */
  readonly #opening = new Set<Connection>()
  /** Connections that may be written to now. */
  #allowance = 1
  #earnedMs = performance.now()
  constructor (readonly broadcast: Broadcast, all: IterableIterator<Connection>, readonly connections: number) {
    const { service, payload } = broadcast
    this.signal = { service, payload, encoded: new Map() }
    this.#rest = all
  }

  get mayWrite (): boolean { return this.#allowance >= 1 }

  get hasMore (): boolean { return !this.#hasPassedAll }

  get isDone (): boolean { return this.#hasPassedAll && this.#opening.size === 0 }

  /** About: some that it was to go to have left, and others have come. */
  get left (): number { return Math.max(0, this.connections - this.passed) }

  earn (nowMs: number): void {
    const { perSecond } = this.broadcast
    const ms = Math.min(lateMsMax, nowMs - this.#earnedMs)
    this.#earnedMs = nowMs
    this.#allowance = Math.min(this.#allowance + perSecond * ms / 1_000, Math.max(1, perSecond * lateMsMax / 1_000))
  }

  /** @returns the next connection that is not in its handshake; undefined where there is none just now */
  next (): Connection | undefined {
    for (;;) {
      const connection = this.#hasPassedAll ? undefined : this.#rest.next().value
      if (!connection) break
      if (hasSettled(connection)) return connection
      this.#opening.add(connection)
    }
    this.#hasPassedAll = true
    for (const connection of this.#opening) {
      if (!hasSettled(connection)) continue
      this.#opening.delete(connection)
      return connection
    }
    return undefined
  }

  wrote (): void {
    this.#allowance--
    this.progress.sent++
  }
}

function hasSettled ({ life }: Connection): boolean { return life.isOpen || life.isOver }
