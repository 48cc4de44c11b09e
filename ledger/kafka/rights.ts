import { downlinks } from '../../schemas/streams.js'
import { isRejectedStream } from '../rejected.js'
import type { Cluster } from './cluster.js'
import { NotSetUp } from './no-answer.js'
import { endTxn, KafkaError } from './wire.js'

/** What a node may have to do with a topic, as Kafka calls it. */
export type Right = 'READ' | 'WRITE'

/** Kafka's number of an operation is its bit: org.apache.kafka.common.acl.AclOperation. */
const bits: Readonly<Record<Right | 'DESCRIBE', number>> = { READ: 1 << 3, WRITE: 1 << 4, DESCRIBE: 1 << 8 }

const both: readonly Right[] = ['READ', 'WRITE']
const questionMs = 3_000
const transactionalIdDenied = 53

export interface NeedsOfTopic {
  readonly topic: string
  /** Both where it is left out. */
  readonly needs?: readonly Right[]
}

/** What a node does with a stream: business services write commands, and nobody here reads what was set aside. */
export function needsOf (stream: string): readonly Right[] {
  if (stream === downlinks.name) return ['READ']
  return isRejectedStream({ name: stream }) ? ['WRITE'] : both
}

/**
 * What this user lacks of what a node does with its topics, before it does it.
 *
 * @returns by topic, one sentence each, with what to grant; nothing of topics that the brokers tell nothing of
 * @throws NoAnswer, NotAdmitted or UnsupportedBroker when no broker has answered
 */
export async function deniedTopics (
  cluster: Pick<Cluster, 'describe'>, wanted: readonly NeedsOfTopic[]
): Promise<Map<string, string>> {
  const { topicMetadata } = await cluster.describe(wanted.map(({ topic }) => topic), true)
  const allowed = new Map(topicMetadata.map(({ topic, operations }) => [topic, operations]))
  const denied = new Map<string, string>()
  for (const { topic, needs = both } of wanted) {
    const operations = allowed.get(topic)
    // Who is told of a topic may describe it: where that is not among the operations, they are not told.
    if (operations === undefined || (operations & bits.DESCRIBE) === 0) continue
    const lacks = needs.filter(right => (operations & bits[right]) === 0)
    if (lacks.length > 0) denied.set(topic, lacking(`topic ${topic}`, lacks, `topics ${prefixOf(topic)}*`))
  }
  return denied
}

/**
 * Whether this user may write under the transactional id. Asked by the end of a transaction of a producer that there is
 * not, which is refused for want of access before anything else, and ends nothing.
 *
 * @returns one sentence with what to grant; empty where it may, or nobody answers, which the one who writes tells
 */
export async function deniedTransactions (
  cluster: Pick<Cluster, 'connection' | 'coordinatorOf'>, transactionalId: string
): Promise<string> {
  const nobody = { transactionalId, producerId: '-1', producerEpoch: -1, transactionResult: false }
  try {
    const node = await cluster.coordinatorOf(transactionalId, 'transaction')
    const connection = await cluster.connection(node, 'questions')
    const { errorCode } = await connection.send(endTxn, nobody, questionMs)
    if (errorCode !== transactionalIdDenied) return ''
  } catch (err) {
    if (!(err instanceof KafkaError && err.code === transactionalIdDenied)) return ''
  }
  const ids = `transactional ids ${transactionalId.replace(/[^.]+$/, '')}*`
  return lacking(`transactional id ${transactionalId}`, ['DESCRIBE', 'WRITE'], ids)
}

/**
 * For a node that starts.
 *
 * @param transactionalIds one of each kind
 * @throws NotSetUp naming the first right that is not there; NoAnswer, NotAdmitted or UnsupportedBroker as above
 */
export async function checkRights (
  cluster: Pick<Cluster, 'describe' | 'connection' | 'coordinatorOf'>, wanted: readonly NeedsOfTopic[],
  transactionalIds: readonly string[]
): Promise<void> {
  const denied = [...(await deniedTopics(cluster, wanted)).values()]
  for (const id of transactionalIds) denied.push(await deniedTransactions(cluster, id))
  const first = denied.find(sentence => sentence !== '')
  if (first !== undefined) throw new NotSetUp(`${first} (docs/operations.md, Managed Kafka and Redis)`)
}

function lacking (what: string, rights: readonly string[], on: string): string {
  const which = rights.join(' and ')
  return `Kafka ${what}: this user has no right to ${which}: grant ${which} on ${on}`
}

/** Of PREFIX.STREAM and PREFIX.STREAM.rejected. */
export function prefixOf (topic: string): string { return topic.replace(/[^.]+(\.rejected)?$/, '') }
