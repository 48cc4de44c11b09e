import type { Cluster } from './cluster.js'
import { NotSetUp } from './no-answer.js'
import { check, listOffsets } from './wire.js'

const questionMs = 3_000

/** Of a record, and when it was appended, ms since 1970 by who did; -1 for both where there is none. */
export interface Found { readonly offset: bigint, readonly atMs: number }

interface Asked {
  readonly topic: string
  readonly partition: number
  readonly timestamp: number
  resolve (found: Found): void
  reject (err: unknown): void
}

/** What is asked of one broker, one request at a time: what collects meanwhile goes together. */
class Questions {
  private waiting: Asked[] = []
  private busy = false

  constructor (private readonly cluster: Cluster, private readonly node: number) {}

  ask (topic: string, partition: number, timestamp: number): Promise<Found> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ topic, partition, timestamp, resolve, reject })
      if (!this.busy) this.run()
    })
  }

  private async run (): Promise<void> {
    this.busy = true
    await Promise.resolve() // with those who ask in the same turn
    while (this.waiting.length > 0) {
      const asked = this.take()
      try {
        await this.send(asked)
      } catch (err) {
        for (const { reject } of asked) reject(err)
      }
    }
    this.busy = false
  }

  /** A request has a partition once; what is asked of it besides goes with the next one. */
  private take (): Asked[] {
    const taken = new Map<string, Asked>()
    const left: Asked[] = []
    for (const asked of this.waiting) {
      const key = `${asked.topic}/${asked.partition}`
      if (taken.has(key)) left.push(asked)
      else taken.set(key, asked)
    }
    this.waiting = left
    return [...taken.values()]
  }

  private async send (asked: readonly Asked[]): Promise<void> {
    const byTopic = new Map<string, Asked[]>()
    for (const each of asked) byTopic.set(each.topic, [...byTopic.get(each.topic) ?? [], each])
    const topics = [...byTopic].map(([topic, partitions]) => ({ topic, partitions }))
    const connection = await this.cluster.connection(this.node, 'questions')
    const { responses } = await connection.send(listOffsets, { topics }, questionMs)
    const answers = new Map(responses.flatMap(({ topic, partitions }) =>
      partitions.map(answer => [`${topic}/${answer.partition}`, answer])))
    for (const { topic, partition, resolve, reject } of asked) {
      try {
        const answer = answers.get(`${topic}/${partition}`) ?? { errorCode: -1, offset: '-1', timestamp: '-1' }
        check(answer, `offsets of ${topic}/${partition}`)
        resolve({ offset: BigInt(answer.offset), atMs: Number(answer.timestamp) })
      } catch (err) {
        reject(err)
      }
    }
  }
}

const questions = new WeakMap<Cluster, Map<number, Questions>>()

/**
 * @param which an end, or ms since 1970 for the first record at or after it: -1n where there is none
 * @throws NoAnswer or KafkaError
 */
export async function offsetOf (
  cluster: Cluster, node: number, topic: string, partition: number, which: 'first' | 'next' | number
): Promise<bigint> {
  const timestamp = which === 'first' ? -2 : which === 'next' ? -1 : which
  return (await recordAt(cluster, node, topic, partition, timestamp)).offset
}

/**
 * The first record at or after a time.
 *
 * @param timestamp ms since 1970
 * @throws NoAnswer or KafkaError
 */
export function recordAt (
  cluster: Cluster, node: number, topic: string, partition: number, timestamp: number
): Promise<Found> {
  let ofCluster = questions.get(cluster)
  if (!ofCluster) questions.set(cluster, ofCluster = new Map())
  let ofNode = ofCluster.get(node)
  if (!ofNode) ofCluster.set(node, ofNode = new Questions(cluster, node))
  return ofNode.ask(topic, partition, timestamp)
}

/** @throws Error while the partition has no leader */
export async function leaderOf (cluster: Cluster, topic: string, partition: number): Promise<number> {
  const trouble = cluster.topics.troubleOf(topic)
  if (trouble !== '') throw new NotSetUp(trouble)
  const known = cluster.leaderOf(topic, partition)
  if (known !== undefined) return known
  await cluster.look()
  const leader = cluster.leaderOf(topic, partition)
  if (leader === undefined) throw new Error(`${topic}/${partition} has no leader`)
  return leader
}
