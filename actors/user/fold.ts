import type {
  BanLifted, ConnectionClosed, ConnectionOpened, DeliveryReported, DownlinkRedelivered, DownlinkRequested,
  DownlinkSkipped, Entry, KickRequested, TokenRenewed, UplinkReceived, UserBanned,
} from '../../schemas/facts.js'
import { banOn, isInForce, isOn, keepBan } from './bans.js'
import { contentOf } from './digest.js'
import type { CloseConnection, Effect } from './effects.js'
import { leastMissed, recallLost, rememberLost } from './forgotten.js'
import type { OutboxMessage, WholeMessage } from './messages.js'
import {
  acknowledge, adoptWaiting, announce, dropAll, enqueue, expire, fitAll, numberAll, wait,
} from './outbox.js'
import { nameOf, noContent } from './requests.js'
import {
  type Connection, connectionPart, connectionsMax, endsUnder, headSeq, missedOf, type Session, sessionPart, sessionsMax,
  uplinkWindowMax, type UserState,
} from './state.js'

const nothing: Effect[] = []

/** Folds one ledger entry into `state`; returns what must be done now. Same entries, same effects, on any node. */
export function fold (state: UserState, entry: Entry): Effect[] {
  const { fact } = entry
  switch (fact.type) {
    case 'UplinkReceived': return uplinkReceived(state, entry, fact)
    case 'DownlinkRequested': return downlinkRequested(state, entry, fact)
    case 'DeliveryReported': return deliveryReported(state, fact)
    case 'ConnectionOpened': return connectionOpened(state, entry, fact)
    case 'ConnectionClosed': return connectionClosed(state, entry, fact)
    case 'KickRequested': return kickRequested(state, entry, fact)
    case 'DownlinkRedelivered': return downlinkRedelivered(state, entry, fact)
    case 'DownlinkSkipped': return downlinkSkipped(state, fact)
    case 'UplinksRefused': return nothing // for evidence alone
    case 'UserBanned': return userBanned(state, entry, fact)
    case 'BanLifted': return banLifted(state, entry, fact)
    case 'TokenRenewed': return tokenRenewed(state, entry, fact)
  }
}

function uplinkReceived (state: UserState, entry: Entry, fact: UplinkReceived): Effect[] {
  const { connectionId, seq } = fact
  const connection = state.connections.get(connectionId)
  const session = connection && sessionOf(state, connection)
  // The device has begun anew since (reinstalled, or ended its session): these numbers are nobody's any more.
  if (!session || session.sessionId !== connection.sessionId) return nothing
  const { nodeId } = connection
  const expected = session.uplinkSeq + 1
  // The sender may not have seen our answer. It gets the same one again.
  if (seq < expected) return [{ type: 'ackUplink', nodeId, connectionId, seq, userSeq: answerTo(session, seq) }]
  if (seq > expected) return [{ type: 'refuseUplink', nodeId, connectionId, expectedSeq: expected, code: 'gap' }]
  session.uplinkSeq = seq
  session.changed = true
  const userSeq = ++state.userSeq
  remember(session, userSeq)
  return [
    {
      type: 'publishUplink',
      uplink: {
        userId: entry.userId,
        userSeq,
        deviceId: session.deviceId,
        platform: session.platform,
        sessionId: session.sessionId,
        seq,
        connectionId,
        service: fact.service,
        payload: fact.payload,
        priority: fact.priority,
        receivedAtMs: entry.atMs,
      },
    },
    { type: 'ackUplink', nodeId, connectionId, seq, userSeq },
  ]
}

function remember (session: Session, userSeq: number): void {
  const { answers, answersMax } = session
  answers.push(userSeq)
  // Twice the bound before it is cut: a shift for every uplink would cost more than the memory is worth.
  if (answers.length >= 2 * answersMax) answers.splice(0, answers.length - answersMax)
}

/** The `userSeq` that uplink `seq` got, or 0 where it is no longer remembered. */
export function answerTo (session: Session, seq: number): number {
  return session.answers[session.answers.length - 1 - (session.uplinkSeq - seq)] ?? 0
}

