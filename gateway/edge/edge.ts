import type { Connection } from '../../actors/connection/connection.js'
import type { EdgeContext } from '../../actors/connection/edge-context.js'
import type { ConnectionEvent } from '../../actors/connection/events.js'
import { startConnection } from '../../actors/connection/actor.js'
import { ledgerRetryMs } from '../../actors/connection/close.js'
import { resync } from '../../actors/connection/downlinks.js'
import { tickMs } from '../../actors/connection/lifetime.js'
import { askForPlace } from '../../actors/connection/questions.js'
import { hold } from '../../actors/connection/reading.js'
import { awaitsPlace } from '../../actors/connection/refusals.js'
import { askAgain } from '../../actors/connection/repeats.js'
import type { Wire } from '../../actors/connection/wire.js'
import type { ConnectionMessage } from '../../actors/links.js'
import type { ActorSystem } from '../../actors/system.js'
import { isForGood } from '../../ledger/pieces.js'
import type { Entry } from '../../schemas/facts.js'
import { Lingerers } from './lingerers.js'
import { Newcomers } from './newcomers.js'

/** Sockets in their handshake: as many as the kernel may have queued when we come to accept them. */
const handshakesMax = 4_096

/** Of one address; more where it may open more within 3 s. */
const handshakesOfNetworkMax = 256

/** A socket that is younger has had no time to send `connect`. */
const handshakeGraceMs = 1_000

/** Connections with less in their queue are not ended for memory: that frees too little. */
const shedBytesMin = 32 << 10

/** A `Resync` without an answer, or an uplink without an ack, is asked for again after as long. */
const repairTicks = 2_000 / tickMs

/** What an opening may take until it is stored, and until its user actor has answered. */
const storeTicks = 4_000 / tickMs
const welcomeTicks = 8_000 / tickMs

/** How long a connection that is being ended may take for acks of what it has sent. */
export const finishMs = 1_000

/** A client that is asked to move because of its age spreads its going over so long, or a quarter of the age. */
const agedWithinMsMax = 10_000

/** Ages differ by up to so many thousandths from the one that is set. */
const ageJitter = 200

export interface EdgeBounds {
  readonly connectionsMax: number
  /** Accepts a second of one address; 0 for no limit, nor one of its sockets in their handshake. */
  readonly acceptRate: number
  /** Sockets that wait to be closed by a client that can't stay. */
  readonly lingerersMax: number
  /** Age at which a connection is asked to move, ms; 0 for none. */
  readonly ageMaxMs: number
}

/** All sockets of this node: what finds a connection by its id, and the one sweep that watches them all. */
export class Edge {
  readonly #all = new Set<Connection>()
  readonly #byId = new Map<string, Connection>()
  readonly #unrecorded: Array<{ partition: number, entry: Entry }> = []
  /** Ended because memory is short, and not gone yet. */
  readonly #shed = new Set<Connection>()
  readonly #timer: NodeJS.Timeout
  /** A sweep that comes so long after the one before is late: this process stood still. */
  readonly #lateTicks: number
  #sweptAt: number
  /** A late sweep goes on after what lies in the sockets has been read. */
  #reading: NodeJS.Immediate | undefined
  readonly handshakes: Newcomers<Connection>
  readonly lingerers: Lingerers
  /** Told of each connection whose socket is gone, while somebody wants to know. */
  onClosed: ((connection: Connection) => void) | undefined

