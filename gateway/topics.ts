import type { LogReader } from '../ledger/log.js'
import { rejectedStream } from '../ledger/rejected.js'
import { streams } from '../ledger/streams.js'
import { connections, ledger, nodes, type Stream, uplinks } from '../schemas/streams.js'
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

/** On the embedded side; the others are written by nobody, or hold what is to be looked into. */
const keptByConfig = new Set([ledger, uplinks, connections, nodes].map(({ name }) => name))

export interface TopicsDeps {
  readonly log: LogReader
  settings (stream: Stream<any>): Pick<Topic, 'topic' | 'retentionMs' | 'retentionBytes'>
}

/** In Kafka these are what a topic is created with; one that was there keeps its own. */
export function topicSettings (
  { kafkaBrokers, topicPrefix, retentionMs, retentionBytes }: Config, { name }: Stream<any>
): ReturnType<TopicsDeps['settings']> {
  if (kafkaBrokers.length > 0) {
    return { topic: `${topicPrefix}.${name}`, retentionMs: retentionMs || null, retentionBytes: null }
  }
  if (!keptByConfig.has(name)) return { topic: null, retentionMs: null, retentionBytes: null }
  return { topic: null, retentionMs: retentionMs || null, retentionBytes: retentionBytes || null }
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
