import type { PartId } from '../snapshots.js'
import { messagePart, payloadPart } from './messages.js'
import { requestParts } from '../requests.js'
import { connectionPart, sessionPart, type UserState } from './state.js'

/*
  A state that was given for a save and then rebuilt knows nothing of that save, which may be stored, on its way, or
  kept to be tried again. What begins in the replay and ends before the next save has parts there, and no later head
  names them.
*/

/** The highest numbers that are saved. */
export interface SavedNumbers {
  readonly sessions: number
  readonly connections: number
  readonly messages: number
  /** The first one that is not. */
  readonly requests: number
}

/** @param state as it was loaded */
export function savedNumbersOf (state: UserState): SavedNumbers {
  const { sessions, connections, messages, requests } = state
  let [session, connection, message] = [state.sessionsBegun, state.connectionsBegun, messages.begun]
  for (const { saved, ordinal } of sessions.values()) if (!saved) session = Math.min(session, ordinal - 1)
  for (const { saved, ordinal } of connections.values()) if (!saved) connection = Math.min(connection, ordinal - 1)
  for (const { saved, number } of messages) if (!saved) message = Math.min(message, number - 1)
  return { sessions: session, connections: connection, messages: message, requests: requests.savedEnd }
}

/** The parts of all that began after these numbers and has ended. */
export function endedSince (state: UserState, saved: SavedNumbers): PartId[] {
  const ended: PartId[] = []
  const sessions = new Set<number>()
  for (const { ordinal } of state.sessions.values()) sessions.add(ordinal)
  for (let n = saved.sessions + 1; n <= state.sessionsBegun; n++) if (!sessions.has(n)) ended.push(sessionPart(n))
  const connections = new Set<number>()
  for (const { ordinal } of state.connections.values()) connections.add(ordinal)
  for (let n = saved.connections + 1; n <= state.connectionsBegun; n++) {
    if (!connections.has(n)) ended.push(connectionPart(n))
  }
  for (let n = saved.messages + 1; n <= state.messages.begun; n++) {
    if (!state.messages.get(n)) ended.push(messagePart(n), payloadPart(n))
  }
  const { first, end } = state.requests
  const [remembered] = requestParts(first, end)
  for (const id of requestParts(saved.requests, first)) if (id !== remembered) ended.push(id)
  return ended
}
