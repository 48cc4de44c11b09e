import type {
  DeliveryReported, DownlinkRecalled, DownlinkRedelivered, DownlinkRequested, DownlinkSkipped, Entry, UplinkReceived,
} from '../../schemas/facts.js'
import { contentOf } from '../digest.js'
import { EffectList } from './effect-list.js'
import type { Effect } from './effects.js'
import { banLifted, tokenRenewed, userBanned } from './fold-bans.js'
import { connectionClosed, connectionOpened, kickRequested, sessionOf } from './fold-connections.js'
import { isTakenOver } from './known-connections.js'
import { roomGranted, roomRevoked } from './fold-memberships.js'
import { handOverDue } from './hand-over.js'
import { isFor } from './messages.js'
import { acknowledge, announce, fitAll, wait } from './outbox.js'
import { absenceEnded } from './presence.js'
import { recallAndTell, takeBack } from './recall.js'
import { nameOf, noContent } from '../requests.js'
import { keep, sendOrQueue, unfiltered } from './sending.js'
import type { Session, UserState } from './state.js'

const nothing: Effect[] = []

/** Folds one ledger entry into `state`; returns what must be done now. Same entries, same effects, on any node. */
export function fold (state: UserState, entry: Entry): Effect[] {
  const { fact } = entry
  switch (fact.type) {
    case 'UplinkReceived': return uplinkReceived(state, entry, fact)
    case 'DownlinkRequested': return downlinkRequested(state, entry, fact)
    case 'DeliveryReported': return deliveryReported(state, entry, fact)
    case 'ConnectionOpened': return connectionOpened(state, entry, fact)
    case 'ConnectionClosed': return connectionClosed(state, entry, fact)
    case 'KickRequested': return kickRequested(state, entry, fact)
    case 'DownlinkRedelivered': return downlinkRedelivered(state, entry, fact)
    case 'DownlinkSkipped': return downlinkSkipped(state, entry, fact)
    case 'UplinksRefused': return nothing // for evidence alone
    case 'UserBanned': return userBanned(state, entry, fact)
    case 'BanLifted': return banLifted(state, entry, fact)
    case 'TokenRenewed': return tokenRenewed(state, entry, fact)
    case 'RoomGranted': return roomGranted(state, entry, fact)
    case 'RoomRevoked': return roomRevoked(state, entry, fact)
    case 'AbsenceEnded': return effectsOf(state, entry, effects => { absenceEnded(state, fact, effects) })
    case 'DownlinkRecalled': return downlinkRecalled(state, entry, fact)
    case 'HandOverDue': return effectsOf(state, entry, effects => { handOverDue(state, fact, effects) })
  }
}

function effectsOf (state: UserState, entry: Entry, fold: (effects: EffectList) => void): Effect[] {
  const effects = new EffectList(state, entry)
  fold(effects)
  return effects.all
}

function uplinkReceived (state: UserState, entry: Entry, fact: UplinkReceived): Effect[] {
  const { connectionId, seq } = fact
  const connection = state.connections.get(connectionId)
  const session = connection && sessionOf(state, connection)
  // The device has begun another session since (reinstalled, or ended it): these numbers count in none.
  if (!session || session.sessionId !== connection.sessionId) return nothing
  // A later connection has told the client what was accepted, and the client sends the rest on that one.
  if (isTakenOver(state, session, connectionId, connection)) return nothing
  const { nodeId } = connection
  const expected = session.uplinkSeq + 1
  // The sender may not have seen our answer. It gets the same one again.
  if (seq < expected) return [{ type: 'ackUplink', nodeId, connectionId, seq, userSeq: answerTo(session, seq) }]
  if (seq > expected) return [{ type: 'refuseUplink', nodeId, connectionId, expectedSeq: expected, code: 'gap' }]
  session.uplinkSeq = seq
  session.changed = true
  const userSeq = ++state.userSeq
  remember(session, userSeq)
  const effects: Effect[] = [
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
        roomId: fact.roomId,
      },
    },
    { type: 'ackUplink', nodeId, connectionId, seq, userSeq },
  ]
  if (fact.roomId !== '') effects.push({ type: 'post', entry, fact, userSeq })
  return effects
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
  const effects = new EffectList(state, entry)
  if (fact.replaces !== '') takeBack(state, fact.replaces, effects)
  const message = keep(state, entry, fact, fact)
  if (state.sessions.size === 0) {
    wait(state, message, fact.outboxBytesMax, effects)
    return effects.all
  }
  let targets = 0
  for (const session of state.sessions.values()) {
    if (!isFor(message, session)) continue
    targets++
    sendOrQueue(state, session, message, fact.outboxBytesMax, effects)
  }
  fitAll(state, message, fact.outboxBytesMax, effects)
  if (targets === 0) effects.settle(message, '', 0, 'dropped', 'no-target')
  return effects.all
}

/** Sends it to this device alone, whatever filters the first request had, and also where it was acked before. */
function downlinkRedelivered (state: UserState, entry: Entry, fact: DownlinkRedelivered): Effect[] {
  const { requestId, messageId, deviceId } = fact
  if (state.requests.take(nameOf.redelivery(requestId, messageId), noContent, entry.atMs) !== 'first') {
    return [{ type: 'settle', messageId, deviceId, seq: 0, outcome: 'duplicate', reason: 'duplicate' }]
  }
  const session = state.sessions.get(deviceId)
  const effects = new EffectList(state, entry)
  const message = keep(state, entry, fact, unfiltered)
  if (!session) {
    effects.settle(message, deviceId, 0, 'dropped', 'no-target')
    return effects.all
  }
  sendOrQueue(state, session, message, fact.outboxBytesMax, effects)
  fitAll(state, message, fact.outboxBytesMax, effects)
  return effects.all
}

function downlinkRecalled (state: UserState, entry: Entry, fact: DownlinkRecalled): Effect[] {
  const name = nameOf.recall(fact.requestId, fact.messageId)
  if (state.requests.take(name, noContent, entry.atMs) !== 'first') return nothing
  return effectsOf(state, entry, effects => { recallAndTell(state, fact, effects) })
}

function deliveryReported (state: UserState, entry: Entry, fact: DeliveryReported): Effect[] {
  const connection = state.connections.get(fact.connectionId)
  const session = connection && sessionOf(state, connection)
  if (!session) return nothing
  const effects = new EffectList(state, entry)
  // An ack on this connection came after its `connected`, so the client has read that.
  if (fact.ackedSeq > 0) announce(state, session, connection)
  acknowledge(state, session, fact.ackedSeq, effects)
  return effects.all
}

function downlinkSkipped (state: UserState, entry: Entry, { connectionId, seq }: DownlinkSkipped): Effect[] {
  const connection = state.connections.get(connectionId)
  const session = connection && sessionOf(state, connection)
  if (!session) return nothing
  const effects = new EffectList(state, entry)
  announce(state, session, connection)
  acknowledge(state, session, seq, effects, seq)
  return effects.all
}
