import { Cluster, type ClusterOptions } from './cluster.js'
import { checkGroup } from './groups.js'
import { deniedTopics, deniedTransactions, type NeedsOfTopic } from './rights.js'
import { reach } from './topics.js'
import { checkWire } from './wire-check.js'
import { errorName } from './wire.js'

export interface InspectOptions extends ClusterOptions {
  /** HOST:PORT. */
  readonly brokers: readonly string[]
  readonly topics: readonly NeedsOfTopic[]
  readonly groups: readonly string[]
  /** One of each kind. */
  readonly transactionalIds: readonly string[]
}

/** What the brokers say of what a node needs; nothing is changed. */
export interface Inspected {
  readonly brokers: number
  readonly topics: readonly InspectedTopic[]
  /** Why this user may not be a member of a group; one sentence each. */
  readonly deniedGroups: readonly string[]
  /** What else this user lacks; one sentence each. */
  readonly deniedRights: readonly string[]
}

export interface InspectedTopic {
  readonly topic: string
  /** Kafka's name of an error; empty for none. */
  readonly error: string
  readonly partitions: number
  /** Of the partition that has fewest. */
  readonly replicas: number
  /** By name; empty where they may not be described. */
  readonly settings: ReadonlyMap<string, string>
}

/** Settings that the topics of a node are judged by. */
const settingNames = ['cleanup.policy', 'max.message.bytes', 'min.insync.replicas', 'retention.ms']

/** @throws Error where no broker answers within 10 s; UnsupportedBroker, NotAdmitted */
export async function inspectKafka (options: InspectOptions): Promise<Inspected> {
  await checkWire()
  const cluster = new Cluster(options.brokers, options)
  try {
    await reach(cluster, options.brokers)
    const names = options.topics.map(({ topic }) => topic)
    const { topicMetadata } = await cluster.describe(names)
    const there = topicMetadata.filter(({ topicErrorCode }) => topicErrorCode === 0).map(({ topic }) => topic)
    const settings = await cluster.settings(there, settingNames)
    const denied = [...(await deniedTopics(cluster, options.topics)).values()]
    for (const id of options.transactionalIds) denied.push(await deniedTransactions(cluster, id))
    return {
      brokers: cluster.brokers,
      topics: inOrder(names, topicMetadata).map(({ topic, topicErrorCode, partitionMetadata }) => ({
        topic,
        error: topicErrorCode === 0 ? '' : errorName(topicErrorCode),
        partitions: partitionMetadata.length,
        replicas: Math.min(...partitionMetadata.map(({ replicas = 0 }) => replicas)),
        settings: settings.get(topic) ?? new Map(),
      })),
      deniedGroups: await deniedOf(cluster, options.groups),
      deniedRights: denied.filter(sentence => sentence !== ''),
    }
  } finally {
    cluster.close()
  }
}

function inOrder<T extends { readonly topic: string }> (names: readonly string[], topics: readonly T[]): T[] {
  return [...topics].sort((a, b) => names.indexOf(a.topic) - names.indexOf(b.topic))
}

async function deniedOf (cluster: Cluster, groups: readonly string[]): Promise<string[]> {
  const denied: string[] = []
  for (const group of groups) await checkGroup(cluster, group).catch((err: Error) => { denied.push(err.message) })
  return denied
}