function downlinkRequested (state: UserState, entry: Entry, fact: DownlinkRequested): Effect[] {
  const { messageId, service, payload } = fact
  const known = state.requests.take(nameOf.downlink(messageId), contentOf(service, payload), entry.atMs)
  if (known !== 'first') return [{ type: 'settle', messageId, deviceId: '', seq: 0, outcome: 'duplicate', reason: known }]
  const message = keep(state, entry, fact, fact)
  const effects: Effect[] = []
  if (state.sessions.size === 0) {
    wait(state, message, fact.outboxBytesMax, effects)
    return effects
  }
  let targets = 0
  for (const session of state.sessions.values()) {
    if (!isFor(message, session)) continue
    targets++
    sendOrQueue(state, session, message, fact.outboxBytesMax, effects)
  }
  fitAll(state, message, fact.outboxBytesMax, effects)
  if (targets === 0) {
    effects.push({ type: 'settle', messageId, deviceId: '', seq: 0, outcome: 'dropped', reason: 'no-target' })
  }
  return effects
}

/** For the device alone, whatever the first request said, and whether or not it was acked before. */
function downlinkRedelivered (state: UserState, entry: Entry, fact: DownlinkRedelivered): Effect[] {
  const { requestId, messageId, deviceId } = fact
  if (state.requests.take(nameOf.redelivery(requestId, messageId), noContent, entry.atMs) !== 'first') {
    return [{ type: 'settle', messageId, deviceId, seq: 0, outcome: 'duplicate', reason: 'duplicate' }]
  }
  const session = state.sessions.get(deviceId)
  if (!session) return [{ type: 'settle', messageId, deviceId, seq: 0, outcome: 'dropped', reason: 'no-target' }]
  const effects: Effect[] = []
  const message = keep(state, entry, fact, unfiltered)
  sendOrQueue(state, session, message, fact.outboxBytesMax, effects)
  fitAll(state, message, fact.outboxBytesMax, effects)
  return effects
}

/** Which sessions a downlink is for. */
type Filters = Pick<OutboxMessage, 'platforms' | 'exceptDevices' | 'devices'>

const unfiltered: Filters = { platforms: [], exceptDevices: [], devices: [] }

function keep (
  { messages }: UserState, { atMs }: Entry,
  { messageId, service, payload, ttlMs }: DownlinkRequested | DownlinkRedelivered,
  { platforms, exceptDevices, devices }: Filters
): WholeMessage {
  return messages.begin({
    messageId,
    service,
    // Bytes of its own: the entry's are a view on a whole block, which would be kept for as long as this is.
    payload: Uint8Array.prototype.slice.call(payload),
    payloadBytes: payload.length,
    requestedAtMs: atMs,
    expiresAtMs: atMs + ttlMs,
    platforms,
    exceptDevices,
    devices,
  })
}

function sendOrQueue (
  state: UserState, session: Session, message: WholeMessage, bytesMax: number, effects: Effect[]
): void {
  const { connectionId } = session
  enqueue(state, session, message, bytesMax, effects)
  if (connectionId === '') return
  const { nodeId } = state.connections.get(connectionId)!
  effects.push({ type: 'deliver', nodeId, connectionId, seq: session.nextSeq - 1, downlink: message })
}

/** True where the session's device and platform are among those that the request names. */
export function isFor (
  { platforms, exceptDevices, devices }: Filters, { deviceId, platform }: { deviceId: string, platform: string }
): boolean {
  return (platforms.length === 0 || platforms.includes(platform)) &&
    (devices.length === 0 || devices.includes(deviceId)) && !exceptDevices.includes(deviceId)
}

function deliveryReported (state: UserState, fact: DeliveryReported): Effect[] {
  const connection = state.connections.get(fact.connectionId)
  const session = connection && sessionOf(state, connection)
  if (!session) return nothing
  const effects: Effect[] = []
  // An ack on this connection came after its `connected`, so the client has read that.
  if (fact.ackedSeq > 0) announce(state, session, connection)
  acknowledge(state, session, fact.ackedSeq, effects)
  return effects
}

function downlinkSkipped (state: UserState, { connectionId, seq }: DownlinkSkipped): Effect[] {
  const connection = state.connections.get(connectionId)
  const session = connection && sessionOf(state, connection)
  if (!session) return nothing
  const effects: Effect[] = []
  announce(state, session, connection)
  acknowledge(state, session, seq, effects, seq)
  return effects
}