  constructor (readonly context: EdgeContext, readonly system: ActorSystem, readonly bounds: EdgeBounds) {
    const { heartbeatMs, handshakeMs } = context.limits
    const everyMs = Math.max(tickMs / 2, Math.min(1_000, heartbeatMs / 4, handshakeMs / 4))
    const { acceptRate, lingerersMax } = bounds
    this.lingerers = new Lingerers(lingerersMax)
    this.handshakes = new Newcomers({
      max: handshakesMax,
      networkMax: acceptRate === 0 ? Infinity : Math.max(handshakesOfNetworkMax, 3 * acceptRate),
      // It may have come at the end of its tick.
      isYoung: ({ acceptedAt }) => (context.ticks() - acceptedAt) * tickMs <= handshakeGraceMs,
      putOut: connection => { this.#putOut(connection) },
    })
    context.intake.everybody = () => this.#all
    this.#lateTicks = 2 * everyMs / tickMs
    this.#sweptAt = context.ticks()
    this.#timer = setInterval(() => { this.#sweep() }, everyMs)
  }

  /** Those whose token was good. Sockets in their handshake are counted apart. */
  get connections (): number { return this.#byId.size }

  /** All sockets, those in their handshake too, in the order of their coming: who comes meanwhile is the last. */
  all (): IterableIterator<Connection> { return this.#all.values() }

  get isFull (): boolean { return this.#byId.size >= this.bounds.connectionsMax }

  /** Those that are open, at this moment. */
  get open (): Connection[] { return [...this.#all].filter(({ life }) => life.isOpen) }

  /** True while somebody is on the way in. */
  get isOpening (): boolean {
    for (const { phase } of this.#all) if (phase === 'verifying' || phase === 'opening') return true
    return false
  }

  /**
   * @param network what its address counts for; undefined for nothing
   * @param acceptedAt ticks
   */
  accept (wire: Wire, network: string | undefined, acceptedAt: number): Connection {
    const connection = startConnection(wire, this.context, this.system, acceptedAt)
    this.#all.add(connection)
    this.handshakes.add(connection, network)
    return connection
  }

  opened (connection: Connection): void {
    this.handshakes.delete(connection)
    this.#byId.set(connection.connectionId, connection)
  }

  /** From the wire: the socket is gone. */
  closed (connection: Connection, clean: boolean): void {
    this.#all.delete(connection)
    this.#byId.delete(connection.connectionId)
    this.#shed.delete(connection)
    this.handshakes.delete(connection)
    this.lingerers.delete(connection.wire)
    connection.tell({ type: 'socketClosed', clean })
    this.onClosed?.(connection)
  }

  /** @returns false where the connection is not here */
  toConnection (message: ConnectionMessage): boolean {
    const connection = this.#byId.get(message.connectionId)
    connection?.tell(message as ConnectionEvent)
    return connection !== undefined
  }

  /**
   * Keeps the end of a connection until the ledger takes it, or never will; bounded by the connections that there can
   * be.
   */
  appendLater (partition: number, entry: Entry): void {
    this.#unrecorded.push({ partition, entry })
  }

  /**
   * Ends connections whose clients do not read, those with the most queued bytes first, until half of what all have
   * queued will be gone. Their clients resume, and get the rest as they read. The next ones only when these are gone.
   */
  shedReaders (): void {
    if (this.#shed.size > 0) return
    const slow: Connection[] = []
    let queuedBytes = 0
    for (const connection of this.#all) {
      const { life, wire } = connection
      if (!life.isOpen || wire.queuedBytes < shedBytesMin) continue
      slow.push(connection)
      queuedBytes += wire.queuedBytes
    }
    slow.sort((a, b) => b.wire.queuedBytes - a.wire.queuedBytes)
    for (let left = queuedBytes, i = 0; i < slow.length && left > queuedBytes / 2; i++) {
      left -= slow[i]!.wire.queuedBytes
      this.#shed.add(slow[i]!)
      slow[i]!.tell({ type: 'fail', code: 'slow-consumer', reason: 'memory is short, and this client reads slowly' })
    }
  }

  /** Ends every connection at once, so that its client resumes elsewhere. */
  endAll (reason: string): void {
    for (const connection of this.#all) connection.tell({ type: 'fail', code: 'migrating', reason })
  }

  /** Ends every connection, those that are open once what they have sent is acked; waits until the sockets are gone. */
  async stop (): Promise<void> {
    for (const connection of this.#all) {
      connection.tell(connection.life.isOpen ? { type: 'leave' } : fail('migrating', 'the node stops'))
    }
    const startMs = Date.now()
    let overdue = false
    for (let ms = 0; this.#all.size > 0 && ms < this.context.limits.lingerMs; ms = Date.now() - startMs) {
      if (!overdue && ms >= finishMs) {
        overdue = true
        this.endAll('the node stops')
      }
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    for (const connection of this.#all) connection.wire.destroy()
    this.lingerers.destroyAll()
    clearInterval(this.#timer)
    clearImmediate(this.#reading)
    this.#recordEnds()
  }

  /** For another one that came. */
  #putOut (connection: Connection): void {
    connection.tell(fail('handshake-timeout', 'no connect, and many others wait'))
    this.lingerers.add(connection.wire)
  }

  #sweep (): void {
    this.#recordEnds()
    this.lingerers.sweep()
    const now = this.context.ticks()
    const isLate = now - this.#sweptAt > this.#lateTicks
    this.#sweptAt = now
    // Between two immediates all sockets are polled: what came while this process stood still is read before anybody is
    // taken for silent, and under load who is silent goes all the same.
    if (isLate) this.#reading = setImmediate(() => { this.#reading = setImmediate(() => { this.#judge() }) })
    else this.#judge()
  }

  /** Ends connections whose time is over, and goes on with those that wait. */
  #judge (): void {
    const now = this.context.ticks()
    const { limits } = this.context
    const acceptedBefore = now - limits.handshakeMs / tickMs
    const lingerTicks = limits.lingerMs / tickMs
    for (const connection of this.#all) {
      const { life } = connection
      switch (life.phase) {
        case 'open':
        case 'leaving':
          if (life.isSilent(now) && !isHeld(connection)) connection.tell(fail('heartbeat-timeout', 'silent for too long'))
          else if (life.isExpired(now)) connection.tell(fail('token-expired', 'the token has expired'))
          else if (connection.reading.isFedSlowly(now, limits.byteRateMin)) this.#endSlow(connection)
          else {
            this.#move(connection, now)
            this.#repair(connection, now)
          }
          break
        case 'closing':
          if (life.ticksOfPhase(now) > lingerTicks) connection.wire.destroy()
          break
        case 'opening': this.#open(connection, now); break
        case 'closed': break
        default:
          if (life.acceptedAt < acceptedBefore) connection.tell(fail('handshake-timeout', 'no connect in time'))
      }
    }
  }

  /** Its network may be that slow, so it may come back. */
  #endSlow (connection: Connection): void {
    const { count, limits: { byteRateMin } } = this.context
    count.slowFrames++
    connection.tell(fail('heartbeat-timeout', `a frame came with less than ${byteRateMin} bytes a second`))
  }

  /** A `connect` that can't be stored or answered is not its client's fault, who is told so while it still listens. */
  #open (connection: Connection, now: number): void {
    const { isStored } = connection.window
    if (connection.life.ticksOfPhase(now) <= (isStored ? welcomeTicks : storeTicks)) {
      this.#repair(connection, now)
      return
    }
    const reason = isStored ? 'nobody answers for the user just now' : 'the ledger can not be written just now'
    connection.tell({ type: 'fail', code: 'ledger-unavailable', reason, retryAfterMs: ledgerRetryMs() })
  }

  /** Ends a connection that was asked to move and has not, and asks one that is of age. */
  #move (connection: Connection, now: number): void {
    const { life } = connection
    if (life.phase === 'leaving') {
      if (life.ticksOfPhase(now) > finishMs / tickMs) connection.tell(fail('migrating', 'asked to move, and stayed'))
    } else if (life.mustLeave(now)) connection.tell({ type: 'leave' })
    else if (!life.isAsked && this.bounds.ageMaxMs > 0 && now - life.acceptedAt > this.#ageMax(connection)) {
      const withinMs = Math.ceil(Math.min(agedWithinMsMax, this.bounds.ageMaxMs / 4))
      // As long again to connect, for the one that goes last.
      const leavesAt = now + Math.ceil(2 * withinMs / tickMs)
      connection.tell({ type: 'migrate', withinMs, reason: 'the connection is of age', leavesAt })
    }
  }

  /** In ticks. By its random id, so that nothing is kept for it: those accepted together do not go together. */
  #ageMax ({ connectionId }: Connection): number {
    const drawn = connectionId.charCodeAt(0) * 64 + connectionId.charCodeAt(1) * 8 + connectionId.charCodeAt(2)
    const permille = 1000 - ageJitter + drawn * 7 % (2 * ageJitter + 1)
    return Math.ceil(this.bounds.ageMaxMs * permille / 1000 / tickMs)
  }

  /** A message between edge and user actor may have been lost: asks again. */
  #repair (connection: Connection, now: number): void {
    const { life, window, cursor, tally } = connection
    const waits = life.phase === 'opening' || window.awaitsAck || cursor.isAsked || awaitsPlace(connection) ||
      tally?.repeats !== undefined
    if (!life.waits(waits, now, repairTicks)) return
    if (awaitsPlace(connection)) askForPlace(connection)
    if (tally?.repeats) askAgain(connection, tally.repeats)
    resync(connection)
  }

  #recordEnds (): void {
    for (const { partition, entry } of this.#unrecorded.splice(0)) {
      this.context.append(partition, [entry]).catch(err => {
        if (isForGood(err)) this.context.setAside(entry, partition, err)
        else this.appendLater(partition, entry)
      })
    }
  }
}

/** What it has sent lies in its socket, for we do not read it. */
function isHeld ({ reading }: Connection): boolean { return reading.isHeldFor(hold.room | hold.rate | hold.work) }

function fail (
  code: 'heartbeat-timeout' | 'token-expired' | 'handshake-timeout' | 'migrating', reason: string
): ConnectionEvent {
  return { type: 'fail', code, reason }
}
