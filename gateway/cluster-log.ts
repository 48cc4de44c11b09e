import type { Logger } from 'pino'
import { isRecordStream, singleObjectFormat } from '../ledger/kafka/format.js'
import type { KafkaLog } from '../ledger/kafka/log.js'
import { openKafkaLog } from '../ledger/kafka/open.js'
import { ConfluentFormat, RegistryLog } from '../ledger/kafka/registry.js'
import type { EventLog } from '../ledger/log.js'
import { rejectedStream } from '../ledger/rejected.js'
import { asManyAsLedger, roomStatesName, statesName, streams } from '../ledger/streams.js'
import type { Health } from '../schemas/conditions.js'
import { SchemaRegistry } from '../schemas/registry.js'
import { downlinks, ledger, nodes, rooms } from '../schemas/streams.js'
import type { Config } from './config.js'
import { kafkaAccess, sendsPasswordInClear } from './kafka-access.js'
import { registryAccess } from './registry-access.js'
import type { LogObserver } from './stores.js'
import { retentionMsOf } from './topics.js'

/** Of a new cluster. Nodes say little, and whoever looks at all of them has one place to look at. */
const nodesPartitions = 1

export interface ClusterLog {
  readonly kafka: KafkaLog
  /** `kafka`, with the records of writers whose schemas are in a registry, where there is one. */
  readonly log: EventLog
  /** Undefined without a registry. */
  readonly format: ConfluentFormat | undefined
}

/**
 * The streams in Kafka, as the node is configured.
 *
 * @throws as `openKafkaLog`, and where the registry refuses a schema
 */
export async function openClusterLog (
  config: Config, logger: Logger, health: Health, observer: LogObserver | undefined
): Promise<ClusterLog> {
  const format = await formatOf(config, health)
  if (sendsPasswordInClear(config)) {
    logger.warn({ settings: 'KAFKA_SASL_MECHANISM, KAFKA_SSL' }, 'the login to Kafka can be read by whoever is on the way')
  }
  const kafka = await openKafkaLog({
    ...kafkaAccess(config),
    brokers: config.kafkaBrokers,
    topicPrefix: config.topicPrefix,
    clientId: config.kafkaClientId ?? config.nodeId,
    sendDeadlineMs: config.kafkaRequestTimeoutMs,
    sessionTimeoutMs: config.kafkaSessionTimeoutMs,
    groupInstanceId: config.kafkaGroupInstanceId,
    streams: streams.map(stream => ({
      stream,
      partitions: config.kafkaPartitions[stream.name] ?? (stream === nodes ? nodesPartitions : config.partitions),
      ...retentionOf(config, stream.name),
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
    failed (what, err, fields) { logger.error({ err, ...fields }, what) },
  })
  return { kafka, log: format ? new RegistryLog(kafka, format) : kafka, format }
}

/** Of a stream by its name; nothing where it is kept for ever. */
export function retentionOf (config: Config, stream: string): { readonly retentionMs?: number } {
  const retentionMs = retentionMsOf(config, stream)
  return retentionMs > 0 ? { retentionMs } : {} // 0 is for ever
}

/** With its schemas registered; undefined where there is no registry. */
async function formatOf (config: Config, health: Health): Promise<ConfluentFormat | undefined> {
  const { schemaRegistryUrl, topicPrefix } = config
  if (schemaRegistryUrl === undefined) return undefined
  const records = [...streams, ...streams.map(rejectedStream)].filter(isRecordStream)
  const registry = new SchemaRegistry(schemaRegistryUrl, registryAccess(config))
  return await ConfluentFormat.open(registry, topicPrefix, records, health)
}
