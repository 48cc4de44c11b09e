import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from './cluster.js'
import { NoAnswer, NotAdmitted, NotSetUp, UnsupportedBroker } from './no-answer.js'
import { type NeedsOfTopic, prefixOf } from './rights.js'
import { judge, judgeError, tellCode } from './verdicts.js'
import { createTopics, type Metadata, type NewTopic } from './wire.js'

export interface WantedTopic extends NeedsOfTopic {
  readonly partitions: number
  /** How long records are kept; for ever where it is left out. */
  readonly retentionMs?: number
  readonly config?: Readonly<Record<string, string>>
  /** The topic that it must have as many partitions as, for what belongs together is in partitions of one number. */
  readonly like?: string
  /** Its entries need not stay in the partition that they were placed in. */
  readonly mayGrow?: boolean
  /** Brokers delete nothing of it by themselves. */
  readonly keepsAll?: boolean
}

/** How topics come to be that are not there. */
export interface TopicPolicy {
  /** True where a node says which are absent, and creates none. */
  readonly checkOnly?: boolean
  /** By default 3, or as many as there are brokers. */
  readonly replicationFactor?: number | undefined
  /** By default 2 where there are three replicas. */
  readonly minInsyncReplicas?: number | undefined
  /** By default above what one block may take. */
  readonly messageBytesMax?: number | undefined
}

const replicasMax = 3
const reachMs = 10_000
const createMs = 30_000
const busyMs = 30_000
const createPauseMs = 250
const alreadyExists = 36
const unknownTopic = 3
const topicDenied = 29
const clusterDenied = 31

const messageBytesDefault = 8 << 20

/**
 * Waits for a broker.
 *
 * @throws Error naming the addresses when none answers within 10 s, UnsupportedBroker or NotAdmitted at once
 */
export async function reach (cluster: Cluster, brokers: readonly string[]): Promise<void> {
  for (const end = Date.now() + reachMs; ; await sleep(250)) {
    try {
      return await cluster.refresh()
    } catch (err) {
      if (err instanceof UnsupportedBroker || err instanceof NotAdmitted) throw err
      if (Date.now() < end) continue
      throw new Error(`Kafka: no broker of ${brokers.join(', ')} answered within ${reachMs / 1000} s: ` +
        (err as Error).message, { cause: err })
    }
  }
}

/**
 * For a node that starts: a broker that has answered before may be busy for a while, perhaps with the very topics that
 * the node has it create. What got no answer is asked again, for half a minute.
 *
 * @param question may be asked again whatever became of it
 */
export async function patiently<T> (question: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + busyMs; ; await sleep(250)) {
    try {
      return await question()
    } catch (err) {
      if (!(err instanceof NoAnswer) || err instanceof NotAdmitted || Date.now() > end) throw err
    }
  }
}

/**
 * Creates the topics that are absent, and waits until each partition of all has a leader: a slow cluster takes minutes
 * for hundreds of them, so it is waited for as long as more of them appear. A topic that exists stays as it is.
 *
 * @throws NotSetUp when one is absent and `checkOnly` is set, may not be seen or created, or has another number of
 *   partitions than the one it is `like`; Error when the cluster refuses to create one for another reason, or a
 *   partition is without a leader and for 30 s no other one got one; NoAnswer when no broker has answered
 */
export async function ensureTopics (
  cluster: Cluster, wanted: readonly WantedTopic[], policy: TopicPolicy = {}
): Promise<void> {
  await ensureAll(cluster, wanted.filter(({ like }) => like === undefined), policy)
  const dependent = wanted.flatMap(({ like, ...topic }) =>
    like === undefined ? [] : [{ ...topic, like, partitions: cluster.partitions(like) }])
  await ensureAll(cluster, dependent, policy)
  for (const { topic, like, partitions } of dependent) {
    const got = cluster.partitions(topic)
    if (got === partitions) continue
    throw new NotSetUp(`Kafka topic ${topic} has ${got} partitions, want ${partitions}, as ${like} has, ` +
      'for a user is in the same partition of both: delete it to have it created anew, or set another LEDGERLINE_TOPIC_PREFIX')
  }
}

async function ensureAll (cluster: Cluster, wanted: readonly WantedTopic[], policy: TopicPolicy): Promise<void> {
  if (wanted.length === 0) return
  const names = wanted.map(({ topic }) => topic)
  const { topicMetadata } = await cluster.describe(names)
  refuseDenied(topicMetadata)
  cluster.topics.know(names, new Set(wanted.filter(({ mayGrow }) => mayGrow).map(({ topic }) => topic)))
  const absent = wanted.filter(({ topic }) =>
    topicMetadata.some(found => found.topic === topic && found.topicErrorCode === unknownTopic))
  if (absent.length > 0 && policy.checkOnly) throw notThere(absent)
  if (absent.length > 0) await create(cluster, absent, policy)
  let most = 0
  for (let end = Date.now() + createMs; ; await sleep(50)) {
    await cluster.refresh()
    const leaderless = names.find(topic => leadersOf(cluster, topic) < Math.max(1, cluster.partitions(topic)))
    if (leaderless === undefined) return
    const led = names.reduce((sum, topic) => sum + leadersOf(cluster, topic), 0)
    if (led > most) end = Date.now() + createMs
    if (Date.now() > end) throw new Error(`Kafka topic ${leaderless}: a partition has no leader`)
    most = Math.max(most, led)
  }
}

