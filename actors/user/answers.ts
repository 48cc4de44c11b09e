import type { UplinkAccepted } from '../../schemas/records.js'
import type { AckUplinks, AskRequest, Links, Resync } from '../links.js'
import type { CloseConnection, Effect, Settle } from './effects.js'
import { answerTo } from './fold.js'
import { missing } from './outbox.js'
import { nameOf } from './requests.js'
import { type Connection, headSeq, missedOf, type Session, type UserState } from './state.js'

/** What edges are told: because of an entry, or because they ask. */

export interface SinkDeps {
  readonly links: Links
  /** Counts how downlinks end. */
  settled (settle: Settle): void
  /** Payload bytes of downlinks that follow a welcome unasked. */
  readonly resumeBytesMax: number
}

/** Performs the effects of one message; acks to one connection become one. */
export class Sink {
  #acks: AckUplinks | undefined
  readonly #state: UserState
  readonly #uplinks: UplinkAccepted[]
  readonly #deps: SinkDeps
  readonly #history: boolean

  constructor (state: UserState, uplinks: UplinkAccepted[], deps: SinkDeps, history: boolean) {
    this.#state = state
    this.#uplinks = uplinks
    this.#deps = deps
    this.#history = history
  }

  perform (effect: Effect): void {
    const { links } = this.#deps
    if (this.#history && isRepairable(effect)) return
    switch (effect.type) {
      case 'publishUplink': this.#uplinks.push(effect.uplink); return
      case 'ackUplink': this.#ack(effect.nodeId, effect.connectionId, effect.seq, effect.userSeq); return
      case 'settle': this.#deps.settled(effect); return
      case 'welcome': {
        this.flush()
        links.toConnection(effect)
        const { nodeId, connectionId, downlinkSeq } = effect
        const session = sessionAt(this.#state, connectionId)
        if (session) sendMissing(session, nodeId, connectionId, downlinkSeq, this.#deps.resumeBytesMax, links)
        return
      }
      default:
        this.flush()
        links.toConnection(effect)
    }
  }

  /** Sends the ack that is still being collected. */
  flush (): void {
    if (!this.#acks) return
    this.#deps.links.toConnection(this.#acks)
    this.#acks = undefined
  }

  #ack (nodeId: string, connectionId: string, seq: number, userSeq: number): void {
    const acks = this.#acks
    if (acks && acks.connectionId === connectionId && seq === acks.seq + 1 && userSeq > 0) {
      acks.seq = seq
      acks.userSeqs.push(userSeq)
      return
    }
    this.flush()
    this.#acks = { type: 'ackUplinks', nodeId, connectionId, seq, userSeqs: userSeq > 0 ? [userSeq] : [] }
  }
}

/** What an edge that misses it asks for again. A close or a refusal nobody would ask for. */
function isRepairable ({ type }: Effect): boolean {
  return type === 'ackUplink' || type === 'deliver' || type === 'welcome'
}

/** Answers a connection that asks for what it has not seen. */
export function resync (state: UserState, question: Resync, links: Links): void {
  const { nodeId, connectionId, welcomed, uplinkSeq, downlinkSeq, bytesMax } = question
  const connection = state.connections.get(connectionId)
  const session = sessionAt(state, connectionId)
  if (!connection || !session) {
    // It asks because its close was lost.
    if (connection?.open) links.toConnection({ type: 'closeConnection', nodeId, connectionId, ...endOf(state, connection) })
    return
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
    sendMissing(session, nodeId, connectionId, headSeq(session) - 1, bytesMax, links)
    return
  }
  if (session.uplinkSeq > uplinkSeq) {
    const userSeqs = []
    for (let seq = uplinkSeq + 1; seq <= session.uplinkSeq; seq++) {
      const userSeq = answerTo(session, seq)
      if (userSeq > 0) userSeqs.push(userSeq)
    }
    links.toConnection({ type: 'ackUplinks', nodeId, connectionId, seq: session.uplinkSeq, userSeqs })
  }
  sendMissing(session, nodeId, connectionId, downlinkSeq, bytesMax, links)
}

/** Answers whether a request was taken before. */
export function tellKnown (state: UserState, { nodeId, askId, messageId, content }: AskRequest, links: Links): void {
  links.toAsker({ type: 'requestKnown', nodeId, askId, known: state.requests.look(nameOf.downlink(messageId), content) })
}

/** Why a connection that is open to its edge was ended. A kick that was not told takes no newer one with it. */
function endOf (state: UserState, { deviceId }: Connection): Pick<CloseConnection, 'code' | 'reason'> {
  const current = state.sessions.get(deviceId)?.connectionId ?? ''
  return current === ''
    ? { code: 'kicked', reason: 'ended before' }
    : { code: 'superseded', reason: 'the device has opened a newer connection' }
}

/** The session whose current connection this is. */
function sessionAt (state: UserState, connectionId: string): Session | undefined {
  const connection = state.connections.get(connectionId)
  const session = connection && state.sessions.get(connection.deviceId)
  return session?.connectionId === connectionId ? session : undefined
}

function sendMissing (
  session: Session, nodeId: string, connectionId: string, afterSeq: number, bytesMax: number, links: Links
): void {
  const downlinks = missing(session, afterSeq, bytesMax)
  if (!downlinks) {
    links.toConnection({ type: 'gone', nodeId, connectionId })
    return
  }
  for (const { seq, downlink } of downlinks) {
    links.toConnection({ type: 'deliver', nodeId, connectionId, seq, downlink })
  }
}
