import type { Cluster } from './cluster.js'
import { produce } from './record-apis.js'

const questionMs = 3_000
const nothing = Buffer.alloc(0)

/**
 * Asks the leader whether appends to the partition would be taken, without one: it looks at access first, and then
 * finds that there is nothing to append.
 *
 * @returns the code of the answer: INVALID_RECORD (87) where there is access
 * @throws NoAnswer
 */
export async function probe (
  cluster: Pick<Cluster, 'connection'>, node: number, topic: string, partition: number
): Promise<number> {
  const connection = await cluster.connection(node, 'questions')
  const question = { timeoutMs: questionMs, batches: [{ topic, partition, batch: nothing }] }
  const { partitions } = await connection.send(produce, question, questionMs)
  return partitions[0]?.errorCode ?? -1
}
