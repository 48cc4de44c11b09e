import { fold } from '../actors/user/fold.js'
import { headSeq, newUser, type Session } from '../actors/user/state.js'
import { formatPosition } from '../ledger/log.js'
import { GatewayError } from '../schemas/errors.js'
import type { Fact } from '../schemas/facts.js'
import type { Placed } from './trace.js'

export interface RedeliveryQuery {
  readonly deviceId: string
  readonly fromSeq: number
  readonly toSeq: number
  readonly requestId: string
}

/** A downlink as a session had it. */
export interface Numbered {
  readonly seq: number
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
}

export interface FoundDownlinks {
  /** By seq. A message that was redelivered before may stand there under several. */
  readonly numbered: readonly Numbered[]
  /** Message id to the place in the ledger where this very request stands already. */
  readonly requested: ReadonlyMap<string, string>
}

/**
 * Which downlinks the device's present session had under these numbers, acked, gone or neither: a session's numbers are
 * the production fold's, and so are these.
 *
 * @param entries all of the user's, from the first one that is kept
 * @param complete false where retention has deleted some before
 * @throws GatewayError `not-found` where the device has no session, or its numbers were given before the first entry
 *   that is kept: they can't be told from later ones any more; `bad-request` where the id was another device's request
 */
export async function findNumbered (
  entries: AsyncIterable<Placed>, { deviceId, fromSeq, toSeq, requestId }: RedeliveryQuery, complete: boolean
): Promise<FoundDownlinks> {
  const state = newUser()
  const requested = new Map<string, string>()
  let numbered = new Map<number, Numbered>()
  let current: Session | undefined
  let seenSeq = 0
  let reportedSeq = 0
  for await (const { position, entry } of entries) {
    const { fact } = entry
    fold(state, entry)
    if (fact.type === 'DownlinkRedelivered' && fact.requestId === requestId) {
      if (fact.deviceId !== deviceId) {
        throw new GatewayError('bad-request', `requestId: ${requestId} was a redelivery to device ${fact.deviceId}`)
      }
      if (!requested.has(fact.messageId)) requested.set(fact.messageId, formatPosition(position))
    }
    const session = state.sessions.get(deviceId)
    if (session !== current) {
      current = session
      numbered = new Map()
      seenSeq = session ? headSeq(session) - 1 : 0
      reportedSeq = 0
    }
    if (!session) continue
    if (state.connections.get(connectionOf(fact))?.sessionOrdinal === session.ordinal) {
      reportedSeq = Math.max(reportedSeq, sentUpTo(fact))
    }
    const head = headSeq(session)
    for (let seq = Math.max(seenSeq + 1, fromSeq, head); seq < session.nextSeq && seq <= toSeq; seq++) {
      const { messageId, service, payload } = session.outbox[seq - head]!
      numbered.set(seq, { seq, messageId, service, payload: payload! }) // at hand: the state was never saved
    }
    seenSeq = session.nextSeq - 1
  }
  if (!current) throw new GatewayError('not-found', `the user has no session of device ${deviceId}`)
  if (!complete && reportedSeq >= current.nextSeq) {
    throw new GatewayError('not-found', `what gave the downlinks of ${deviceId} their numbers is no longer in the ledger`)
  }
  return { numbered: [...numbered.values()], requested }
}

function connectionOf (fact: Fact): string {
  return 'connectionId' in fact ? fact.connectionId : ''
}

/** How far the fact says that the session's downlinks were sent; a beginning that is not kept shows in it. */
function sentUpTo (fact: Fact): number {
  switch (fact.type) {
    case 'ConnectionOpened': return fact.downlinkSeq
    case 'DeliveryReported':
    case 'ConnectionClosed': return Math.max(0, fact.writtenSeq, fact.ackedSeq) // -1 is unknown
    default: return 0
  }
}
