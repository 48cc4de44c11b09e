import type { Cluster, Redis } from 'ioredis'
import type { KafkaTopic } from '../ledger/kafka/log.js'
import { NotSetUp } from '../ledger/kafka/no-answer.js'

interface Recorded { readonly id: string, readonly partitions: number }

/**
 * Compares the topics with what nodes before this one found, which stands in Redis: their entries are placed by the
 * number of partitions, and saved states are made of those very entries. What is new is recorded.
 *
 * @throws NotSetUp where a topic was created anew, or has another number of partitions
 */
export async function checkTopics (
  redis: Redis | Cluster, prefix: string, topics: readonly KafkaTopic[]
): Promise<void> {
  const key = `{${prefix}.topics}:record`
  const records = await redis.hgetall(key)
  for (const { topic, id, partitions } of topics) {
    const text = records[topic]
    const recorded = text === undefined ? undefined : JSON.parse(text) as Recorded
    const accept = `Or accept what is there: redis-cli HDEL '${key}' ${topic}`
    if (recorded && recorded.partitions !== partitions) {
      throw new NotSetUp(`Kafka topic ${topic}: has ${partitions} partitions, and had ${recorded.partitions} when ` +
        'its entries were placed: users would be split between two of them. Choose another LEDGERLINE_TOPIC_PREFIX, ' +
        `which begins anew. ${accept}`)
    }
    if (recorded && recorded.id !== '' && id !== '' && recorded.id !== id) {
      throw new NotSetUp(`Kafka topic ${topic}: was deleted and created anew; what it held is gone, and saved ` +
        'states are made of it. Restore it, or choose another LEDGERLINE_TOPIC_PREFIX, which begins anew. ' + accept)
    }
    // Of several nodes that start at once the first one records it; another one may have looked before that.
    if (!recorded || recorded.id === '') await redis.hset(key, topic, JSON.stringify({ id, partitions }))
  }
}
