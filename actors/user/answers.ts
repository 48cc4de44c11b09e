import type { PartId } from '../snapshots.js'
import type { AskBans, AskMemberships, AskRecalled, AskRequest, Links, Resync } from '../links.js'
import { banOn } from './bans.js'
import type { CloseConnection } from './effects.js'
import { answerTo } from './fold.js'
import { type OutboxMessage, payloadPart } from './messages.js'
import { missing } from './outbox.js'
import { outcomeOfRecall } from './recall.js'
import { nameOf } from '../requests.js'
import { type Connection, headSeq, missedOf, type Session, type UserState } from './state.js'

/** What edges are told because they ask, or because a connection has opened. Nothing of it changes the state. */

/** Downlinks that a connection is to get. */
export interface Refill {
  readonly nodeId: string
  readonly connectionId: string
  /** Undefined where the next one is gone. */
  readonly downlinks: ReadonlyArray<{ readonly seq: number, readonly message: OutboxMessage }> | undefined
  /** Payloads of them that are not at hand. */
  readonly unread: readonly PartId[]
}

/**
 * Answers a connection that asks for what it has not seen, up to its downlinks.
 *
 * @returns those
 */
export function resync (state: UserState, question: Resync, links: Links): Refill | undefined {
  const { nodeId, connectionId, welcomed, uplinkSeq, downlinkSeq, bytesMax } = question
  const connection = state.connections.get(connectionId)
  const session = sessionAt(state, connectionId)
  if (!connection || !session) {
    // It asks because its close was lost.
    if (connection?.open) links.toConnection({ type: 'closeConnection', nodeId, connectionId, ...endOf(state, connection) })
    return undefined
  }
  if (!welcomed) {
    links.toConnection({
      type: 'welcome',
      nodeId,
      connectionId,
      resumed: connection.resumed,
      uplinkSeq: session.uplinkSeq,
      downlinkSeq: headSeq(session) - 1,
      lastSeq: session.nextSeq - 1,
      missed: missedOf(session),
    })
    if (state.memberships.size > 0) tellMemberships(state, nodeId, connectionId, links)
    return refillOf(session, nodeId, connectionId, headSeq(session) - 1, bytesMax)
  }
  if (session.uplinkSeq > uplinkSeq) {
    const userSeqs = []
    for (let seq = uplinkSeq + 1; seq <= session.uplinkSeq; seq++) {
      const userSeq = answerTo(session, seq)
      if (userSeq > 0) userSeqs.push(userSeq)
    }
    links.toConnection({ type: 'ackUplinks', nodeId, connectionId, seq: session.uplinkSeq, userSeqs })
  }
  // One that asks may have lost anything.
  if (state.membershipsVersion > 0) tellMemberships(state, nodeId, connectionId, links)
  return refillOf(session, nodeId, connectionId, downlinkSeq, bytesMax)
}

/** Tells a connection in which rooms business has the user. */
export function tellMemberships (state: UserState, nodeId: string, connectionId: string, links: Links): void {
  const rooms = Array.from(state.memberships.values(), ({ roomId, rights }) => ({ roomId, rights }))
  links.toConnection({ type: 'memberships', nodeId, connectionId, version: state.membershipsVersion, rooms })
}

/** Answers whether a request was taken before. */
export function tellKnown (state: UserState, { nodeId, askId, messageId, content }: AskRequest, links: Links): void {
  links.toAsker({ type: 'requestKnown', nodeId, askId, known: state.requests.look(nameOf.downlink(messageId), content) })
}

/** Answers which bans the user has. A node of the version before reads no answer with keys in it, and gets another. */
export function tellBans (state: UserState, { nodeId, askId }: AskBans, links: Links): void {
  const bans = [...state.bans.values()]
  links.toAsker({ type: 'bansKnown', nodeId, askId, bans })
  if (!bans.some(({ by }) => by !== '')) return
  links.toAsker({ type: 'bansKnown', nodeId, askId, bans: bans.map(ban => ({ ...ban, by: '' })) })
}

/** Answers in which rooms business has the user. */
export function tellRooms (state: UserState, { nodeId, askId }: AskMemberships, links: Links): void {
  links.toAsker({ type: 'membershipsKnown', nodeId, askId, rooms: [...state.memberships.values()] })
}

/** Answers what has become of a downlink that was to be taken back. */
export function tellRecalled (state: UserState, { nodeId, askId, messageId }: AskRecalled, links: Links): void {
  links.toAsker({ type: 'recalledKnown', nodeId, askId, outcome: outcomeOfRecall(state, messageId) })
}

/** What a connection misses after `afterSeq`, up to `bytesMax` payload bytes. */
export function refillOf (
  session: Session, nodeId: string, connectionId: string, afterSeq: number, bytesMax: number
): Refill {
  const downlinks = missing(session, afterSeq, bytesMax)
  const unread: PartId[] = []
  for (const { message } of downlinks ?? []) {
    if (message.payload === undefined) unread.push(payloadPart(message.number))
  }
  return { nodeId, connectionId, downlinks, unread }
}

/** @param payloads those that were not at hand; they are not kept, for whoever reads slowly may ask for them again */
export function send (
  { nodeId, connectionId, downlinks }: Refill, links: Links, payloads?: ReadonlyMap<PartId, Uint8Array>
): void {
  if (!downlinks) {
    links.toConnection({ type: 'gone', nodeId, connectionId })
    return
  }
  for (const { seq, message } of downlinks) {
    const { messageId, service, requestedAtMs, number } = message
    const payload = message.payload ?? payloads!.get(payloadPart(number))!
    links.toConnection({ type: 'deliver', nodeId, connectionId, seq, downlink: { messageId, service, payload, requestedAtMs } })
  }
}

/** The session whose current connection this is. */
export function sessionAt (state: UserState, connectionId: string): Session | undefined {
  const connection = state.connections.get(connectionId)
  const session = connection && state.sessions.get(connection.deviceId)
  return session?.connectionId === connectionId ? session : undefined
}

/**
 * Why a connection that is open to its edge was ended. A state of an earlier version does not say: it is told what fits
 * best.
 */
function endOf (
  state: UserState, { deviceId, tokenId, endCode, endReason, endBy }: Connection
): Pick<CloseConnection, 'code' | 'reason' | 'by'> {
  if (endCode !== '') return { code: endCode, reason: endReason, by: endBy }
  const ban = banOn(state.bans, deviceId, tokenId, Date.now())
  if (ban) return { code: 'banned', reason: ban.reason, by: ban.by }
  const current = state.sessions.get(deviceId)?.connectionId ?? ''
  return current === ''
    ? { code: 'kicked', reason: 'ended before', by: '' }
    : { code: 'superseded', reason: 'the device has opened a newer connection', by: '' }
}
