import type { Test } from 'tap'
import { kafkaMissing, startKafka } from '../../cluster/kafka.js'
import { redisMissing, startRedis } from '../../cluster/redis.js'
import type { TestNode } from '../../gateway/node.js'
import { quickly, startApart } from './incident.js'

/** One line that says what to install; false where a cluster can run. */
export const clusterMissing = kafkaMissing() ?? redisMissing() ?? false

export const shopSecret = 'the secret of the app shop, which is long enough'

/** Two nodes in processes of their own, over Kafka and Redis that the test can stop. */
export interface ConsoleCluster {
  /** It has the console. */
  readonly one: TestNode
  readonly two: TestNode
  /** Kafka answers nobody, or does again. */
  freeze (): void
  thaw (): void
}

/** @param prefix of the topics of this cluster alone */
export async function givenCluster (t: Test, prefix: string): Promise<ConsoleCluster> {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const start = (nodeId: string, region: string, roles: string) => startApart(t, {
    ...quickly,
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: prefix,
    LEDGERLINE_PARTITIONS: '4',
    LEDGERLINE_NODE_ID: nodeId,
    LEDGERLINE_REGION: region,
    LEDGERLINE_ROLES: roles,
    LEDGERLINE_APPS: JSON.stringify([{ name: 'shop', issuers: [{ issuer: 'shop', secret: shopSecret }] }]),
  }, t.testdirName)
  const [one, two] = await Promise.all([
    start('one', 'eu', 'edge,users,push,projections,ip-config,console'), start('two', 'us', 'edge,users,push,projections,ip-config'),
  ])
  const signal = (name: NodeJS.Signals) => { for (const pid of kafka.pids) process.kill(pid, name) }
  t.teardown(() => { signal('SIGCONT') })
  return { one, two, freeze () { signal('SIGSTOP') }, thaw () { signal('SIGCONT') } }
}
