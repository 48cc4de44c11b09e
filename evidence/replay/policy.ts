import type { Effect } from '../../actors/user/effects.js'
import { fold } from '../../actors/user/fold.js'
import { newUser, type UserState } from '../../actors/user/state.js'
import { formatPosition, type LogReader } from '../../ledger/log.js'
import { shownUser } from '../../schemas/apps.js'
import type { Entry, LoginPolicy } from '../../schemas/facts.js'
import type { Placed } from '../trace.js'
import { FrameAllowances } from './frame-allowances.js'
import { listMaxDefault, rangesFor, replayed, type ReplayOptions, type ReplayRange } from './range.js'

/** Rules to try on recorded traffic. What is left out stays as it was recorded. */
export interface Policy {
  readonly loginPolicy?: LoginPolicy
  /** Of every downlink. */
  readonly ttlMs?: number
  /** Of uplinks of one connection, a second and at once: `actors/connection/rate.ts`. */
  readonly frames?: { readonly rate: number, readonly burst: number }
}

export interface PolicyReport {
  /** Entries of the range, and users who have some. */
  readonly entries: number
  readonly users: number
  readonly affectedUsers: number
  /** By login policy. */
  readonly connectionsKicked: Counted
  readonly downlinksExpired: Counted
  readonly downlinksDropped: Counted
  /** Uplinks over the rate. Their clients would have sent them again, later. */
  readonly uplinksThrottled: number
  /** Connections so far over the rate that they would have been closed. */
  readonly connectionsRateLimited: number
  /** Users for whom most would have changed. */
  readonly mostAffected: readonly AffectedUser[]
  /** The first connections that would have been kicked, and were not. */
  readonly kicked: readonly KickedConnection[]
}

/** With the rules as they were, and with those tried. */
export interface Counted { readonly recorded: number, readonly policy: number }

export interface AffectedUser {
  /** Absent for the default one. */
  readonly app?: string
  readonly userId: string
  /** How many more than were recorded; less than 0 for fewer. */
  readonly kicked: number
  readonly lost: number
  readonly throttled: number
}

export interface KickedConnection {
  /** Of the entry that would have ended it. */
  readonly position: string
  readonly atMs: number
  /** Absent for the default one. */
  readonly app?: string
  readonly userId: string
  readonly connectionId: string
  readonly deviceId: string
  readonly platform: string
}

interface User {
  readonly recorded: UserState
  readonly policy: UserState
  readonly frames: FrameAllowances | undefined
  judged: boolean
  kicked: number
  lost: number
  throttled: number
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** How many users `mostAffected` names. */
const affectedMax = 10

/**
 * Folds a range twice, as it was recorded and with other rules. What clients would have done then nobody knows: they do
 * what they did. Memory goes with the users of one partition.
 */
export async function tryPolicy (
  log: LogReader, ranges: readonly ReplayRange[], policy: Policy, options: ReplayOptions = {}
): Promise<PolicyReport> {
  const trial = new Trial(policy, options.listMax ?? listMaxDefault)
  for (const range of rangesFor(log, ranges, options.userId)) {
    for await (const { judged, entries } of replayed(log, range, options)) {
      for (const placed of entries) trial.take(placed, judged)
    }
    trial.endPartition()
  }
  return trial.report()
}

class Trial {
  #users = new Map<string, User>()
  #entries = 0
  #judgedUsers = 0
  #affectedUsers = 0
  #rateLimited = 0
  readonly #kicks: Mutable<Counted> = { recorded: 0, policy: 0 }
  readonly #expired: Mutable<Counted> = { recorded: 0, policy: 0 }
  readonly #dropped: Mutable<Counted> = { recorded: 0, policy: 0 }
  #throttled = 0
  #mostAffected: AffectedUser[] = []
  readonly #kicked: KickedConnection[] = []

  constructor (readonly policy: Policy, readonly listMax: number) {}

