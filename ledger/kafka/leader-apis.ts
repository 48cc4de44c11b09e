import { KafkaReader, KafkaWriter } from './bytes.js'
import { apiKey, type Api, type Metadata } from './wire.js'

/* Who leads a partition, since when, and what became of what an earlier leader had: kafkajs has no codec of these. */

const writer = new KafkaWriter()

/** Version 7 is the first that tells the epoch of each leader. Without topics it is about the brokers alone. */
export const metadata: Api<{ topics: readonly string[] }, Metadata & { readonly throttleMs: number }> = {
  name: 'Metadata',
  key: apiKey('Metadata'),
  version: 7,

  encode ({ topics }) {
    writer.start()
    writer.int32(topics.length)
    for (const topic of topics) writer.string(topic)
    writer.int8(0) // creates no topic
    return writer.finish()
  },

  decode (bytes) {
    const reader = new KafkaReader(bytes)
    const throttleMs = reader.int32()
    const brokers = reader.array(() => {
      const broker = { nodeId: reader.int32(), host: reader.string(), port: reader.int32() }
      reader.string() // its rack
      return broker
    })
    const clusterId = reader.string()
    const controllerId = reader.int32()
    const topicMetadata = reader.array(() => {
      const topicErrorCode = reader.int16()
      const topic = reader.string()
      reader.int8() // whether it is the broker's own
      return { topicErrorCode, topic, partitionMetadata: reader.array(() => partitionOf(reader)) }
    })
    return { throttleMs, brokers, clusterId, controllerId, topicMetadata }
  },
}

function partitionOf (reader: KafkaReader) {
  reader.int16() // an error, such as that there is no leader
  const partition = {
    partitionId: reader.int32(),
    leader: reader.int32(),
    leaderEpoch: reader.int32(),
    replicas: reader.array(() => reader.int32()).length,
  }
  for (let lists = 0; lists < 2; lists++) reader.array(() => reader.int32()) // those in sync, those away
  return partition
}

/** What was written under `epoch`, as far as the leader of `leaderEpoch` has it. */
interface EpochQuestion {
  readonly topic: string
  readonly partition: number
  readonly leaderEpoch: number
  readonly epoch: number
}

interface EpochAnswer {
  readonly throttleMs: number
  readonly errorCode: number
  /** The last epoch up to the one asked for that the leader has records of; -1 where it knows of none so late. */
  readonly epoch: number
  /** The offset after the last record of that epoch; -1 with it. */
  readonly end: bigint
}

export const offsetForLeaderEpoch: Api<EpochQuestion, EpochAnswer> = {
  name: 'OffsetForLeaderEpoch',
  key: apiKey('OffsetForLeaderEpoch'),
  version: 3,

  encode ({ topic, partition, leaderEpoch, epoch }) {
    writer.start()
    writer.int32(-1) // not a replica
    writer.int32(1)
    writer.string(topic)
    writer.int32(1)
    writer.int32(partition)
    writer.int32(leaderEpoch)
    writer.int32(epoch)
    return writer.finish()
  },

  decode (bytes) {
    const reader = new KafkaReader(bytes)
    const throttleMs = reader.int32()
    const [[answer]] = reader.array(() => {
      reader.string()
      return reader.array(() => {
        const errorCode = reader.int16()
        reader.int32()
        return { throttleMs, errorCode, epoch: reader.int32(), end: reader.int64() }
      })
    }) as [[EpochAnswer]]
    return answer
  },
}
