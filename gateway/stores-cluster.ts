import type { Cluster, Redis } from 'ioredis'
import type { Logger } from 'pino'
import { redisLinks } from '../actors/links-redis.js'
import { clusterSnapshots } from '../actors/snapshots-cluster.js'
import { redisSnapshots } from '../actors/snapshots-redis.js'
import { isRecordStream, singleObjectFormat } from '../ledger/kafka/format.js'
import type { KafkaLog } from '../ledger/kafka/log.js'
import { openKafkaLog } from '../ledger/kafka/open.js'
import { ConfluentFormat, RegistryLog } from '../ledger/kafka/registry.js'
import type { EventLog } from '../ledger/log.js'
import { rejectedStream } from '../ledger/rejected.js'
import { asManyAsLedger, roomStatesName, statesName, streams } from '../ledger/streams.js'
import { byTable } from '../projections/tables/by-table.js'
import { redisTables, type RedisTables } from '../projections/tables/redis.js'
import type { TableName } from '../projections/tables/tables.js'
import type { Health } from '../schemas/conditions.js'
import { SchemaRegistry } from '../schemas/registry.js'
import { downlinks, ledger, nodes, rooms, type Stream } from '../schemas/streams.js'
import type { Config } from './config.js'
import { downlinksGroup } from './downlinks.js'
import { kafkaAccess, sendsPasswordInClear } from './kafka-access.js'
import { redisAccess } from './redis-access.js'
import { RedisCircuits } from './redis-circuits.js'
import { RedisLatency } from './redis-latency.js'
import { checkRedis } from './redis-refusals.js'
import { connectRedis, subscriberOf } from './redis.js'
import { redisNames } from './redis-url.js'
import { watchWrites } from './redis-writes.js'
import { registryAccess } from './registry-access.js'
import type { LogObserver, Stores } from './stores.js'
import type { StreamCutting } from './stream-cut.js'
import { checkTopics } from './topic-record.js'
import { retentionMsOf } from './topics.js'

/** A connect waits for its answer for longer than this, and is refused only where that is known to be of no use. */
const awayMs = 2_000

/** Of a new cluster. Nodes say little, and whoever looks at all of them has one place to look at. */
const nodesPartitions = 1

const tableStreams: Readonly<Record<TableName, Stream<any>>> = {
  presence: ledger, routing: ledger, connections: ledger, nodes,
}

/**
 * The log in Kafka; tables, snapshots and links in Redis.
 *
 * @throws where Kafka or Redis can't be reached, Kafka does not speak what is needed, or the schema registry refuses a
 *   schema of ours
 */
export async function openClusterStores (
  config: Config, logger: Logger, health: Health, observer?: LogObserver
): Promise<Stores> {
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const closers: Array<() => unknown> = []
  const close = async () => { for (const closer of closers.splice(0).reverse()) await closer() }
  try {
    return await open(config, logger, health, failed, closers, close, observer)
  } catch (err) {
    await close()
    throw err
  }
}

