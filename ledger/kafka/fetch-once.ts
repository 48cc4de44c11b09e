import type { Cluster } from './cluster.js'
import { answerMs, fetchBytesMax, offsetOutOfRange, partitionBytesMax } from './fetcher.js'
import { leaderOf, offsetOf } from './offsets.js'
import { cutBack, partingAt, partingOf, type Place } from './places.js'
import { fetch, type Fetched } from './record-apis.js'
import { readBatches, type StoredRecords } from './record-batch.js'
import { KafkaError } from './wire.js'

export interface FetchedOnce extends StoredRecords {
  /** Retention has passed the offset. */
  readonly deleted?: boolean
  /** The leader that they are of. */
  readonly leaderEpoch: number
}

const readBytesMax = 4 * partitionBytesMax

/**
 * One fetch of one partition by whoever leads it.
 *
 * @param leaderEpoch of the leader that is known to have what was read up to `place`
 * @param bytesMax of the answer, but for its first batch, which comes whatever its size (KIP-74)
 * @throws NoAnswer or KafkaError when it has to be tried again, CutBack when what was read is gone
 */
export async function fetchOnce (
  cluster: Cluster, lane: string, topic: string, partition: number, place: Place, leaderEpoch: number, waitMs: number,
  bytesMax = readBytesMax
): Promise<FetchedOnce> {
  const node = await leaderOf(cluster, topic, partition)
  const currentEpoch = cluster.leaderEpochOf(topic, partition)
  const offset = place.next
  if (currentEpoch !== leaderEpoch) {
    const parting = await partingOf(cluster, node, topic, partition, place)
    if (parting) throw new CutBack(cutBack(topic, partition, offset, parting.at))
  }
  const connection = await cluster.connection(node, lane)
  const from = [{ topic, partition, offset, bytesMax, leaderEpoch: currentEpoch }]
  const question = { waitMs, bytesMax: fetchBytesMax, from }
  const { partitions: [answer] } = await connection.send(fetch, question, waitMs + answerMs)
  if (answer!.errorCode === offsetOutOfRange) {
    const next = await offsetOf(cluster, node, topic, partition, 'first')
    if (next > offset) {
      const nothing = { records: [], unreadable: [], inflatedBytes: 0 }
      return { ...nothing, next, epoch: -1, deleted: true, leaderEpoch: currentEpoch }
    }
    const parting = await partingAt(cluster, node, topic, partition, place)
    if (parting && place.epoch >= 0) throw new CutBack(cutBack(topic, partition, offset, parting.at))
    throw new Error(`${topic}/${partition} has no offset ${offset} yet`)
  }
  if (answer!.errorCode !== 0) throw new KafkaError(answer!.errorCode, `fetch of ${topic}/${partition}`)
  const { aborted, batches } = answer as Fetched
  return { ...readBatches(batches, offset, { aborted }), leaderEpoch: currentEpoch }
}

/** What was read is not in the log any more, and other records have its offsets. */
export class CutBack extends Error { override readonly name = 'CutBack' }