  take (placed: Placed, judged: boolean): void {
    const { entry } = placed
    const user = this.#userOf(entry.userId)
    const recorded = fold(user.recorded, entry)
    const tried = fold(user.policy, judged ? this.#rewritten(entry) : entry)
    if (!judged) return
    this.#entries++
    if (!user.judged) this.#judgedUsers++
    user.judged = true
    if (recorded.length > 0 || tried.length > 0) this.#compare(placed, user, recorded, tried)
    if (user.frames) this.#throttle(entry, user, user.frames)
  }

  endPartition (): void {
    const affected: AffectedUser[] = []
    for (const [userId, { kicked, lost, throttled }] of this.#users) {
      if (kicked === 0 && lost === 0 && throttled === 0) continue
      this.#affectedUsers++
      affected.push({ ...shownUser(userId), kicked, lost, throttled })
    }
    this.#mostAffected = [...this.#mostAffected, ...affected]
      .sort((a, b) => weightOf(b) - weightOf(a))
      .slice(0, affectedMax)
    this.#users = new Map()
  }

  report (): PolicyReport {
    return {
      entries: this.#entries,
      users: this.#judgedUsers,
      affectedUsers: this.#affectedUsers,
      connectionsKicked: this.#kicks,
      downlinksExpired: this.#expired,
      downlinksDropped: this.#dropped,
      uplinksThrottled: this.#throttled,
      connectionsRateLimited: this.#rateLimited,
      mostAffected: this.#mostAffected,
      kicked: this.#kicked,
    }
  }

  #userOf (userId: string): User {
    let user = this.#users.get(userId)
    if (!user) {
      const { frames } = this.policy
      user = {
        recorded: newUser(),
        policy: newUser(),
        frames: frames && new FrameAllowances(frames.rate, frames.burst),
        judged: false,
        kicked: 0,
        lost: 0,
        throttled: 0,
      }
      this.#users.set(userId, user)
    }
    return user
  }

  #rewritten (entry: Entry): Entry {
    const { loginPolicy, ttlMs } = this.policy
    const { fact } = entry
    if (fact.type === 'ConnectionOpened' && loginPolicy !== undefined) return { ...entry, fact: { ...fact, loginPolicy } }
    const isDownlink = fact.type === 'DownlinkRequested' || fact.type === 'DownlinkRedelivered'
    return isDownlink && ttlMs !== undefined ? { ...entry, fact: { ...fact, ttlMs } } : entry
  }

  #compare (placed: Placed, user: User, recorded: readonly Effect[], tried: readonly Effect[]): void {
    const before = tally(recorded)
    const after = tally(tried)
    add(this.#kicks, before.kicked.length, after.kicked.length)
    add(this.#expired, before.expired, after.expired)
    add(this.#dropped, before.dropped, after.dropped)
    user.kicked += after.kicked.length - before.kicked.length
    user.lost += after.expired + after.dropped - before.expired - before.dropped
    for (const connectionId of after.kicked) {
      if (before.kicked.includes(connectionId) || this.#kicked.length >= this.listMax) continue
      const { position, entry: { atMs, userId } } = placed
      const deviceId = user.policy.connections.get(connectionId)?.deviceId ?? ''
      const platform = user.policy.sessions.get(deviceId)?.platform ?? ''
      const whose = { ...shownUser(userId), connectionId, deviceId, platform }
      this.#kicked.push({ position: formatPosition(position), atMs, ...whose })
    }
  }

  #throttle ({ atMs, fact }: Entry, user: User, frames: FrameAllowances): void {
    if (fact.type === 'ConnectionClosed') frames.forget(fact.connectionId)
    if (fact.type !== 'UplinkReceived') return
    const outcome = frames.take(fact.connectionId, atMs)
    if (outcome === 'allowed') return
    user.throttled++
    this.#throttled++
    if (outcome === 'rate-limited') this.#rateLimited++
  }
}

function tally (effects: readonly Effect[]): { kicked: string[], expired: number, dropped: number } {
  const kicked: string[] = []
  let expired = 0
  let dropped = 0
  for (const effect of effects) {
    if (effect.type === 'closeConnection' && effect.code === 'kicked' && effect.reason === 'login policy') {
      kicked.push(effect.connectionId)
    }
    if (effect.type !== 'settle') continue
    if (effect.outcome === 'expired') expired++
    if (effect.outcome === 'dropped') dropped++
  }
  return { kicked, expired, dropped }
}

function add (counted: Mutable<Counted>, recorded: number, policy: number): void {
  counted.recorded += recorded
  counted.policy += policy
}

function weightOf ({ kicked, lost, throttled }: AffectedUser): number {
  return Math.abs(kicked) + Math.abs(lost) + throttled
}