async function open (
  config: Config, logger: Logger, health: Health, failed: (what: string, error: Error, fields: object) => void,
  closers: Array<() => unknown>, close: () => Promise<void>, observer: LogObserver | undefined
): Promise<Stores> {
  const { topicPrefix: prefix, nodeId } = config
  const retentionOf = (stream: string) => {
    const ms = retentionMsOf(config, stream)
    return ms > 0 ? { retentionMs: ms } : {} // 0 is for ever
  }
  const format = await formatOf(config, health)
  if (sendsPasswordInClear(config)) {
    logger.warn({ settings: 'KAFKA_SASL_MECHANISM, KAFKA_SSL' }, 'the login to Kafka can be read by whoever is on the way')
  }
  const kafka = await openKafkaLog({
    ...kafkaAccess(config),
    brokers: config.kafkaBrokers,
    topicPrefix: prefix,
    clientId: config.kafkaClientId ?? nodeId,
    sendDeadlineMs: config.kafkaRequestTimeoutMs,
    sessionTimeoutMs: config.kafkaSessionTimeoutMs,
    groupInstanceId: config.kafkaGroupInstanceId,
    streams: streams.map(stream => ({
      stream,
      partitions: config.kafkaPartitions[stream.name] ?? (stream === nodes ? nodesPartitions : config.partitions),
      ...retentionOf(stream.name),
      ...(asManyAsLedger.includes(stream) ? { like: ledger } : {}),
      mayGrow: stream === downlinks,
      keepsAll: stream === ledger || stream === rooms,
    })),
    changelogs: [{ name: statesName, like: ledger }, { name: roomStatesName, like: rooms }],
    topics: {
      checkOnly: config.kafkaTopics === 'check',
      replicationFactor: config.kafkaReplicationFactor,
      minInsyncReplicas: config.kafkaMinInsyncReplicas,
      messageBytesMax: config.kafkaMessageBytesMax,
    },
    format: format ?? singleObjectFormat,
    timings: observer,
    onRejected (rejected) {
      logger.error(rejected, 'a stored record was set aside')
      observer?.rejected(rejected.stream)
    },
    health,
    failed,
  })
  const log: EventLog = format ? new RegistryLog(kafka, format) : kafka
  closers.push(() => log.close())

  const { redis, control, publisher, subscriber, circuits } = await connectAll(config, logger, health, closers)

  const latency = new RedisLatency(control)
  closers.push(() => { latency.stop() })
  await checkTopics(control, prefix, kafka.topics())
  const { identity } = kafka
  const endOf = async (stream: Stream<any>, partition: number) => (await log.bounds(stream, partition)).next
  const tablesOver = (connection: Redis | Cluster): RedisTables => redisTables(connection, {
    prefix,
    identity,
    partitions: table => log.partitions(tableStreams[table]),
    endOf: (table, partition) => endOf(tableStreams[table], partition),
    onSweepFailed: error => { failed('rows of old generations could not be removed', error as Error, {}) },
  })
  const nodeTables = tablesOver(control)
  const userTables = tablesOver(redis)
  const tables = byTable(table => table === 'nodes' ? nodeTables : userTables)
  for (const each of [nodeTables, userTables]) closers.push(() => { each.close() })
  const snapshotsOf = (name: string, prefix: string, words: string) => {
    const failedOf = (error: unknown, partition: number) => {
      health.begin('snapshots', (error as Error).message, `${words}partition ${partition}`)
    }
    const savedOf = (partition: number) => { health.end('snapshots', `${words}partition ${partition}`) }
    const snapshots = clusterSnapshots({
      changelog: kafka.changelog(name),
      copy: redisSnapshots(redis, { prefix, identity, onFailed: failedOf, onSaved: savedOf }),
      identity,
      onFailed: failedOf,
      onSaved: savedOf,
      onFilled: (partition, what, ms) => {
        const from = what === 'copy' ? 'Redis from Kafka' : 'Kafka from Redis'
        logger.info({ topic: name, partition, ms: Math.round(ms) }, `saved states were copied to ${from}`)
      },
    })
    closers.push(() => { snapshots.close() })
    return snapshots
  }
  const snapshots = snapshotsOf(statesName, prefix, '')
  const roomSnapshots = snapshotsOf(roomStatesName, `${prefix}.rooms`, 'rooms ')
  const links = await redisLinks({ publisher, subscriber, prefix, nodeId, health, failed })
  closers.push(() => links.stop())
  return {
    log,
    tables,
    snapshots,
    roomSnapshots,
    links,
    shared: true,
    cutting: name => cuttingOf(kafka, control, retentionOf(name)),
    groupPlaces: kafka.groupPlaces,
    groups: () => [{
      group: downlinksGroup,
      stream: downlinks,
      partitions: new Map(kafka.lag(downlinksGroup).map(({ partition, next }) => [partition, next])),
    }],
    standing: () => kafka.standing(),
    logAway: () => kafka.away(),
    usersAway: () => circuits.users.some(({ openMs }) => openMs > awayMs) ? 'Redis does not answer' : '',
    circuits: () => [kafka.circuit(), ...circuits.all.flatMap(each => each.all()), ...format ? [format.circuit] : []],
    slowDisk: () => '',
    slowRedis: () => latency.reason(),
    commits: () => 0, // brokers take what is sent side by side
    stopping () {}, // every wait on Kafka and Redis has its deadline
    delivered: () => kafka.delivered(),
    close,
  }
}

/**
 * What the brokers would delete without asking anybody.
 *
 * @param redis whose clock tells when ours is ahead
 */
function cuttingOf (
  log: KafkaLog, redis: Redis | Cluster, { retentionMs }: { retentionMs?: number }
): StreamCutting | undefined {
  if (retentionMs === undefined) return undefined
  return {
    log,
    retentionMs,
    async nowMs () {
      const [seconds] = await redis.time()
      return Math.min(Date.now(), Number(seconds) * 1_000)
    },
  }
}

/** What is closed by `closers`, and tells `health` while it is not connected, is not answered, or to a replica. */
async function connectAll (config: Config, logger: Logger, health: Health, closers: Array<() => unknown>) {
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
    closers.push(() => {
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
    closers.push(() => { circuits.stop() })
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
  closers.push(unwatch)
  return {
    redis, control, publisher, subscriber, circuits: { all: [tables, nodeTable, links], users: [tables, links] },
  }
}

/** With its schemas registered; undefined where there is no registry. */
async function formatOf (config: Config, health: Health): Promise<ConfluentFormat | undefined> {
  const { schemaRegistryUrl, topicPrefix } = config
  if (schemaRegistryUrl === undefined) return undefined
  const records = [...streams, ...streams.map(rejectedStream)].filter(isRecordStream)
  const registry = new SchemaRegistry(schemaRegistryUrl, registryAccess(config))
  return await ConfluentFormat.open(registry, topicPrefix, records, health)
}
