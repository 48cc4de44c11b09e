import { join } from 'node:path'

export interface Ports { readonly id: number, readonly broker: number, readonly controller: number }

/** A further port of each broker, such as one with TLS; its settings begin with `listener.name.<name>.`. */
export interface Listener { readonly name: string, readonly protocol: 'SSL' | 'SASL_SSL' | 'SASL_PLAINTEXT', readonly port: number }

/**
 * Of several brokers, the partitions of one that crashed move after this, not after 9 s, nor is it let in again before.
 * Shorter, and a busy machine would lose brokers that are alive.
 */
export const crashedBrokerMs = 4_000
/** A broker without others: nothing can move, and one that was only slow must not take all leaders with it. */
const loneBrokerMs = 15_000

/** For a quick start and a small process. Logged is only what went wrong, and the line that says "started". */
export function javaOptions (jarsDirectory: string): string[] {
  return [
    '-Xmx400m',
    '-Xms128m',
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info',
    '-cp',
    join(jarsDirectory, '*'),
  ]
}

/**
 * The `server.properties` of one node.
 *
 * @param ports of all nodes; each is broker and controller
 * @param directory of its data
 * @param properties settings over those here
 * @param listeners besides the one for everybody
 */
export function brokerProperties (
  ports: readonly Ports[], id: number, directory: string, properties: Readonly<Record<string, string>> = {},
  listeners: readonly Listener[] = []
): string {
  const { broker, controller } = ports.find(each => each.id === id)!
  const replicas = ports.length
  const inSyncMin = ports.length > 1 ? 2 : 1
  return lines({
    'process.roles': 'broker,controller',
    'node.id': id,
    'controller.quorum.voters': ports.map(each => `${each.id}@127.0.0.1:${each.controller}`).join(','),
    'controller.listener.names': 'CONTROLLER',
    listeners: [
      `PLAINTEXT://127.0.0.1:${broker}`, `CONTROLLER://127.0.0.1:${controller}`,
      ...listeners.map(({ name, port }) => `${name.toUpperCase()}://127.0.0.1:${port}`),
    ].join(),
    'listener.security.protocol.map': [
      'PLAINTEXT:PLAINTEXT', 'CONTROLLER:PLAINTEXT', ...listeners.map(({ name, protocol }) => `${name.toUpperCase()}:${protocol}`),
    ].join(),
    'log.dirs': directory,
    'default.replication.factor': replicas,
    'min.insync.replicas': inSyncMin,
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSyncMin,
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSyncMin,
    // Each partition of a topic is made, and after a crash checked, before the topic is usable.
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.num.partitions': 4,
    'auto.create.topics.enable': false,
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 1_000,
    'broker.session.timeout.ms': replicas > 1 ? crashedBrokerMs : loneBrokerMs,
    'broker.heartbeat.interval.ms': 500,
    'num.network.threads': 2,
    'num.io.threads': 4,
    // 128 MiB is usual, a third of the heap.
    'log.cleaner.dedupe.buffer.size': 8_388_608,
    ...properties,
  })
}

function lines (properties: Readonly<Record<string, unknown>>): string {
  return Object.entries(properties).map(([name, value]) => `${name}=${value}\n`).join('')
}
