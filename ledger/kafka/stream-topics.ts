import type { Stream } from '../../schemas/streams.js'
import { rejectedStream } from '../rejected.js'
import { needsOf } from './rights.js'
import { retentionSettings } from './topic-settings.js'
import type { WantedTopic } from './topics.js'

export interface KafkaStream {
  readonly stream: Stream<any>
  /** Of a topic that is created; one that exists keeps its own. */
  readonly partitions: number
  /** The stream that it must have as many partitions as, whatever `partitions` says. */
  readonly like?: Stream<any>
  /** For ever where it is left out. */
  readonly retentionMs?: number
  /** Nothing of it goes but by `deleteTo`; what is set aside of it does, after `retentionMs`. */
  readonly keepsAll?: boolean
  /** Further settings of a topic that is created. */
  readonly config?: Readonly<Record<string, string>>
  /** Its entries need not stay in the partition that they were placed in. */
  readonly mayGrow?: boolean
}

/** The topics that streams need, with those of what is set aside of them, which may stand in any partition. */
export function wantedTopics (streams: readonly KafkaStream[], topicPrefix: string): WantedTopic[] {
  const wanted = new Map<string, WantedTopic>()
  for (const { stream, like, mayGrow = false, keepsAll = false, ...settings } of streams) {
    const topic = `${topicPrefix}.${stream.name}`
    const { name: rejectedName } = rejectedStream(stream)
    const rejected = `${topicPrefix}.${rejectedName}`
    const kept = { config: { ...settings.config, ...Object.fromEntries(retentionSettings.map(name => [name, '-1'])) } }
    wanted.set(topic, {
      topic,
      ...settings,
      ...(keepsAll ? kept : {}),
      keepsAll,
      mayGrow,
      needs: needsOf(stream.name),
      ...(like ? { like: `${topicPrefix}.${like.name}` } : {}),
    })
    if (wanted.has(rejected)) continue
    wanted.set(rejected, { topic: rejected, ...settings, mayGrow: true, needs: needsOf(rejectedName) })
  }
  return [...wanted.values()]
}
