import { randomUUID } from 'node:crypto'
import type { EventLog } from '../ledger/log.js'
import { connectionOf, routesOf, routingKey } from '../projections/routing.js'
import type { IndexedTables } from '../projections/tables/tables.js'
import { appOf } from '../schemas/apps.js'
import type { Entry } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'

export interface KickDeps {
  readonly log: EventLog
  readonly tables: IndexedTables
}

/** At least one of the two ids is there. */
export interface KickCommand {
  /** Whose users these are: no connection of another app's is closed. */
  readonly app: string
  /** The user's key; empty where the caller knows the connection only. */
  readonly userId: string
  /** Empty for all of the user's. */
  readonly connectionId: string
  /** What the client is told. */
  readonly reason: string
  /** Id of the API key that asks; empty for one of the environment. */
  readonly by: string
}

/** Those that are being closed. */
export interface KickAnswer {
  readonly connections: readonly Kicked[]
}

/** `userId` is the user's key. */
interface Kicked { readonly userId: string, readonly connectionId: string }

/**
 * Records that connections are to be closed for good. The user actors close those that are still open then.
 *
 * @returns no connection where none is open that fits
 */
export async function kick (deps: KickDeps, command: KickCommand): Promise<KickAnswer> {
  const { log, tables } = deps
  const { app, userId, connectionId, reason, by } = command
  const partitions = log.partitions(ledger)
  const found = userId === ''
    ? await whoseIs(tables, partitions, connectionId)
    : routesOf(await tables.get('routing', partitionOf(userId, partitions), routingKey(userId)))
      .map(route => ({ userId, connectionId: route.connectionId }))
  const connections = found.filter(route =>
    appOf(route.userId) === app && (connectionId === '' || route.connectionId === connectionId))
  const users = new Set(connections.map(({ userId }) => userId))
  await Promise.all([...users].map(userId => {
    const entry: Entry = {
      userId,
      atMs: Date.now(),
      fact: {
        type: 'KickRequested', requestId: randomUUID(), connectionId, reason: reason || 'kicked by an operator', by,
      },
    }
    return log.append(ledger, partitionOf(userId, partitions), [entry])
  }))
  return { connections }
}

/** Nothing of a connection's id says in which partition its user is: each of them is asked. */
async function whoseIs (tables: IndexedTables, partitions: number, connectionId: string): Promise<Kicked[]> {
  const open = await connectionOf(tables, Array.from({ length: partitions }, (_, i) => i), connectionId)
  return open ? [{ userId: open.userId, connectionId }] : []
}
