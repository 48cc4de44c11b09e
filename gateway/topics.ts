import type { LogReader } from '../ledger/log.js'
import { rejectedStream } from '../ledger/rejected.js'
import { streams } from '../ledger/streams.js'
import type { Stream } from '../schemas/streams.js'
import type { Config } from './config.js'
import { timeOf } from './item-time.js'

export interface Topic {
  readonly stream: string
  /** Its name in Kafka; null on the embedded side. */
  readonly topic: string | null
  /** For how long and how much it is kept; null for ever. */
  readonly retentionMs: number | null
  readonly retentionBytes: number | null
  /** Of all partitions. */
  readonly blocks: number
  readonly partitions: readonly TopicPartition[]
}

export interface TopicPartition {
  readonly partition: number
  /** The first offset that is kept, and the one that the next block gets. */
  readonly first: string
  readonly next: string
  readonly blocks: number
  /** Of the first and the last block that are kept; null where there is none, or it does not say. */
  readonly firstAtMs: number | null
  readonly lastAtMs: number | null
}

export interface TopicsDeps {
  readonly log: LogReader
  settings (stream: Stream<any>): Pick<Topic, 'topic' | 'retentionMs' | 'retentionBytes'>
}

/** How long entries of a stream are kept in a cluster, ms; 0 for ever. */
export function retentionMsOf ({ kafkaRetentionMs, retentionMs }: Config, name: string): number {
  return kafkaRetentionMs[name] ?? retentionMs
}

/**
 * In Kafka these are what a topic is created with; one that was there keeps its own.
 *
 * @param bytesMax what a stream of the embedded log may hold
 */
export function topicSettings (
  config: Config, { name }: Stream<any>,
  bytesMax: (name: string) => number | undefined = () => undefined
): ReturnType<TopicsDeps['settings']> {
  const { kafkaBrokers, topicPrefix, retentionMs } = config
  const isCluster = kafkaBrokers.length > 0
  const topic = isCluster ? `${topicPrefix}.${name}` : null
  const keptMs = isCluster ? retentionMsOf(config, name) : retentionMs
  return { topic, retentionMs: keptMs || null, retentionBytes: bytesMax(name) ?? null }
}

/** Every stream, and those of what was set aside that hold something. */
export async function topicsOf (deps: TopicsDeps): Promise<Topic[]> {
  const topics: Topic[] = []
  for (const stream of streams) {
    topics.push(await topicOf(deps, stream))
    const rejected = await topicOf(deps, rejectedStream(stream))
    if (rejected.blocks > 0) topics.push(rejected)
  }
  return topics
}

async function topicOf ({ log, settings }: TopicsDeps, stream: Stream<any>): Promise<Topic> {
  const partitions = await Promise.all(Array.from({ length: log.partitions(stream) },
    (_, partition) => topicPartition(log, stream, partition)))
  const blocks = partitions.reduce((sum, { blocks }) => sum + blocks, 0)
  return { stream: stream.name, ...settings(stream), blocks, partitions }
}

async function topicPartition (log: LogReader, stream: Stream<any>, partition: number): Promise<TopicPartition> {
  const { first, next } = await log.bounds(stream, partition)
  const timeAt = async (offset: bigint) => {
    const blocks = log.read(stream, partition, { from: offset, to: offset + 1n })[Symbol.asyncIterator]()
    const { value: block } = await blocks.next()
    await blocks.return?.()
    return timeOf(block?.items[0]) ?? null
  }
  const isEmpty = next <= first
  const [firstAtMs, lastAtMs] = isEmpty ? [null, null] : await Promise.all([timeAt(first), timeAt(next - 1n)])
  return { partition, first: String(first), next: String(next), blocks: Number(next - first), firstAtMs, lastAtMs }
}