function connectionOpened (state: UserState, entry: Entry, fact: ConnectionOpened): Effect[] {
  const { connectionId, nodeId, deviceId } = fact
  // A repeat. It may be late, and the connection closed since: it stays closed.
  if (state.connections.has(connectionId)) return nothing
  const ban = banOn(state.bans, deviceId, fact.tokenId, entry.atMs)
  if (ban) {
    // Of no session: what its client has sent behind `connect` is nobody's.
    note(state, connectionId, { ...strange(state), nodeId, deviceId, tokenId: fact.tokenId, open: true })
    return [{ type: 'closeConnection', nodeId, connectionId, code: 'banned', reason: ban.reason }]
  }
  const known = state.sessions.get(deviceId)
  if (known && fact.downlinkSeq >= known.nextSeq) {
    note(state, connectionId, connectionOf(state, fact, known, true))
    const reason = `downlinkSeq ${fact.downlinkSeq} is ahead of ${known.nextSeq - 1}, the highest ever sent`
    return [{ type: 'closeConnection', nodeId, connectionId, code: 'protocol', reason }]
  }
  const effects: Effect[] = []
  for (const older of state.sessions.values()) {
    if (older.connectionId !== '' && endsUnder(fact.loginPolicy, older, fact)) {
      makeWay(state, older, entry, deviceId, effects)
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
  return effects
}

function beginSession (state: UserState, entry: Entry, fact: ConnectionOpened, effects: Effect[]): Session {
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
    changed: true,
    outboxChanged: true,
    saved: false,
  }
  state.sessions.set(fact.deviceId, session)
  adoptWaiting(state, session, isFor)
  return session
}

function resumeSession (
  state: UserState, session: Session, entry: Entry, fact: ConnectionOpened, effects: Effect[]
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

function connectionOf (state: UserState, fact: ConnectionOpened, session: Session, resumed: boolean): Connection {
  return {
    ordinal: ++state.connectionsBegun,
    nodeId: fact.nodeId,
    deviceId: fact.deviceId,
    sessionId: fact.sessionId,
    sessionOrdinal: session.ordinal,
    resumed,
    missed: session.missed,
    downlinkSeq: headSeq(session) - 1,
    tokenId: fact.tokenId,
    renewals: 0,
    open: true,
    changed: true,
    saved: false,
  }
}

/** A connection of no session, that has ended. */
function strange (state: UserState): Connection {
  return {
    ordinal: ++state.connectionsBegun,
    nodeId: '',
    deviceId: '',
    sessionId: '',
    sessionOrdinal: 0,
    resumed: false,
    missed: 0,
    downlinkSeq: 0,
    tokenId: '',
    renewals: 0,
    open: false,
    changed: true,
    saved: false,
  }
}

function connectionClosed (state: UserState, entry: Entry, fact: ConnectionClosed): Effect[] {
  const { connectionId } = fact
  const connection = state.connections.get(connectionId)
  if (!connection) {
    // Its opening may still come, late. It must find the connection closed.
    note(state, connectionId, strange(state))
    return nothing
  }
  if (!connection.open) return nothing
  connection.open = false
  connection.changed = true
  const session = sessionOf(state, connection)
  if (!session) return nothing
  const effects: Effect[] = []
  if (fact.told) announce(state, session, connection)
  acknowledge(state, session, fact.ackedSeq, effects)
  const current = session.connectionId === connectionId || session.connectionId === ''
  if (session.connectionId === connectionId) session.connectionId = ''
  session.touchedAtMs = entry.atMs
  session.changed = true
  if (fact.endSession && current) endSession(state, session, 'session-ended', effects)
  return effects
}

function kickRequested (state: UserState, entry: Entry, fact: KickRequested): Effect[] {
  if (state.requests.take(nameOf.kick(fact.requestId), noContent, entry.atMs) !== 'first') return nothing
  const effects: Effect[] = []
  for (const session of state.sessions.values()) {
    if (session.connectionId === '') continue
    if (fact.connectionId === '' || fact.connectionId === session.connectionId) {
      endConnection(state, session, 'kicked', fact.reason, effects)
    }
  }
  return effects
}

/** His sessions stay, and with them what waits for him: until its time is over, or he may come again. */
function userBanned (state: UserState, { atMs }: Entry, fact: UserBanned): Effect[] {
  if (state.requests.take(nameOf.ban(fact.banId), noContent, atMs) !== 'first' || state.bans.has(fact.banId)) return nothing
  const ban = keepBan(state.bans, fact, atMs)
  state.bansChanged = true
  if (!isInForce(ban, atMs)) return nothing
  const effects: Effect[] = []
  for (const session of state.sessions.values()) {
    const { connectionId, deviceId } = session
    if (connectionId === '' || !isOn(ban, deviceId, state.connections.get(connectionId)!.tokenId)) continue
    endConnection(state, session, 'banned', ban.reason, effects)
  }
  return effects
}

/** One that is not there is lifted for good, too: a lift that is told again must not differ from the first. */
function banLifted (state: UserState, { atMs }: Entry, { banId }: BanLifted): Effect[] {
  state.requests.take(nameOf.ban(banId), noContent, atMs)
  if (state.bans.delete(banId)) state.bansChanged = true
  return nothing
}

function tokenRenewed (state: UserState, { atMs }: Entry, { connectionId, renewal, tokenId }: TokenRenewed): Effect[] {
  const connection = state.connections.get(connectionId)
  if (!connection?.open || renewal <= connection.renewals) return nothing
  connection.tokenId = tokenId
  connection.renewals = renewal
  connection.changed = true
  const session = sessionOf(state, connection)
  const ban = banOn(state.bans, connection.deviceId, tokenId, atMs)
  if (!ban || session?.connectionId !== connectionId) return nothing
  const effects: Effect[] = []
  endConnection(state, session, 'banned', ban.reason, effects)
  return effects
}

/**
 * Ends what the login policy ends. A client may have given up on the new connection while the ledger was slow to take
 * its opening, and have opened this one since, by another node: it must come back then, so it is told nothing terminal.
 * Where it is the clocks of two nodes that differ, it comes back once for nothing.
 */
function makeWay (
  state: UserState, session: Session, opening: Entry, deviceId: string, effects: Effect[]
): void {
  if (session.touchedAtMs > opening.atMs) {
    endConnection(state, session, 'internal', 'a connection that was asked for earlier was stored late', effects)
  } else {
    endConnection(state, session, session.deviceId === deviceId ? 'superseded' : 'kicked', 'login policy', effects)
  }
}

/** Takes the session's connection from it; the edge closes the socket and reports `ConnectionClosed`. */
function endConnection (
  state: UserState, session: Session, code: CloseConnection['code'], reason: string, effects: Effect[]
): void {
  const { connectionId } = session
  const { nodeId } = state.connections.get(connectionId)!
  session.connectionId = ''
  session.changed = true
  effects.push({ type: 'closeConnection', nodeId, connectionId, code, reason })
}

function endSession (state: UserState, session: Session, reason: string, effects: Effect[]): void {
  dropAll(state, session, reason, effects)
  state.sessions.delete(session.deviceId)
  if (session.saved) state.gone.push(sessionPart(session.ordinal))
}

/** Makes room for one more session. */
function forgetOne (state: UserState, atMs: number, effects: Effect[]): void {
  const session = leastMissed(state.sessions.values())
  if (!session) return
  if (session.connectionId !== '') endConnection(state, session, 'kicked', 'too many devices', effects)
  rememberLost(state, session, atMs)
  endSession(state, session, 'sessions-full', effects)
}

/** The session that the connection belonged to, unless that one has ended since. */
function sessionOf (state: UserState, connection: Connection): Session | undefined {
  const session = state.sessions.get(connection.deviceId)
  return session?.ordinal === connection.sessionOrdinal ? session : undefined
}

/** Keeps what is known of a connection, so that repeats of its facts are seen as such; past the bound one goes. */
function note (state: UserState, connectionId: string, connection: Connection): void {
  const { connections } = state
  connections.set(connectionId, connection)
  if (connections.size <= connectionsMax) return
  const leastId = leastNeeded(state)
  const { ordinal, saved } = connections.get(leastId)!
  connections.delete(leastId)
  if (saved) state.gone.push(connectionPart(ordinal))
}

/** The oldest closed connection, or else the oldest that no session uses for its downlinks. */
function leastNeeded ({ connections, sessions }: UserState): string {
  for (const [connectionId, { open }] of connections) if (!open) return connectionId
  for (const [connectionId, { deviceId }] of connections) {
    if (sessions.get(deviceId)?.connectionId !== connectionId) return connectionId
  }
  return connections.keys().next().value!
}
