import { nobodyWatches } from '../../schemas/conditions.js'
import { changelogTopic } from './changelog.js'
import { Cluster } from './cluster.js'
import { KafkaLog, type KafkaLogOptions, slowMsDefault } from './log.js'
import { checkRights } from './rights.js'
import { wantedTopics } from './stream-topics.js'
import { TopicWatch } from './topic-watch.js'
import { ensureTopics, findTopics, patiently, reach } from './topics.js'
import { checkWire } from './wire-check.js'

/**
 * The streams in Kafka. Creates the topics that are absent, unless it is for reading alone.
 *
 * @throws Error naming the brokers when none answers within 10 s, UnsupportedBroker when one speaks other versions,
 *   NotAdmitted when they let us in no further, NotSetUp when topics are not as they must be, or are denied
 */
export async function openKafkaLog (options: KafkaLogOptions): Promise<KafkaLog> {
  await checkWire()
  const cluster = new Cluster(options.brokers, options)
  try {
    await reach(cluster, options.brokers)
    if (options.readOnly) {
      const names = options.streams.map(({ stream }) => `${options.topicPrefix}.${stream.name}`)
      await patiently(() => findTopics(cluster, names))
      return new KafkaLog(cluster, options)
    }
    const wanted = wantedTopics(options.streams, options.topicPrefix)
    await patiently(() => ensureTopics(cluster, wanted, options.topics))
    const nameOf = (name: string) => `${options.topicPrefix}.${name}`
    const changelogs = (options.changelogs ?? []).map(({ name, like }) => (
      { ...changelogTopic(nameOf(name), cluster.partitions(nameOf(like.name))), like: nameOf(like.name) }))
    await patiently(() => ensureTopics(cluster, changelogs, options.topics))
    // The transactional id of one partition stands for all: rights are granted to what they begin with.
    const ids = changelogs.map(({ topic }) => `${topic}.0`)
    await patiently(() => checkRights(cluster, [...wanted, ...changelogs], ids))
    const watch = new TopicWatch({
      cluster,
      wanted: [...wanted, ...changelogs],
      health: options.health ?? nobodyWatches,
      everyMs: options.slowMs ?? slowMsDefault,
    })
    await patiently(() => watch.start())
    return new KafkaLog(cluster, options, watch)
  } catch (err) {
    cluster.close()
    throw err
  }
}
