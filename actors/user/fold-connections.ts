import type { ConnectionClosed, ConnectionOpened, Entry, KickRequested } from '../../schemas/facts.js'
import { banOn } from './bans.js'
import { EffectList } from './effect-list.js'
import type { CloseConnection, Effect } from './effects.js'
import { leastMissed, recallLost, rememberLost } from './forgotten.js'
import { acknowledge, adoptWaiting, announce, dropAll, expire, numberAll } from './outbox.js'
import { cameOnline, connectionEnded, isLastOf, wasRefused, wentOffline } from './presence.js'
import { nameOf, noContent } from '../requests.js'
import { connectionOf, note, unknownConnection } from './known-connections.js'
import {
  type Connection, endsUnder, headSeq, missedOf, type Session, sessionPart, sessionsMax, uplinkWindowMax,
  type UserState,
} from './state.js'

/** How connections and sessions begin and end. */

const nothing: Effect[] = []

export function connectionOpened (state: UserState, entry: Entry, fact: ConnectionOpened): Effect[] {
  const { connectionId, nodeId, deviceId } = fact
  // A repeat, which may come after the end of the connection: it stays closed.
  if (state.connections.has(connectionId)) return nothing
  const ban = banOn(state.bans, deviceId, fact.tokenId, entry.atMs)
  if (ban) {
    // It is of no session: what its client sent behind `connect` is dropped.
    const refused = { ...unknownConnection(state), nodeId, deviceId, tokenId: fact.tokenId, open: true }
    note(state, connectionId, refused)
    return [closing(connectionId, refused, 'banned', ban.reason, ban.by)]
  }
  const known = state.sessions.get(deviceId)
  if (known && fact.downlinkSeq >= known.nextSeq) {
    const refused = connectionOf(state, fact, known, true)
    note(state, connectionId, refused)
    const reason = `downlinkSeq ${fact.downlinkSeq} is ahead of ${known.nextSeq - 1}, the highest ever sent`
    return [closing(connectionId, refused, 'protocol', reason)]
  }
  const effects = new EffectList(state, entry)
  for (const older of state.sessions.values()) {
    if (older.connectionId !== '' && endsUnder(fact.loginPolicy, older, fact)) {
      makeWay(state, older, entry, fact, effects)
    }
  }
  const session = known ?? beginSession(state, entry, fact, effects)
  resumeSession(state, session, entry, fact, effects)
  note(state, connectionId, connectionOf(state, fact, session, known !== undefined))
  effects.push({
    type: 'welcome',
    nodeId,
    connectionId,
    resumed: known !== undefined,
    uplinkSeq: session.uplinkSeq,
    downlinkSeq: headSeq(session) - 1,
    lastSeq: session.nextSeq - 1,
    missed: missedOf(session),
  })
  cameOnline(session, fact, effects)
  return effects.all
}

function beginSession (state: UserState, entry: Entry, fact: ConnectionOpened, effects: EffectList): Session {
  const missed = recallLost(state, fact.deviceId, fact.downlinkSeq)
  if (state.sessions.size >= sessionsMax) forgetOne(state, entry.atMs, effects)
  const session: Session = {
    deviceId: fact.deviceId,
    ordinal: ++state.sessionsBegun,
    platform: fact.platform,
    sessionId: fact.sessionId,
    connectionId: '',
    touchedAtMs: 0,
    uplinkSeq: 0,
    answers: [],
    answersMax: 0,
    // A device that we have forgotten drops every seq that it has seen, so its new downlinks must come after those.
    nextSeq: fact.downlinkSeq + 1,
    ackedSeq: fact.downlinkSeq,
    toldSeq: fact.downlinkSeq,
    missed,
    outbox: [],
    numbered: 0,
    outboxBytes: 0,
    toldOnline: false,
    changed: true,
    outboxChanged: true,
    saved: false,
  }
  state.sessions.set(fact.deviceId, session)
  adoptWaiting(state, session)
  return session
}

function resumeSession (
  state: UserState, session: Session, entry: Entry, fact: ConnectionOpened, effects: EffectList
): void {
  if (session.sessionId !== fact.sessionId) {
    session.sessionId = fact.sessionId
    session.uplinkSeq = 0
    session.answers = []
  }
  session.answersMax = Math.min(Math.max(fact.uplinkWindow, 1), uplinkWindowMax)
  session.platform = fact.platform
  session.connectionId = fact.connectionId
  session.touchedAtMs = entry.atMs
  session.changed = true
  acknowledge(state, session, fact.downlinkSeq, effects)
  expire(state, session, entry.atMs, effects)
  numberAll(session)
}

