import type { ConnectionOpened } from '../../schemas/facts.js'
import { type Connection, connectionPart, connectionsMax, headSeq, type Session, type UserState } from './state.js'

/* What a user's state keeps of connections, open and closed ones, so that repeats of their facts are seen as such. */

/** As it opens. */
export function connectionOf (
  state: UserState, fact: ConnectionOpened, session: Session, resumed: boolean
): Connection {
  return {
    ordinal: ++state.connectionsBegun,
    nodeId: fact.nodeId,
    deviceId: fact.deviceId,
    sessionId: fact.sessionId,
    sessionOrdinal: session.ordinal,
    resumed,
    missed: session.missed,
    downlinkSeq: headSeq(session) - 1,
    takesOver: fact.takesOver,
    tokenId: fact.tokenId,
    renewals: 0,
    open: true,
    endCode: '',
    endReason: '',
    endBy: '',
    changed: true,
    saved: false,
  }
}

/** One whose opening is not known: it is of no session, and has ended. */
export function unknownConnection (state: UserState): Connection {
  return {
    ordinal: ++state.connectionsBegun,
    nodeId: '',
    deviceId: '',
    sessionId: '',
    sessionOrdinal: 0,
    resumed: false,
    missed: 0,
    downlinkSeq: 0,
    takesOver: false,
    tokenId: '',
    renewals: 0,
    open: false,
    endCode: '',
    endReason: '',
    endBy: '',
    changed: true,
    saved: false,
  }
}

/** Whether a later connection of its session has taken over. The session names its own; else all are looked through. */
export function isTakenOver (
  state: UserState, session: Session, connectionId: string, { ordinal, sessionOrdinal }: Connection
): boolean {
  if (session.connectionId === connectionId) return false
  for (const other of state.connections.values()) {
    if (other.takesOver && other.ordinal > ordinal && other.sessionOrdinal === sessionOrdinal) return true
  }
  return false
}

/** Keeps what is known of a connection. Past the bound the one that is needed least is forgotten. */
export function note (state: UserState, connectionId: string, connection: Connection): void {
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
