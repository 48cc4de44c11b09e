import type { Metadata } from './wire.js'

/** What is known of one topic. */
interface Known {
  /** Of each partition; -1 for none. As long as the topic had partitions when it was seen first, unless it may grow. */
  leaders: number[]
  /** Of each leader; -1 where it is not known. */
  epochs: number[]
  id: string
  /** Partitions that it has by now. */
  partitions: number
  /** Why nothing may be read from it or written to it any more. */
  trouble: string
  bytesMax: number
  /** Of the largest item that was refused for its size. */
  refusedBytes: number
}

/** Of a topic whose setting is not known: Kafka's own default. */
export const defaultBatchBytesMax = 1_048_588
/** What a refusal teaches does not go below this. */
const batchBytesMin = 16 << 10

/**
 * What this process has seen of the topics that it works on. A topic of the same name that is another one, or one that
 * grew, is not what its entries were placed by.
 */
export class TopicBook {
  private readonly topics = new Map<string, Known>()
  private readonly mayGrow = new Set<string>()

  /** @param mayGrow whose entries need not stay in the partition that they were placed in */
  know (names: readonly string[], mayGrow: ReadonlySet<string> = new Set()): void {
    for (const name of mayGrow) this.mayGrow.add(name)
    for (const name of names) {
      if (this.topics.has(name)) continue
      this.topics.set(name, {
        leaders: [], epochs: [], id: '', partitions: 0, trouble: '', bytesMax: defaultBatchBytesMax, refusedBytes: 0,
      })
    }
  }

  get names (): string[] { return [...this.topics.keys()] }

  /** How many partitions the topic had when it was seen first; 0 where it was not. */
  partitions (topic: string): number { return this.topics.get(topic)?.leaders.length ?? 0 }

  /** By now. */
  grownTo (topic: string): number { return this.topics.get(topic)?.partitions ?? 0 }

  /** What tells the topic from another one of its name; empty where brokers older than 2.8 have none. */
  id (topic: string): string { return this.topics.get(topic)?.id ?? '' }

  leaderOf (topic: string, partition: number): number | undefined {
    const leader = this.topics.get(topic)?.leaders[partition]
    return leader === undefined || leader < 0 ? undefined : leader
  }

  leaderEpochOf (topic: string, partition: number): number { return this.topics.get(topic)?.epochs[partition] ?? -1 }

  troubleOf (topic: string): string { return this.topics.get(topic)?.trouble ?? '' }

  learn (metadata: Metadata['topicMetadata']): void {
    for (const { topic, topicErrorCode, topicId = '', partitionMetadata } of metadata) {
      const known = this.topics.get(topic)
      if (topicErrorCode !== 0 || !known) continue
      if (known.id !== '' && topicId !== '' && topicId !== known.id) {
        known.trouble = `topic ${topic} was deleted and created anew while this node was running: ` +
          'what it held is gone. Restart the nodes, which tell what to do about it'
        continue
      }
      known.id = topicId
      known.partitions = partitionMetadata.length
      const count = this.mayGrow.has(topic) ? known.partitions : known.leaders.length || known.partitions
      const leaders = new Array<number>(count).fill(-1)
      const epochs = new Array<number>(count).fill(-1)
      for (const { partitionId, leader, leaderEpoch = -1 } of partitionMetadata) {
        if (partitionId >= count) continue
        leaders[partitionId] = leader
        epochs[partitionId] = leaderEpoch
      }
      known.leaders = leaders
      known.epochs = epochs
    }
  }

  /** The largest batch that the topic takes, bytes as sent. */
  batchBytesMax (topic: string): number { return this.topics.get(topic)?.bytesMax ?? defaultBatchBytesMax }

  setBatchBytesMax (topic: string, bytesMax: number): void {
    const known = this.topics.get(topic)
    if (known) known.bytesMax = bytesMax
  }

  /** Of the largest item that was refused, as a batch of its own; 0 for none. */
  refusedBytes (topic: string): number { return this.topics.get(topic)?.refusedBytes ?? 0 }

  /** One item alone is so large. */
  itemRefused (topic: string, bytes: number): void {
    const known = this.topics.get(topic)
    if (known) known.refusedBytes = Math.max(known.refusedBytes, bytes)
  }

  /** A batch of so many bytes was refused. */
  refused (topic: string, bytes: number): void {
    const known = this.topics.get(topic)
    if (known) known.bytesMax = Math.max(batchBytesMin, Math.min(known.bytesMax, bytes >> 1))
  }
}
