import type { Entry } from '../schemas/facts.js'
import { ClosedConnections } from './closed.js'
import type { Projection } from './projection.js'
import { put, remove } from './tables/tables.js'

/** A field of a routing row, named by its connection id. There is one for each open connection, so it is small. */
export interface Route {
  readonly nodeId: string
  /** Tells the connections of a node that restarted from those that it has now. */
  readonly nodeEpoch: number
  readonly platform: string
  readonly deviceId: string
}

const prefix = 'user:'

/**
 * Table `routing`: `user:<userId>` -> connection id -> route. A route is removed by connection id, never by user.
 *
 * There are no rows by node: `ConnectionClosed` does not say on which node the connection was, so such a row could
 * never be trimmed, and it would double the cost of an idle connection for a question that is asked only when a node is
 * lost or restarts. `openRoutes` answers it by one scan.
 */
export const routing: Projection<Entry> = {
  table: 'routing',
  concerns: ({ fact }) => fact.type === 'ConnectionOpened' || fact.type === 'ConnectionClosed',
  * project ({ userId, fact }) {
    switch (fact.type) {
      case 'ConnectionOpened': {
        const { nodeId, nodeEpoch, platform, deviceId } = fact
        const route: Route = { nodeId, nodeEpoch, platform, deviceId }
        yield put(routingKey(userId), fact.connectionId, route)
        break
      }
      case 'ConnectionClosed': yield remove(routingKey(userId), fact.connectionId); break
    }
  },
  memory: (tables, partition) => ClosedConnections.load('routing', tables, partition),
}

/** The key of the user's row, in the user's partition. */
export function routingKey (userId: string): string {
  return prefix + userId
}

/** @param fields the user's row of table `routing` */
export function routesOf (fields: ReadonlyMap<string, any>): ({ connectionId: string } & Route)[] {
  return Array.from(fields, ([connectionId, route]: [string, Route]) => ({ connectionId, ...route }))
}

/** An open connection with its route, its user and the user's partition. */
export type OpenRoute = Route & { readonly partition: number, readonly userId: string, readonly connectionId: string }

/**
 * Every connection that the table shows open, for whoever must close those of a node, or knows a connection and not its
 * user.
 *
 * @param rows `tables.scan('routing')`
 */
export async function * openRoutes (
  rows: AsyncIterable<{ partition: number, key: string, fields: ReadonlyMap<string, any> }>
): AsyncGenerator<OpenRoute> {
  for await (const { partition, key, fields } of rows) {
    if (!key.startsWith(prefix)) continue
    const userId = key.slice(prefix.length)
    for (const route of routesOf(fields)) yield { partition, userId, ...route }
  }
}
