import type { Cluster, Redis } from 'ioredis'
import type { Logger } from 'pino'
import { redisLinks } from '../actors/links-redis.js'
import { clusterSnapshots } from '../actors/snapshots-cluster.js'
import { redisSnapshots } from '../actors/snapshots-redis.js'
import type { RebuildableSnapshots } from '../actors/snapshots.js'
import type { KafkaLog } from '../ledger/kafka/log.js'
import { roomStatesName, statesName } from '../ledger/streams.js'
import { byTable } from '../projections/tables/by-table.js'
import { redisTables, type RedisTables } from '../projections/tables/redis.js'
import type { TableName } from '../projections/tables/tables.js'
import type { Health } from '../schemas/conditions.js'
import { downlinks, ledger, nodes, type Stream } from '../schemas/streams.js'
import { Closers } from './closers.js'
import { openClusterLog, retentionOf } from './cluster-log.js'
import type { Config } from './config.js'
import { downlinksGroup } from './downlinks.js'
import { RedisClock } from './redis-clock.js'
import { connectAll } from './redis-connections.js'
import { RedisLatency } from './redis-latency.js'
import type { LogObserver, Stores } from './stores.js'
import type { StreamCutting } from './stream-cut.js'
import { checkTopics } from './topic-record.js'

/** A connect waits for its answer for longer than this, and is refused only where that is known to be of no use. */
const awayMs = 2_000

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
  const closers = new Closers()
  try {
    return await open(config, logger, health, closers, observer)
  } catch (err) {
    await closers.close()
    throw err
  }
}

async function open (
  config: Config, logger: Logger, health: Health, closers: Closers, observer: LogObserver | undefined
): Promise<Stores> {
  const { topicPrefix: prefix, nodeId } = config
  const failed = (what: string, error: Error, fields: object) => { logger.error({ err: error, ...fields }, what) }
  const { kafka, log, format } = await openClusterLog(config, logger, health, observer)
  closers.add(() => log.close())
  const { redis, control, publisher, subscriber, circuits } = await connectAll(config, logger, health, closers)

  const latency = new RedisLatency(control)
  closers.add(() => { latency.stop() })
  const clock = new RedisClock(control)
  closers.add(() => { clock.stop() })
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
  for (const each of [nodeTables, userTables]) closers.add(() => { each.close() })
  const states = { kafka, redis, logger, health, closers }
  const snapshots = openSnapshots(states, statesName, prefix, '')
  const roomSnapshots = openSnapshots(states, roomStatesName, `${prefix}.rooms`, 'rooms ')
  const links = await redisLinks({ publisher, subscriber, prefix, nodeId, health, failed })
  closers.add(() => links.stop())
  return {
    log,
    tables,
    snapshots,
    roomSnapshots,
    links,
    shared: true,
    cutting: name => cuttingOf(kafka, control, retentionOf(config, name)),
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
    clockOff: () => clock.reason(),
    commits: () => 0, // brokers take what is sent side by side
    stopping () {}, // every wait on Kafka and Redis has its deadline
    delivered: () => kafka.delivered(),
    close: () => closers.close(),
  }
}

interface StatesDeps {
  readonly kafka: KafkaLog
  readonly redis: Redis | Cluster
  readonly logger: Logger
  readonly health: Health
  readonly closers: Closers
}

/**
 * States in a changelog, with their copy in Redis.
 *
 * @param prefix of the keys in Redis
 * @param words before the partition, where a condition names it
 */
function openSnapshots (
  { kafka, redis, logger, health, closers }: StatesDeps, name: string, prefix: string, words: string
): RebuildableSnapshots {
  const { identity } = kafka
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
  closers.add(() => { snapshots.close() })
  return snapshots
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
