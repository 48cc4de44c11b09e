import { KafkaReader, KafkaWriter } from './bytes.js'
import type { Aborted } from './transactions.js'
import { apiKey, type Api } from './wire.js'

export interface PartitionBatch { readonly topic: string, readonly partition: number, readonly batch: Buffer }

export interface Produced {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
  readonly baseOffset: bigint
}

const writer = new KafkaWriter()

/** What each of the two answers: for each partition, and how long the broker wants no request on this connection. */
export interface Answered<Partition> { readonly throttleMs: number, readonly partitions: readonly Partition[] }

interface ProduceQuestion {
  /** Absent for batches that are of no transaction. */
  readonly transactionalId?: string
  readonly timeoutMs: number
  readonly batches: readonly PartitionBatch[]
}

/** Appends batches, at most one for each partition; answered when every replica in sync has them. */
export const produce: Api<ProduceQuestion, Answered<Produced>> = {
  name: 'Produce',
  key: apiKey('Produce'),
  version: 7,

  encode ({ transactionalId, timeoutMs, batches }) {
    writer.start()
    if (transactionalId === undefined) writer.int16(-1)
    else writer.string(transactionalId)
    writer.int16(-1) // acks of all
    writer.int32(timeoutMs)
    byTopic(batches, ({ partition, batch }) => {
      writer.int32(partition)
      writer.block(batch)
    })
    return writer.finish()
  },

  decode (bytes) {
    const reader = new KafkaReader(bytes)
    const produced: Produced[] = []
    reader.array(() => {
      const topic = reader.string()
      reader.array(() => {
        produced.push({ topic, partition: reader.int32(), errorCode: reader.int16(), baseOffset: reader.int64() })
        reader.pos += 16 // its time and the first offset kept
      })
    })
    return { throttleMs: reader.int32(), partitions: produced }
  },
}

export interface FetchFrom {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly bytesMax: number
  /** The leader that this is for: one of another epoch refuses. -1 for any. */
  readonly leaderEpoch: number
}

export interface Fetched {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
  /** The offset that the next record gets. What a transaction that is open yet holds back stands before it, unseen. */
  readonly end: bigint
  readonly aborted: readonly Aborted[]
  readonly batches: Buffer
}

/** Waits up to `waitMs` for a first byte. Transactions that were given up are named; `readBatches` leaves them out. */
export const fetch: Api<{ waitMs: number, bytesMax: number, from: readonly FetchFrom[] }, Answered<Fetched>> = {
  name: 'Fetch',
  key: apiKey('Fetch'),
  version: 11,

  encode ({ waitMs, bytesMax, from }) {
    writer.start()
    writer.int32(-1) // not a replica
    writer.int32(waitMs)
    writer.int32(1)
    writer.int32(bytesMax)
    writer.int8(1) // what is committed
    writer.int32(0) // no session: each fetch names its partitions
    writer.int32(-1)
    byTopic(from, ({ partition, offset, bytesMax, leaderEpoch }) => {
      writer.int32(partition)
      writer.int32(leaderEpoch)
      writer.int64(offset)
      writer.int64(-1n)
      writer.int32(bytesMax)
    })
    writer.int32(0)
    writer.string('') // no rack
    return writer.finish()
  },

  decode (bytes) {
    const reader = new KafkaReader(bytes)
    const throttleMs = reader.int32()
    reader.pos += 6 // an error of sessions and a session
    const fetched: Fetched[] = []
    reader.array(() => {
      const topic = reader.string()
      reader.array(() => {
        const partition = reader.int32()
        const errorCode = reader.int16()
        const end = reader.int64()
        reader.pos += 16 // the last stable offset and the first one kept
        const aborted = reader.array((): Aborted => ({ producerId: reader.int64(), firstOffset: reader.int64() }))
        reader.pos += 4 // a replica to prefer
        fetched.push({ topic, partition, errorCode, end, aborted, batches: reader.block() })
      })
    })
    return { throttleMs, partitions: fetched }
  },
}

function byTopic<T extends { readonly topic: string }> (items: readonly T[], write: (item: T) => void): void {
  const topics = new Map<string, T[]>()
  for (const item of items) {
    const known = topics.get(item.topic)
    if (known) known.push(item)
    else topics.set(item.topic, [item])
  }
  writer.int32(topics.size)
  for (const [topic, items] of topics) {
    writer.string(topic)
    writer.int32(items.length)
    for (const item of items) write(item)
  }
}
