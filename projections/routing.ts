import type { Entry } from '../schemas/facts.js'
import { ClosedConnections } from './closed.js'
import type { Projection } from './projection.js'
import { bucketOf, nodePrefix, nodesKey, parseNode, userPrefix } from './tables/route-index.js'
import { put, remove, type IndexedTables, type Tables } from './tables/tables.js'

/** A field of a routing row, named by its connection id. There is one for each open connection, so it is small. */
export interface Route {
  readonly nodeId: string
  /** Tells the connections of a node that restarted from those that it has now. */
  readonly nodeEpoch: number
  readonly platform: string
  readonly deviceId: string
}

/**
 * Table `routing`: `user:<userId>` -> connection id -> route. A route is removed by connection id, never by user.
 *
 * The rows by node and by connection are no work of the projection: `ConnectionClosed` does not say on which node the
 * connection was. The store knows, and keeps them (tables/route-index.ts).
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
  return userPrefix + userId
}

/** @param fields the user's row of table `routing` */
export function routesOf (fields: ReadonlyMap<string, any>): ({ connectionId: string } & Route)[] {
  return Array.from(fields, ([connectionId, route]: [string, Route]) => ({ connectionId, ...route }))
}

/** An open connection, its user and the user's partition. */
export interface OpenConnection { readonly partition: number, readonly userId: string, readonly connectionId: string }

/** What tells one node, from one start to the next, from all others. */
export type NodeLife = Pick<Route, 'nodeId' | 'nodeEpoch'>

/**
 * The open connections of nodes, and of no others: what is read goes with how many those have, and with how many nodes
 * there are.
 *
 * @param isWanted asked of each node and epoch that has connections open, maybe more than once
 */
export async function * connectionsOf (
  tables: IndexedTables, partitions: readonly number[], isWanted: (node: NodeLife) => boolean
): AsyncGenerator<OpenConnection> {
  const unindexed = await tables.index('routing', partitions)
  const indexed = partitions.filter(partition => !unindexed.includes(partition))
  const rows = await Promise.all(indexed.map(async partition =>
    [partition, await tables.get('routing', partition, nodesKey)] as const))
  for (const [partition, nodes] of rows) {
    for (const node of nodes.keys()) {
      if (!isWanted(parseNode(node))) continue
      const connections: ReadonlyMap<string, string> = await tables.get('routing', partition, nodePrefix + node)
      for (const [connectionId, userId] of connections) yield { partition, userId, connectionId }
    }
  }
  if (unindexed.length > 0) yield * walk(tables, new Set(unindexed), isWanted)
}

/** @returns undefined where no such connection is open */
export async function connectionOf (
  tables: IndexedTables, partitions: readonly number[], connectionId: string
): Promise<OpenConnection | undefined> {
  const unindexed = await tables.index('routing', partitions)
  const users = await Promise.all(partitions.filter(partition => !unindexed.includes(partition)).map(async partition =>
    ({ partition, userId: (await tables.get('routing', partition, bucketOf(connectionId))).get(connectionId) })))
  for (const { partition, userId } of users) if (userId !== undefined) return { partition, userId, connectionId }
  if (unindexed.length === 0) return undefined
  for await (const open of walk(tables, new Set(unindexed), () => true)) {
    if (open.connectionId === connectionId) return open
  }
  return undefined
}

/** Past all that others have in these partitions, and of the table elsewhere. */
async function * walk (
  tables: Tables, partitions: ReadonlySet<number>, isWanted: (node: NodeLife) => boolean
): AsyncGenerator<OpenConnection> {
  for await (const { partition, key, fields } of tables.scan('routing')) {
    if (!partitions.has(partition) || !key.startsWith(userPrefix)) continue
    const userId = key.slice(userPrefix.length)
    for (const { connectionId, ...route } of routesOf(fields)) {
      if (isWanted(route)) yield { partition, userId, connectionId }
    }
  }
}
