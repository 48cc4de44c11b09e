import type { Entry, Fact } from '../../schemas/facts.js'
import { unackedOf } from './hand-over.js'
import { isAbsent, isLastOf } from './presence.js'
import type { UserState } from './state.js'

/** Asks a user's actor which facts are due of entries whose time has come. Within one process. */
export interface AskDue {
  readonly type: 'askDue'
  readonly partition: number
  readonly userId: string
  readonly asOf: bigint
  readonly entry: Entry
  /** Told once, with undefined where it is over. */
  answer (due: Fact | undefined): void
}

/** When something of this entry becomes due, ms since 1970; Infinity for never. */
export function dueAtMsOf ({ atMs, fact }: Entry): number {
  if (fact.type === 'ConnectionClosed' && fact.presenceGraceMs > 0) return atMs + fact.presenceGraceMs
  if (fact.type === 'DownlinkRequested' && fact.offlineAfterMs > 0) return atMs + fact.offlineAfterMs
  return Infinity
}

/** What is to be told the ledger of an entry whose time has come; undefined where the device is back, or has acked. */
export function dueFactOf (state: UserState, { atMs, fact }: Entry): Fact | undefined {
  if (fact.type === 'ConnectionClosed') {
    const { connectionId, code } = fact
    const deviceId = absentDevice(state, connectionId, atMs)
    return deviceId === undefined ? undefined : { type: 'AbsenceEnded', deviceId, connectionId, code, sinceMs: atMs }
  }
  if (fact.type !== 'DownlinkRequested' || !unackedOf(state, fact.messageId, atMs)) return undefined
  return { type: 'HandOverDue', messageId: fact.messageId, requestedAtMs: atMs, payload: fact.payload }
}

/** Whose last connection has ended then; one that is no longer remembered is known by the time. */
function absentDevice (state: UserState, connectionId: string, sinceMs: number): string | undefined {
  const connection = state.connections.get(connectionId)
  if (connection && !isLastOf(state, connection)) return undefined
  const deviceIds = connection ? [connection.deviceId] : state.sessions.keys()
  for (const deviceId of deviceIds) if (isAbsent(state, deviceId, sinceMs)) return deviceId
  return undefined
}