/**
 * For who only reads: makes the topics known that there are.
 *
 * @throws Error when there is none of them
 */
export async function findTopics (cluster: Cluster, names: readonly string[]): Promise<void> {
  cluster.topics.know(names)
  refuseDenied((await cluster.describe(names)).topicMetadata)
  await cluster.refresh()
  if (names.every(topic => cluster.partitions(topic) === 0)) {
    throw new Error(`Kafka has none of the topics ${names.join(', ')}; LEDGERLINE_TOPIC_PREFIX names others`)
  }
}

function notThere (absent: readonly WantedTopic[]): NotSetUp {
  const topics = absent.map(({ topic, partitions, config = {} }) => {
    const settings = Object.entries({ partitions, ...config }).map(([name, value]) => `${name}=${value}`)
    return `${topic} (${settings.join(', ')})`
  })
  return new NotSetUp(`Kafka topics are not there, and KAFKA_TOPICS=check leaves them to you: create ${topics.join('; ')}`)
}

async function create (
  cluster: Cluster, wanted: readonly WantedTopic[], { minInsyncReplicas, messageBytesMax, ...policy }: TopicPolicy
): Promise<void> {
  const replicationFactor = policy.replicationFactor ?? Math.min(replicasMax, cluster.brokers)
  const inSync = minInsyncReplicas ?? (replicationFactor >= replicasMax ? 2 : undefined)
  const topics = wanted.map(({ topic, partitions, retentionMs, config = {} }) => ({
    topic,
    numPartitions: partitions,
    replicationFactor,
    configEntries: Object.entries({
      'retention.ms': `${retentionMs ?? -1}`,
      'max.message.bytes': `${messageBytesMax ?? messageBytesDefault}`,
      // Producers outside may compress as they like: the broker undoes it, so that each reader here can read it.
      'compression.type': 'uncompressed',
      ...(inSync === undefined ? {} : { 'min.insync.replicas': `${inSync}` }),
      ...config,
    }).map(([name, value]) => ({ name, value })),
  }))
  let left = topics
  for (const end = Date.now() + createMs; ; await sleep(createPauseMs)) {
    const refusals = await createOnce(cluster, left)
    if (refusals.size === 0) return
    left = topics.filter(({ topic }) => refusals.has(topic))
    if (Date.now() > end) throw new Error(`Kafka: not created: ${[...refusals.values()].join('; ')}`)
    await cluster.refresh().catch(() => {}) // another one may be the controller
  }
}

/**
 * @returns why topics were not created that may be when they are asked for again
 * @throws NotSetUp for those that never will be
 */
async function createOnce (
  cluster: Pick<Cluster, 'connection' | 'controllerNode'>, topics: readonly NewTopic[]
): Promise<Map<string, string>> {
  const refusals = new Map<string, string>()
  try {
    const connection = await cluster.connection(cluster.controllerNode, 'questions')
    const { topicErrors } = await connection.send(createTopics, { topics, timeout: createMs }, createMs)
    for (const { topic, errorCode, errorMessage } of topicErrors) {
      if (errorCode === 0 || errorCode === alreadyExists) continue // another process was faster
      if (errorCode === topicDenied || errorCode === clusterDenied) {
        const { numPartitions } = topics.find(each => each.topic === topic)!
        throw new NotSetUp(`Kafka topic ${topic} is not there, and this user may not create it: ` +
          `create it with ${numPartitions} partitions, or grant CREATE on topics ${prefixOf(topic)}*`)
      }
      const what = `${tellCode(`topic ${topic}`, errorCode)} (${errorMessage ?? 'no reason given'})`
      if (judge(errorCode).verdict === 'permanent') throw new NotSetUp(`Kafka ${what}`)
      refusals.set(topic, what)
    }
  } catch (err) {
    if (judgeError(err).verdict === 'permanent') throw err
    for (const { topic } of topics) refusals.set(topic, (err as Error).message)
  }
  return refusals
}

function refuseDenied (topics: Metadata['topicMetadata']): void {
  const denied = topics.find(({ topicErrorCode }) => topicErrorCode === topicDenied)
  if (denied === undefined) return
  throw new NotSetUp(`Kafka topic ${denied.topic}: this user may not see it: ` +
    `grant DESCRIBE, READ and WRITE on topics ${prefixOf(denied.topic)}* (docs/operations.md, Managed Kafka and Redis)`)
}

/** How many partitions of the topic have one. */
function leadersOf (cluster: Cluster, topic: string): number {
  let led = 0
  for (let p = 0; p < cluster.partitions(topic); p++) if (cluster.leaderOf(topic, p) !== undefined) led++
  return led
}
