import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { ledger, nodes } from '../../schemas/streams.js'
import { startTestNode, type TestNode } from '../gateway/node.js'
import { startKafka, type TestKafka } from './kafka.js'
import { startRedis, type TestRedis } from './redis.js'

/** Kafka and Redis, and nodes in this process that use them: with a short lease, and none that waits when it stops. */
export interface TestCluster {
  readonly kafka: TestKafka
  readonly redis: TestRedis
  /** @param roles comma-separated */
  start (nodeId: string, roles: string): Promise<TestNode>
  /** Removes every key of Redis. */
  flush (): Promise<void>
  /** Which facts of these types the streams `ledger` and `nodes` hold. */
  facts (types: readonly string[]): Promise<string[]>
}

export const everyRole = 'edge,users,push,projections,ip-config'

/** @param topicPrefix of this cluster alone */
export async function startCluster (t: Test, topicPrefix: string): Promise<TestCluster> {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  return {
    kafka,
    redis,
    start: (nodeId, roles) => startTestNode(t, {
      KAFKA_BROKERS: kafka.brokers.join(','),
      REDIS_URL: redis.url,
      LEDGERLINE_TOPIC_PREFIX: topicPrefix,
      LEDGERLINE_NODE_ID: nodeId,
      LEDGERLINE_ROLES: roles,
      LEDGERLINE_PARTITIONS: '4',
      LEDGERLINE_LEASE_MS: '1500',
      LEDGERLINE_DRAIN_MS: '0',
      LEDGERLINE_STOP_GRACE_MS: '0',
    }),
    async flush () {
      const client = new Redis(redis.url)
      t.teardown(() => { client.disconnect() })
      await client.flushall()
    },
    facts: types => factsOf(t, kafka.brokers, topicPrefix, types),
  }
}

async function factsOf (
  t: Test, brokers: readonly string[], topicPrefix: string, types: readonly string[]
): Promise<string[]> {
  const log = await openKafkaLog({
    brokers: [...brokers],
    topicPrefix,
    clientId: 'test',
    streams: [ledger, nodes].map(stream => ({ stream, partitions: 0 })),
    readOnly: true,
    failed: () => {},
  })
  t.teardown(() => log.close())
  const found: string[] = []
  for (const stream of [ledger, nodes]) {
    for (let partition = 0; partition < log.partitions(stream); partition++) {
      const { next } = await log.bounds(stream, partition)
      for await (const { items } of log.read<any>(stream, partition, { from: 0n, to: next })) {
        found.push(...items.map(({ fact }) => fact.type).filter(type => types.includes(type)))
      }
    }
  }
  return found
}
