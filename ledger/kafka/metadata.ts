import { KafkaReader, KafkaWriter } from './bytes.js'
import { apiKey, type Api, type Metadata } from './wire.js'

const noId = Buffer.alloc(16)

/** What a broker answers for what it does not tell. */
const notTold = -(2 ** 31)

interface Question {
  readonly topics: readonly string[]
  /** Whether it is to tell what this user may do. */
  readonly rights?: boolean
}

/** As `metadata`, with the ids of topics: Kafka 2.8 or later, whose later requests have shorter lengths and tags. */
export const metadataWithIds: Api<Question, Metadata & { readonly throttleMs: number }> = {
  name: 'Metadata',
  key: apiKey('Metadata'),
  version: 10,

  encode ({ topics, rights = false }) {
    const writer = new KafkaWriter()
    writer.start()
    writer.int8(0) // no tags of the header
    writer.uvarint(topics.length + 1)
    for (const topic of topics) {
      writer.raw(noId)
      writer.compactString(topic)
      writer.int8(0)
    }
    writer.int8(0) // creates none
    writer.int8(0) // nor tells who may do what with the cluster
    writer.int8(rights ? 1 : 0)
    writer.int8(0)
    return writer.finish()
  },

  decode (bytes) {
    const reader = new KafkaReader(bytes)
    reader.skipTags()
    const throttleMs = reader.int32()
    const brokers = reader.compactArray(() => {
      const broker = { nodeId: reader.int32(), host: reader.compactString(), port: reader.int32() }
      reader.compactString() // its rack
      reader.skipTags()
      return broker
    })
    const clusterId = reader.compactString()
    const controllerId = reader.int32()
    const topicMetadata = reader.compactArray((): Metadata['topicMetadata'][number] => {
      const topicErrorCode = reader.int16()
      const topic = reader.compactString()
      const id = reader.view(16)
      reader.int8() // Kafka's own
      const partitionMetadata = reader.compactArray(() => {
        reader.int16()
        const partition = {
          partitionId: reader.int32(),
          leader: reader.int32(),
          leaderEpoch: reader.int32(),
          replicas: reader.compactArray(() => reader.int32()).length,
        }
        for (let lists = 0; lists < 2; lists++) reader.compactArray(() => reader.int32()) // those in sync, those away
        reader.skipTags()
        return partition
      })
      const operations = reader.int32()
      reader.skipTags()
      return {
        topicErrorCode,
        topic,
        topicId: id.equals(noId) ? '' : id.toString('base64url'),
        ...(operations === notTold ? {} : { operations }),
        partitionMetadata,
      }
    })
    return { throttleMs, brokers, clusterId, controllerId, topicMetadata }
  },
}
