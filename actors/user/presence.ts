import type { AbsenceEnded, ConnectionClosed, ConnectionOpened } from '../../schemas/facts.js'
import type { EffectList } from './effect-list.js'
import type { Connection, Session, UserState } from './state.js'

/*
  What the stream `presence` says of a device. It is online from its first connection on, whichever one follows, until
  one ends that none has followed: a takeover, a move and a resume are no change. Where the end names a grace, the
  device stays online until `AbsenceEnded` says that it was away for so long.
*/

/** A connection of the session has opened. */
export function cameOnline (
  session: Session, { connectionId, presence }: ConnectionOpened, effects: EffectList
): void {
  if (!presence || session.toldOnline) return
  const userChanged = !isOnline(effects.state)
  session.toldOnline = true
  session.changed = true
  const { deviceId, platform } = session
  effects.presence({
    deviceId, platform, connectionId, change: 'online', userChanged, cause: 'connected', atMs: effects.entry.atMs,
  })
}

/** The session has no connection any more, and its device no grace. */
export function wentOffline (
  session: Session, connectionId: string, cause: string, atMs: number, effects: EffectList
): void {
  if (!session.toldOnline) return
  session.toldOnline = false
  session.changed = true
  const { deviceId, platform } = session
  const userChanged = !isOnline(effects.state)
  effects.presence({ deviceId, platform, connectionId, change: 'offline', userChanged, cause, atMs })
}

/**
 * A connection of the session has closed. The end of the last one that had the session tells of the device, in whatever
 * order the ends come.
 */
export function connectionEnded (
  session: Session, connection: Connection, fact: ConnectionClosed, effects: EffectList
): void {
  if (!session.toldOnline || session.connectionId !== '' || fact.presenceGraceMs > 0) return
  if (!isLastOf(effects.state, connection)) return
  wentOffline(session, fact.connectionId, fact.code, effects.entry.atMs, effects)
}

/** The device was away for as long as its grace; unless it has come back, or left once more, since. */
export function absenceEnded (
  state: UserState, { deviceId, connectionId, code, sinceMs }: AbsenceEnded, effects: EffectList
): void {
  if (isAbsent(state, deviceId, sinceMs)) {
    wentOffline(state.sessions.get(deviceId)!, connectionId, code, sinceMs, effects)
  }
}

/** Whether the device left at this time, has been away since, and `presence` does not say so. */
export function isAbsent ({ sessions }: UserState, deviceId: string, sinceMs: number): boolean {
  const session = sessions.get(deviceId)
  return session !== undefined && session.toldOnline && session.connectionId === '' && session.touchedAtMs === sinceMs
}

function isOnline ({ sessions }: UserState): boolean {
  for (const { toldOnline } of sessions.values()) if (toldOnline) return true
  return false
}

/** Whether this connection, open or closed, had its session last. */
export function isLastOf ({ connections }: UserState, connection: Connection): boolean {
  if (wasRefused(connection)) return false
  const { ordinal, sessionOrdinal } = connection
  for (const other of connections.values()) {
    if (other.sessionOrdinal === sessionOrdinal && other.ordinal > ordinal && !wasRefused(other)) return false
  }
  return true
}

/** It named a session that it never had: what it said it had of it was impossible. */
export function wasRefused ({ endCode }: Connection): boolean { return endCode === 'protocol' }
