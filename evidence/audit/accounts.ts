import type { Effect, DownlinkOutcome } from '../../actors/user/effects.js'
import { nameOf, noContent } from '../../actors/requests.js'
import type { OutboxMessage } from '../../actors/user/messages.js'
import { mayHave } from '../../actors/user/recall.js'
import type { UserState } from '../../actors/user/state.js'
import type { DownlinkRecalled, DownlinkRedelivered, DownlinkRequested, Entry, Fact } from '../../schemas/facts.js'
import { ledger } from '../../schemas/streams.js'
import { count } from './books.js'
import type { Walk } from './ledger-walk.js'
import { type Place, placeIn } from './violation.js'

/** What one session must still have in its outbox: requested for it and not settled. */
interface Account {
  readonly ordinal: number
  owed: number
  /** Of their message ids, so that one can't stand in for another; modulo 2^32. */
  hash: number
}

/**
 * The downlinks of one user, booked by request and settlement beside what the fold keeps: requested = acked +
 * skipped + expired + dropped + waiting, for each session and for the waiting list. Only counts and a hash are kept,
 * whatever is in the outboxes.
 */
export class Accounts {
  readonly #sessions = new Map<string, Account>()
  #waiting = 0
  #waitingHash = 0

  /** The accounts that a state in balance has. */
  static of (state: UserState): Accounts {
    const accounts = new Accounts()
    for (const { deviceId, ordinal, outbox } of state.sessions.values()) {
      accounts.#sessions.set(deviceId, { ordinal, owed: outbox.length, hash: hashOf(outbox) })
    }
    accounts.#waiting = state.waiting.length
    accounts.#waitingHash = hashOf(state.waiting)
    return accounts
  }

