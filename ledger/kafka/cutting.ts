import type { Cluster } from './cluster.js'
import { NotSetUp } from './no-answer.js'
import { leaderOf } from './offsets.js'
import { judge, tellCode } from './verdicts.js'
import { deleteRecords, KafkaError } from './wire.js'

const deleteMs = 5_000
const topicDenied = 29

/**
 * Deletes the records before `to`; those that are gone already may be among them. Up to 0 it deletes nothing, and tells
 * whether it may.
 *
 * @throws NotSetUp where a person has to change something first, NoAnswer or KafkaError where a later try may do better
 */
export async function deleteTo (cluster: Cluster, topic: string, partition: number, to: bigint): Promise<void> {
  const node = await leaderOf(cluster, topic, partition)
  // It waits for the replicas, so it has a lane of its own.
  const connection = await cluster.connection(node, 'deletions')
  const question = { topics: [{ topic, partitions: [{ partition, offset: `${to}` }] }], timeout: deleteMs }
  const { topics: [answer] } = await connection.send(deleteRecords, question, 2 * deleteMs)
  const { errorCode } = answer!.partitions[0]!
  if (errorCode === 0) return
  if (errorCode === topicDenied) {
    throw new NotSetUp(`Kafka topic ${topic}: this user may not delete its records: grant DELETE on it ` +
      `(${grantDelete(topic)})`)
  }
  if (judge(errorCode).verdict === 'permanent') throw new NotSetUp(`Kafka ${tellCode(`topic ${topic}`, errorCode)}`)
  throw new KafkaError(errorCode, `deletion of records of ${topic}/${partition}`)
}

/** What an operator types to let a node's user delete records. */
export function grantDelete (topic: string): string {
  return `kafka-acls --add --allow-principal USER --operation Delete --topic ${topic}`
}
