import { Cluster, type ClusterOptions } from './cluster.js'
import { deleteTo } from './cutting.js'
import { checkGroup } from './groups.js'
import { deniedTopics, deniedTransactions, type NeedsOfTopic } from './rights.js'
import { policySetting, retentionSettings } from './topic-settings.js'
import { reach } from './topics.js'
import { checkWire } from './wire-check.js'
import { errorName } from './wire.js'

export interface InspectOptions extends ClusterOptions {
  /** HOST:PORT. */
  readonly brokers: readonly string[]
  readonly topics: readonly NeedsOfTopic[]
  /** Those of which a node deletes records. */
  readonly deletedFrom: readonly string[]
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
  /** Why this user may not delete records of a topic that is there; one sentence each. */
  readonly deniedDeletions: readonly string[]
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
const settingNames = [policySetting, 'max.message.bytes', 'min.insync.replicas', ...retentionSettings]

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
    // One that is compacted takes no deletion, which its policy tells.
    const deletedFrom = options.deletedFrom.filter(topic =>
      there.includes(topic) && settings.get(topic)?.get(policySetting)?.includes('compact') !== true)
    cluster.topics.know(deletedFrom)
    cluster.topics.learn(topicMetadata)
    return {
      brokers: cluster.brokers,
      topics: inOrder(names, topicMetadata).map(({ topic, topicErrorCode, partitionMetadata }) => ({
        topic,
        error: topicErrorCode === 0 ? '' : errorName(topicErrorCode),
        partitions: partitionMetadata.length,
        replicas: Math.min(...partitionMetadata.map(({ replicas = 0 }) => replicas)),
        settings: settings.get(topic) ?? new Map(),
      })),
      deniedGroups: await deniedOf(options.groups, group => checkGroup(cluster, group)),
      deniedRights: denied.filter(sentence => sentence !== ''),
      deniedDeletions: await deniedOf(deletedFrom, topic => deleteTo(cluster, topic, 0, 0n)),
    }
  } finally {
    cluster.close()
  }
}

function inOrder<T extends { readonly topic: string }> (names: readonly string[], topics: readonly T[]): T[] {
  return [...topics].sort((a, b) => names.indexOf(a.topic) - names.indexOf(b.topic))
}

async function deniedOf (names: readonly string[], attempt: (name: string) => Promise<void>): Promise<string[]> {
  const denied: string[] = []
  for (const name of names) await attempt(name).catch((err: Error) => { denied.push(err.message) })
  return denied
}