export function connectionClosed (state: UserState, entry: Entry, fact: ConnectionClosed): Effect[] {
  const { connectionId } = fact
  const connection = state.connections.get(connectionId)
  if (!connection) {
    // Its opening may still come, late. It must find the connection closed.
    note(state, connectionId, unknownConnection(state))
    return nothing
  }
  if (!connection.open) return nothing
  connection.open = false
  if (!wasRefused(connection)) connection.endCode = ''
  connection.endReason = ''
  connection.endBy = ''
  connection.changed = true
  const session = sessionOf(state, connection)
  if (!session) return nothing
  const effects = new EffectList(state, entry)
  if (fact.told) announce(state, session, connection)
  acknowledge(state, session, fact.ackedSeq, effects)
  const current = session.connectionId === connectionId || session.connectionId === ''
  // While another connection has the session its time is that of the opening: `makeWay` compares it.
  if (current && isLastOf(state, connection)) session.touchedAtMs = entry.atMs
  let hasBegunAnew = false
  if (session.connectionId === connectionId) {
    session.connectionId = ''
    if (!fact.told) hasBegunAnew = letComeBack(state, connection, effects)
  }
  session.changed = true
  connectionEnded(session, connection, fact, effects)
  if (fact.endSession && current && !hasBegunAnew) endSession(state, session, 'session-ended', connectionId, fact.code, effects)
  return effects.all
}

export function kickRequested (state: UserState, entry: Entry, fact: KickRequested): Effect[] {
  if (state.requests.take(nameOf.kick(fact.requestId), noContent, entry.atMs) !== 'first') return nothing
  const effects = new EffectList(state, entry)
  for (const session of state.sessions.values()) {
    if (session.connectionId === '') continue
    if (fact.connectionId === '' || fact.connectionId === session.connectionId) {
      endConnection(state, session, 'kicked', fact.reason, effects, { by: fact.by })
    }
  }
  return effects.all
}

const policyReason = 'login policy'

/**
 * Ends an older connection that the login policy does not allow beside the new one: the one whose opening is last in
 * the ledger stays. Where that is doubtful the older one is told a moment later: the client may have given up on the
 * new connection while the ledger was slow, and have opened the older one since. By then the ledger may show that
 * nobody was told of the new one, and `letComeBack` lets the older one back.
 *
 * The times of the two only decide whether it is doubtful. They decide no more than that, for they may come from two
 * clocks, or from one that was set, and a login must not lose to a connection that merely comes back.
 */
function makeWay (
  state: UserState, older: Session, opening: Entry, { nodeId, deviceId }: ConnectionOpened, effects: EffectList
): void {
  const code = older.deviceId === deviceId ? 'superseded' : 'kicked'
  const isElsewhere = state.connections.get(older.connectionId)!.nodeId !== nodeId
  const isDoubtful = isElsewhere || older.touchedAtMs > opening.atMs
  endConnection(state, older, code, policyReason, effects, { isDoubtful })
}

const storedLate = 'a connection that was asked for earlier was stored late'

/**
 * A connection has ended whose client was told nothing of it: those that it ended by the login policy come back.
 *
 * @returns whether one of them has begun anew on its device: that this one was the last, the ledger alone says
 */
function letComeBack (state: UserState, ended: Connection, effects: EffectList): boolean {
  let hasBegunAnew = false
  for (const [connectionId, connection] of state.connections) {
    const { open, ordinal, endReason, endCode, sessionId, sessionOrdinal } = connection
    if (!open || endCode === '' || endReason !== policyReason || ordinal > ended.ordinal) continue
    effects.push(closing(connectionId, connection, 'internal', storedLate))
    hasBegunAnew ||= sessionOrdinal === ended.sessionOrdinal && sessionId !== ended.sessionId
  }
  return hasBegunAnew
}

/** Takes the session's connection from it; the edge closes the socket and reports `ConnectionClosed`. */
export function endConnection (
  state: UserState, session: Session, code: CloseConnection['code'], reason: string, effects: EffectList,
  { by = '', isDoubtful = false }: Partial<Pick<CloseConnection, 'by' | 'isDoubtful'>> = {}
): void {
  const { connectionId } = session
  session.connectionId = ''
  session.changed = true
  const close = closing(connectionId, state.connections.get(connectionId)!, code, reason, by)
  effects.push(isDoubtful ? { ...close, isDoubtful } : close)
}

/** Remembers why, too: an edge that did not hear of it asks, and gets the same answer. */
function closing (
  connectionId: string, connection: Connection, code: CloseConnection['code'], reason: string, by = ''
): CloseConnection {
  connection.endCode = code
  connection.endReason = reason
  connection.endBy = by
  connection.changed = true
  return { type: 'closeConnection', nodeId: connection.nodeId, connectionId, code, reason, by }
}

/** @param cause with which its device goes offline, where it is not already, and the connection that it had */
function endSession (
  state: UserState, session: Session, reason: string, connectionId: string, cause: string, effects: EffectList
): void {
  wentOffline(session, connectionId, cause, effects.entry.atMs, effects)
  dropAll(state, session, reason, effects)
  state.sessions.delete(session.deviceId)
  if (session.saved) state.gone.push(sessionPart(session.ordinal))
}

/** Makes room for one more session. */
function forgetOne (state: UserState, atMs: number, effects: EffectList): void {
  const session = leastMissed(state.sessions.values())
  if (!session) return
  const { connectionId } = session
  if (connectionId !== '') endConnection(state, session, 'kicked', 'too many devices', effects)
  rememberLost(state, session, atMs)
  endSession(state, session, 'sessions-full', connectionId, 'kicked', effects)
}

/** The session that the connection belonged to, unless that one has ended since. */
export function sessionOf (state: UserState, connection: Connection): Session | undefined {
  const session = state.sessions.get(connection.deviceId)
  return session?.ordinal === connection.sessionOrdinal ? session : undefined
}