  /** What is owed in all. */
  get owed (): number {
    let owed = this.#waiting
    for (const account of this.#sessions.values()) owed += account.owed
    return owed
  }

  /** Books a request, before it is folded. */
  requested (
    state: UserState, fact: DownlinkRequested | DownlinkRedelivered | DownlinkRecalled, place: Place, walk: Walk
  ): void {
    const { downlinks } = walk.books
    const counts = walk.inRange(place)
    if (fact.type === 'DownlinkRecalled') {
      const told = this.#notified(state, fact)
      if (counts) downlinks.requested += told
      return
    }
    const { messageId } = fact
    const hash = hashId(messageId)
    if (fact.type === 'DownlinkRedelivered') {
      if (state.requests.look(nameOf.redelivery(fact.requestId, messageId), noContent) !== 'first') return
      const account = this.#sessions.get(fact.deviceId)
      if (account) owe(account, 1, hash)
      if (counts) downlinks.requested++
      return
    }
    if (state.requests.look(nameOf.downlink(messageId), noContent) !== 'first') return
    if (state.sessions.size === 0) {
      this.#waiting++
      this.#waitingHash = this.#waitingHash + hash | 0
      if (counts) downlinks.requested++
      return
    }
    let targets = 0
    for (const { deviceId, platform } of state.sessions.values()) {
      if (!isTargeted(fact, deviceId, platform)) continue
      owe(this.#sessions.get(deviceId)!, 1, hash)
      targets++
    }
    if (counts) downlinks.requested += Math.max(1, targets) // one without a target is dropped for that reason
  }

  /** @returns how many devices are told that it was taken back */
  #notified (state: UserState, { requestId, messageId, noticeId }: DownlinkRecalled): number {
    const isFirst = state.requests.look(nameOf.recall(requestId, messageId), noContent) === 'first'
    const told = noticeId !== '' && isFirst ? mayHave(state, messageId) : []
    for (const { deviceId } of told) owe(this.#sessions.get(deviceId)!, 1, hashId(noticeId))
    return told.length
  }

  /** Books what the fold has made of an entry, and checks it against what it keeps. */
  folded (state: UserState, { userId, fact }: Entry, effects: readonly Effect[], place: Place, walk: Walk): void {
    this.#begin(state)
    for (let i = 0; i < effects.length; i++) {
      const effect = effects[i]!
      if (effect.type === 'settle') this.#settle(effect, place, walk)
    }
    if (fact.type === 'UplinkReceived') return
    const wrong = this.#wrong(state, false)
    if (wrong) this.#report(userId, wrong, fact, place, walk)
    if (wrong) this.#restate(state)
  }

  /** Checks the ids as well, which takes a look at everything that is kept. */
  check (userId: string, state: UserState, place: Place, walk: Walk): void {
    const wrong = this.#wrong(state, true)
    if (wrong) this.#report(userId, wrong, undefined, place, walk)
  }

  /** A user's first session takes over what waited for one. */
  #begin (state: UserState): void {
    for (const { deviceId, ordinal } of state.sessions.values()) {
      if (this.#sessions.get(deviceId)?.ordinal === ordinal) continue
      const left = hashOf(state.waiting)
      const account = {
        ordinal, owed: this.#waiting - state.waiting.length, hash: this.#waitingHash - left | 0,
      }
      this.#waiting = state.waiting.length
      this.#waitingHash = left
      this.#sessions.set(deviceId, account)
    }
  }

  #settle ({ messageId, deviceId, outcome, reason }: DownlinkOutcome, place: Place, walk: Walk): void {
    if (walk.inRange(place)) {
      const { downlinks } = walk.books
      if (outcome === 'dropped') count(downlinks.dropped, reason)
      else if (outcome === 'duplicate') downlinks.duplicates++
      else downlinks[outcome]++
    }
    if (outcome === 'duplicate' || reason === 'no-target') return
    const account = this.#sessions.get(deviceId)
    if (account) owe(account, -1, -hashId(messageId))
    else if (deviceId === '') {
      this.#waiting--
      this.#waitingHash = this.#waitingHash - hashId(messageId) | 0
    }
  }

  /** @returns what does not balance */
  #wrong (state: UserState, ids: boolean): string | undefined {
    if (this.#waiting !== state.waiting.length || (ids && this.#waitingHash !== hashOf(state.waiting))) {
      return `${this.#waiting} must wait for a session and ${state.waiting.length} do`
    }
    for (const [deviceId, { ordinal, owed, hash }] of this.#sessions) {
      const session = state.sessions.get(deviceId)
      const outbox = session?.ordinal === ordinal ? session.outbox : []
      if (owed !== outbox.length || ((ids || outbox.length === 0) && hash !== hashOf(outbox))) {
        return `${owed} must be in the outbox of ${deviceId} and ${outbox.length} are` +
          (owed === outbox.length ? ', but others' : '')
      }
      if (session?.ordinal !== ordinal) this.#sessions.delete(deviceId)
    }
    return undefined
  }

  #report (userId: string, wrong: string, fact: Fact | undefined, place: Place, walk: Walk): void {
    const when = fact ? `after ${fact.type}` : 'where its books were closed'
    walk.report(place, 'downlink-unaccounted', { userId }, `Of the downlinks of user ${userId} ${wrong}, ${when}.`,
      [placeIn(ledger, place)])
  }

  /** Goes on from what the fold has, so that one fault is reported once. */
  #restate (state: UserState): void {
    const anew = Accounts.of(state)
    this.#sessions.clear()
    for (const [deviceId, account] of anew.#sessions) this.#sessions.set(deviceId, account)
    this.#waiting = anew.#waiting
    this.#waitingHash = anew.#waitingHash
  }
}

function owe (account: Account, by: number, hash: number): void {
  account.owed += by
  account.hash = account.hash + hash | 0
}

function isTargeted (
  { platforms, exceptDevices, devices }: DownlinkRequested, deviceId: string, platform: string
): boolean {
  return (platforms.length === 0 || platforms.includes(platform)) &&
    (devices.length === 0 || devices.includes(deviceId)) && !exceptDevices.includes(deviceId)
}

function hashOf (downlinks: readonly OutboxMessage[]): number {
  let hash = 0
  for (const { messageId } of downlinks) hash = hash + hashId(messageId) | 0
  return hash
}

/** FNV-1a of its characters, 32 bits. */
function hashId (id: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193)
  return hash
}
