import type { Entry, RoomGranted, RoomRevoked } from '../../schemas/facts.js'
import type { Effect } from './effects.js'
import { membershipsMax } from './memberships.js'
import { nameOf, noContent } from '../requests.js'
import type { UserState } from './state.js'

/** Which rooms business has the user in. */

const nothing: Effect[] = []

export function roomGranted (state: UserState, { atMs }: Entry, { roomId, rights, requestId }: RoomGranted): Effect[] {
  if (state.requests.take(nameOf.membership(requestId), noContent, atMs) !== 'first') return nothing
  const { memberships } = state
  const known = memberships.get(roomId)
  if (known?.rights === rights) return nothing
  if (!known && memberships.size >= membershipsMax) memberships.delete(memberships.keys().next().value!)
  memberships.set(roomId, { roomId, rights, grantedAtMs: atMs })
  return changed(state)
}

export function roomRevoked (state: UserState, { atMs }: Entry, { roomId, requestId }: RoomRevoked): Effect[] {
  if (state.requests.take(nameOf.membership(requestId), noContent, atMs) !== 'first') return nothing
  return state.memberships.delete(roomId) ? changed(state) : nothing
}

/** Those that are open hear of it. */
function changed (state: UserState): Effect[] {
  state.membershipsVersion++
  state.membershipsChanged = true
  const effects: Effect[] = []
  for (const { connectionId } of state.sessions.values()) {
    if (connectionId === '') continue
    const { nodeId } = state.connections.get(connectionId)!
    effects.push({ type: 'tellMemberships', nodeId, connectionId })
  }
  return effects
}
