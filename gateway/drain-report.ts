import type { Snapshots } from '../actors/snapshots.js'
import { partsOf, stateOf } from '../actors/user/parts.js'
import { headSeq, type UserState } from '../actors/user/state.js'
import { presenceOf } from '../projections/presence.js'
import type { Tables } from '../projections/tables/tables.js'
import type { ConnectionMoved } from '../schemas/node-facts.js'
import type { Departure } from './edge/drain.js'

/** How long after its end a device's next connection is looked for. */
const settleMs = 5_000

/** Tables and states follow by so much: there is no use in looking sooner, nor again. */
const lookEveryMs = 400

/** Departures that questions are about at once. */
const atOnce = 32

export interface DrainReportDeps {
  readonly tables: Pick<Tables, 'get'>
  readonly snapshots: Pick<Snapshots, 'load'>
}

/** What is lost of one connection; -1 where that can't be told. */
interface Lost {
  readonly uplinksLost: number
  readonly downlinksLost: number
  /** False where a later state may tell more. */
  readonly isFinal: boolean
}

const unknown: Lost = { uplinksLost: -1, downlinksLost: -1, isFinal: false }

/**
 * What became of the connections that a drain had leave: where each device is now, by the table `presence`, and what
 * its session has lost, by the saved state of its user.
 *
 * Lost is an uplink that the old edge took and the session has not accepted, and a downlink that the old edge wrote,
 * the client has not acked, and the session does not keep for the next connection. Tables and states follow the ledger
 * by a moment, or by more where the stores are slow. So a departure is settled when its device was found and nothing is
 * missing, or after `settleMs` with what the state says that knows the end of the connection.
 */
export class DrainReport {
  readonly #deps: DrainReportDeps
  #open: Array<{ readonly departure: Departure, readonly lookAtMs: number }> = []
  #looking: Promise<void> | undefined
  #settled: ConnectionMoved[] = []
  left = 0
  closed = 0
  resumed = 0
  uplinksLost = 0
  downlinksLost = 0
  members = 0
  membersResumed = 0

  constructor (deps: DrainReportDeps) {
    this.#deps = deps
  }

  get isSettled (): boolean { return this.#open.length === 0 && !this.#looking }

  add (departures: readonly Departure[]): void {
    for (const departure of departures) {
      this.left++
      if (departure.closed) this.closed++
      this.members += departure.rooms
      this.#open.push({ departure, lookAtMs: departure.endedAtMs + lookEveryMs })
    }
  }

  /**
   * Settles whom it can, in the background where nobody waits for it. A store that is away is asked again by a later
   * look.
   */
  look (): Promise<void> {
    this.#looking ??= this.#look(false).finally(() => { this.#looking = undefined })
    return this.#looking
  }

  /** Settles all that are left with what is known. */
  async end (): Promise<void> {
    await this.#looking
    await this.#look(true)
  }

  async #look (isLast: boolean): Promise<void> {
    const nowMs = Date.now()
    const isDue = ({ lookAtMs }: { lookAtMs: number }) => isLast || lookAtMs <= nowMs
    const due = this.#open.filter(isDue)
    this.#open = this.#open.filter(open => !isDue(open))
    for (let i = 0; i < due.length; i += atOnce) {
      await Promise.all(due.slice(i, i + atOnce).map(async ({ departure }) => {
        const moved = await this.#settle(departure, isLast)
        if (moved) this.#count(moved)
        else this.#open.push({ departure, lookAtMs: Date.now() + lookEveryMs })
      }))
    }
  }

  /** Those settled since the last call, at most `max`. */
  take (max: number): ConnectionMoved[] { return this.#settled.splice(0, max) }

  #count (moved: ConnectionMoved): void {
    if (moved.toConnectionId !== '') {
      this.resumed++
      this.membersResumed += moved.rooms
    }
    this.uplinksLost += Math.max(0, moved.uplinksLost)
    this.downlinksLost += Math.max(0, moved.downlinksLost)
    this.#settled.push(moved)
  }

  /** @returns undefined while it is too early to tell */
  async #settle (departure: Departure, isLast: boolean): Promise<ConnectionMoved | undefined> {
    const { userId, deviceId, connectionId, askedAtMs, endedAtMs, closed, rooms } = departure
    const isLate = Date.now() - endedAtMs > settleMs
    const [next, { isFinal, ...lost }] = await Promise.all([this.#next(departure), this.#lost(departure)])
    const isWhole = lost.uplinksLost === 0 && lost.downlinksLost === 0
    if (!isLast && !(isLate && isFinal) && !(next && isWhole)) return undefined
    return {
      userId,
      deviceId,
      connectionId,
      closed,
      toNodeId: next?.nodeId ?? '',
      toConnectionId: next?.connectionId ?? '',
      afterMs: next ? Math.max(0, next.openedAtMs - askedAtMs) : -1,
      darkMs: next ? Math.max(0, next.openedAtMs - endedAtMs) : -1,
      ...lost,
      rooms,
    }
  }

  /** The device's newest connection, if it is younger than the one that it had. */
  async #next ({ userId, deviceId, partition, connectionId, openedAtMs }: Departure) {
    const fields = await this.#deps.tables.get('presence', partition, userId).catch(() => undefined)
    if (!fields) return undefined
    const { sessions } = presenceOf(userId, fields)
    return sessions.findLast(session => session.deviceId === deviceId && session.connectionId !== connectionId &&
      session.openedAtMs > openedAtMs)
  }

  async #lost (departure: Departure): Promise<Lost> {
    try {
      const saved = await this.#deps.snapshots.load(departure.partition, departure.userId, partsOf)
      return saved ? lostOf(departure, stateOf(saved)) : unknown
    } catch {
      return unknown
    }
  }
}

/**
 * What `state` says is missing of what the connection carried. All of that stands in the ledger before its end, so a
 * state that does not know the end can say that nothing is missing, but not what is.
 */
export function lostOf (departure: Departure, state: UserState): Lost {
  const { deviceId, connectionId, uplinkSeq, writtenSeq, ackedSeq } = departure
  const session = state.sessions.get(deviceId)
  const connection = state.connections.get(connectionId)
  // The device has ended its session, or its user has so many connections that this one is forgotten.
  if (!session || connection?.sessionOrdinal !== session.ordinal) {
    return { ...unknown, isFinal: connection?.open === false }
  }
  const ackedUpTo = Math.max(ackedSeq, session.ackedSeq)
  const goneUpTo = Math.min(writtenSeq, headSeq(session) - 1)
  const unnumbered = Math.max(0, writtenSeq - (session.nextSeq - 1))
  const isFinal = !connection.open
  const told = (missing: number) => missing <= 0 ? 0 : isFinal ? missing : -1
  return {
    // With a new session id the device has begun its uplinks anew.
    uplinksLost: session.sessionId === connection.sessionId ? told(uplinkSeq - session.uplinkSeq) : -1,
    downlinksLost: told(Math.max(0, goneUpTo - ackedUpTo) + unnumbered),
    isFinal,
  }
}
