import { Cluster, Redis, type CommonRedisOptions } from 'ioredis'
import type { RedisAccess } from './redis-access.js'
import { refusalOf } from './redis-refusals.js'
import { type ParsedRedisUrl, redisNames, redisUrl } from './redis-url.js'

export interface RedisOptions extends RedisAccess {
  /** A command without an answer by then fails; it may take effect all the same. */
  readonly commandTimeoutMs?: number
  /** Bound of one attempt to connect. */
  readonly connectTimeoutMs?: number
  /** How long the first connection is tried for. */
  readonly firstConnectMs?: number
  /** The connection failed, at most about once a second; it is tried again by itself. */
  readonly onError?: (error: Error) => void
}

/**
 * A connection to Redis, connected. It reconnects by itself for ever; commands meanwhile fail at once, for nothing is
 * queued: whoever writes keeps what is not written, and knows in which order it goes.
 *
 * @throws when Redis can not be reached within `firstConnectMs`, and RedisNotAdmitted at once when it lets nobody in
 *   who comes like this; the message names the hosts and no password
 */
export async function connectRedis (url: string, options: RedisOptions = {}): Promise<Redis | Cluster> {
  const parsed = redisUrl(url)
  if (!parsed) throw new Error('not the URL of a Redis')
  const { onError = () => {}, firstConnectMs = 10_000 } = options
  return await connected(unconnected(parsed, options), redisNames(url), firstConnectMs, onError)
}

/**
 * A connection of its own for what `redis` has subscribed to, connected: with RESP2 a connection with subscriptions
 * takes no other commands, and the answers to commands would wait behind the messages. In a cluster it has one
 * connection to every master, for sharded channels.
 */
export async function subscriberOf (redis: Redis | Cluster, options: RedisOptions = {}): Promise<Redis | Cluster> {
  const { onError = () => {}, firstConnectMs = 10_000 } = options
  const subscriber = redis instanceof Cluster
    ? redis.duplicate([], { shardedSubscribers: true })
    : redis.duplicate(patient)
  return await connected(subscriber, 'the subscriber', firstConnectMs, onError)
}

/**
 * After a reconnect ioredis subscribes anew by itself, and nobody hears of a failure of that: an attempt that did not
 * fail for good is the only one that does not end the process with an unhandled rejection.
 */
const patient = {
  enableOfflineQueue: true,
  maxRetriesPerRequest: null,
  autoResendUnfulfilledCommands: true,
  commandTimeout: undefined,
  socketTimeout: undefined,
}

function unconnected (parsed: ParsedRedisUrl, options: RedisOptions): Redis | Cluster {
  const { kind, nodes, tls, db, masterName } = parsed
  const { commandTimeoutMs = 2_000, connectTimeoutMs = 5_000, sentinelUsername, sentinelPassword } = options
  const username = parsed.username ?? options.username
  const password = parsed.password ?? options.password
  const secure = tls ? { tls: options.tls ?? {} } : {}
  const node: CommonRedisOptions & { tls?: object } = {
    commandTimeout: commandTimeoutMs,
    connectTimeout: connectTimeoutMs,
    // A server that is frozen keeps its connections, and what is written to it would pile up in memory.
    socketTimeout: 2 * commandTimeoutMs,
    // A command without an answer when the connection ends fails then: its writer goes back and tries again in order.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // The address now leads to a replica: a failover has taken place.
    reconnectOnError: err => err.message.startsWith('READONLY'),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...secure,
  }
  const queueless = { enableOfflineQueue: false, lazyConnect: true }
  if (kind === 'cluster') {
    return new Cluster([...nodes], {
      ...queueless,
      clusterRetryStrategy: backoff,
      redisOptions: node,
      // Names are resolved by each connection, which can tell whom the certificate must be for.
      dnsLookup: (address, callback) => { callback(null, address) },
      // Fail at once, as without a cluster. A command that is sent again after a while is overtaken by later ones.
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
    })
  }
  if (kind === 'single') return new Redis({ ...queueless, ...node, ...nodes[0]!, db, retryStrategy: backoff })
  return new Redis({
    ...queueless,
    ...node,
    db,
    retryStrategy: backoff,
    sentinels: [...nodes],
    name: masterName!,
    enableTLSForSentinelMode: tls,
    ...(tls ? { sentinelTLS: options.tls ?? {} } : {}),
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    sentinelCommandTimeout: commandTimeoutMs,
    sentinelRetryStrategy: backoff,
  })
}

function isTls (redis: Redis | Cluster): boolean {
  const options: { tls?: unknown, redisOptions?: { tls?: unknown } } = redis.options
  return options.tls !== undefined || options.redisOptions?.tls !== undefined
}

function backoff (attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), 1_000) * (0.5 + Math.random() / 2)
}

async function connected<T extends Redis | Cluster> (
  redis: T, where: string, withinMs: number, onError: (error: Error) => void
): Promise<T> {
  let cause: Error | undefined
  let refuse = (_refusal: Error) => {}
  const failed = (error: Error) => {
    cause = error.message === 'Connection is closed.' ? cause ?? error : error
    const refusal = refusalOf(error, where)
    if (refusal) refuse(refusal)
    onError(refusal ?? error)
  }
  redis.on('error', failed) // without a listener it would be printed to the console
  if (redis instanceof Cluster) {
    redis.on('node error', failed)
    // Left alone, a node is connected by its first command, and those behind it fail. Not before the cluster is ready:
    // what asks for that takes any node, and refuses one that is still being connected.
    const connect = (node: Redis) => { if (node.status === 'wait') node.connect().catch(() => {}) }
    redis.on('+node', (node: Redis) => { if (redis.status === 'ready') connect(node) })
    redis.on('ready', () => { redis.nodes('all').forEach(connect) })
  }
  redis.connect().catch(() => {}) // it goes on trying, and says why in `error`
  await new Promise<void>((resolve, reject) => {
    const giveUp = (why: Error) => {
      clearTimeout(timer)
      redis.disconnect()
      reject(why)
    }
    const timer = setTimeout(() => {
      const hint = isTls(redis) && /ETIMEDOUT|ECONNRESET/.test((cause as NodeJS.ErrnoException | undefined)?.code ?? '')
        ? ', which is how a port without TLS answers, too'
        : ''
      const why = cause === undefined ? '' : `: ${cause.message}${hint}`
      giveUp(new Error(`Redis at ${where}: not reached within ${withinMs} ms${why}`, { cause }))
    }, withinMs)
    refuse = giveUp
    redis.once('ready', () => {
      clearTimeout(timer)
      resolve()
    })
  }).finally(() => { refuse = () => {} })
  if (redis instanceof Cluster) await Promise.all(redis.nodes('master').map(async node => await node.ping()))
  return redis
}
