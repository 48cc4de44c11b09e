import type { Entry, Transport } from '../schemas/facts.js'
import { ClosedConnections } from './closed.js'
import type { Projection } from './projection.js'
import { put, remove } from './tables/tables.js'

/** A field of a presence row, named by its connection id. */
export interface OpenSession {
  readonly deviceId: string
  readonly platform: string
  readonly sessionId: string
  readonly client: string
  readonly transport: Transport
  readonly address: string
  readonly nodeId: string
  readonly openedAtMs: number
}

/** The answer of `GET /v1/users/:userId/presence`, but for `asOf` (protocol.md 5). */
export interface Presence {
  readonly userId: string
  readonly online: boolean
  /** Oldest first. */
  readonly sessions: readonly ({ readonly connectionId: string } & OpenSession)[]
  /** When a connection of the user last opened or closed; null for a user who never had one. */
  readonly lastSeenAtMs: number | null
}

/** Table `presence`: user id -> connection id -> the session open on it; `lastSeen` outlives the connections. */
export const presence: Projection<Entry> = {
  table: 'presence',
  concerns: ({ fact }) => fact.type === 'ConnectionOpened' || fact.type === 'ConnectionClosed',
  * project ({ userId, atMs, fact }) {
    switch (fact.type) {
      case 'ConnectionOpened': {
        const { connectionId, deviceId, platform, sessionId, client, transport, address, nodeId } = fact
        const session: OpenSession =
          { deviceId, platform, sessionId, client, transport, address, nodeId, openedAtMs: atMs }
        yield put(userId, connectionId, session)
        break
      }
      case 'ConnectionClosed':
        // By connection, not by user: an old close must not take a new connection with it.
        yield remove(userId, fact.connectionId)
        yield put(userId, 'lastSeen', { atMs })
        break
    }
  },
  memory: (tables, partition) => ClosedConnections.load('presence', tables, partition),
}

/** @param fields the user's row of table `presence` */
export function presenceOf (userId: string, fields: ReadonlyMap<string, any>): Presence {
  const sessions: ({ connectionId: string } & OpenSession)[] = []
  let lastSeenAtMs: number | null = fields.get('lastSeen')?.atMs ?? null
  for (const [field, value] of fields) {
    if (field === 'lastSeen' || Array.isArray(value)) continue // an array is no session: see ClosedConnections
    sessions.push({ connectionId: field, ...value })
    lastSeenAtMs = Math.max(lastSeenAtMs ?? 0, value.openedAtMs)
  }
  sessions.sort((a, b) => a.openedAtMs - b.openedAtMs || (a.connectionId < b.connectionId ? -1 : 1))
  return { userId, online: sessions.length > 0, sessions, lastSeenAtMs }
}
