import type { Cluster, Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { Health } from '../schemas/conditions.js'
import type { Closers } from './closers.js'
import type { Config } from './config.js'
import { redisAccess } from './redis-access.js'
import { RedisCircuits } from './redis-circuits.js'
import { checkRedis } from './redis-refusals.js'
import { connectRedis, subscriberOf } from './redis.js'
import { redisNames } from './redis-url.js'
import { watchWrites } from './redis-writes.js'

/** All connections of a node to Redis. */
export interface RedisConnections {
  /** For tables and states of users. */
  readonly redis: Redis | Cluster
  /** For the node table. */
  readonly control: Redis | Cluster
  /** For links. */
  readonly publisher: Redis | Cluster
  readonly subscriber: Redis | Cluster
  /** Before all of these, and before those that user actors can't do without. */
  readonly circuits: { readonly all: readonly RedisCircuits[], readonly users: readonly RedisCircuits[] }
}

/** Connections tell `health` while they are not connected, not answered, or connected to a replica. */
export async function connectAll (
  config: Config, logger: Logger, health: Health, closers: Closers
): Promise<RedisConnections> {
  const { topicPrefix: prefix } = config
  const url = config.redisUrl!
  let lastError = ''
  const onError = (error: Error) => {
    lastError = error.message
    logger.debug({ err: error }, 'the connection to Redis failed')
  }
  const watched = <T extends Redis | Cluster>(connection: T, what: string): T => {
    let closing = false
    connection.on('close', () => { if (!closing) health.begin('redis', `not connected to Redis: ${lastError}`, what) })
    connection.on('ready', () => { health.end('redis', what) })
    closers.add(() => {
      closing = true
      connection.disconnect()
    })
    return connection
  }
  const guard = (connection: Redis | Cluster, what: string, dependency: string): RedisCircuits => {
    const instance = (server: string) => server === '' ? what : `${what}, ${server}`
    const circuits = new RedisCircuits(connection, {
      dependency,
      away (server, reason) { health.begin('redis', `Redis does not answer: ${reason}`, instance(server)) },
      back (server) { health.end('redis', instance(server)) },
    })
    closers.add(() => { circuits.stop() })
    return circuits
  }
  const options = { ...redisAccess(config), onError }
  const redis = watched(await connectRedis(url, options), 'tables')
  const tables = guard(redis, 'tables', 'redis-tables')
  await checkRedis(redis, prefix, redisNames(url))
  // Leases of nodes, and messages, must not wait behind what clients' traffic writes.
  const control = watched(await connectRedis(url, options), 'node table')
  const nodeTable = guard(control, 'node table', 'redis-nodes')
  const publisher = watched(await connectRedis(url, options), 'links, out')
  const links = guard(publisher, 'links, out', 'redis-links')
  // It sends nothing but what it listens to, which is asked for until it is heard.
  const subscriber = watched(await subscriberOf(publisher, options), 'links, in')
  const master = 'the master of Redis'
  const unwatch = watchWrites(publisher, {
    prefix,
    demoted: reason => {
      health.begin('redis', `connected to a replica, which was the master: ${reason}`, master)
      subscriber.disconnect(true)
    },
    writable: () => { health.end('redis', master) },
  })
  closers.add(unwatch)
  return {
    redis, control, publisher, subscriber, circuits: { all: [tables, nodeTable, links], users: [tables, links] },
  }
}
