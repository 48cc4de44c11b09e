import type { Health } from '../../schemas/conditions.js'
import type { Cluster } from './cluster.js'
import { deniedTopics } from './rights.js'
import type { WantedTopic } from './topics.js'
import { defaultBatchBytesMax } from './topic-book.js'

const sizeSetting = 'max.message.bytes'
const policySetting = 'cleanup.policy'

export interface TopicWatchDeps {
  readonly cluster: Pick<Cluster, 'topics' | 'refresh' | 'settings' | 'describe'>
  readonly wanted: readonly WantedTopic[]
  readonly health: Health
  readonly everyMs: number
}

/**
 * Looks now and then at what others may do to our topics: how large a batch they take, what is no longer as it was,
 * which right was taken away.
 */
export class TopicWatch {
  private timer: NodeJS.Timeout | undefined
  private closed = false
  private denied: ReadonlyMap<string, string> = new Map()

  constructor (private readonly deps: TopicWatchDeps) {}

  /** Which right to the topic this user lacks, as of the last look; empty for none. */
  deniedOf (topic: string): string { return this.denied.get(topic) ?? '' }

  /** @throws where no broker answers */
  async start (): Promise<void> {
    await this.look()
    this.later()
  }

  stop (): void {
    this.closed = true
    clearTimeout(this.timer)
    for (const { topic } of this.deps.wanted) {
      this.deps.health.end('topics', topic)
      this.deps.health.end('refused', topic)
    }
  }

  private later (): void {
    if (this.closed) return
    this.timer = setTimeout(() => {
      this.deps.cluster.refresh().then(() => this.look()).catch(() => {}).finally(() => this.later())
    }, this.deps.everyMs).unref()
  }

  private async look (): Promise<void> {
    const { cluster, wanted, health } = this.deps
    const settings = await cluster.settings(wanted.map(({ topic }) => topic), [sizeSetting, policySetting])
    const denied = await deniedTopics(cluster, wanted)
    if (this.closed) return
    this.denied = denied
    for (const { topic, config } of wanted) {
      const of = settings.get(topic)
      if (of) cluster.topics.setBatchBytesMax(topic, Number(of.get(sizeSetting)) || defaultBatchBytesMax)
      const policy = of?.get(policySetting)
      const trouble = this.troubleOf(topic) || policyTrouble(topic, policy, config?.[policySetting])
      if (trouble === '') health.end('topics', topic)
      else health.begin('topics', trouble, topic)
      const lacks = denied.get(topic)
      if (lacks === undefined) health.end('refused', topic)
      else health.begin('refused', lacks, topic)
    }
  }

  private troubleOf (topic: string): string {
    const { topics } = this.deps.cluster
    if (topics.troubleOf(topic) !== '') return topics.troubleOf(topic)
    const [had, has] = [topics.partitions(topic), topics.grownTo(topic)]
    if (has > had) {
      return `topic ${topic} grew from ${had} to ${has} partitions: what it holds was placed by ${had}, so it ` +
        'goes on with those while the nodes run. A node that starts will refuse: choose another LEDGERLINE_TOPIC_PREFIX before'
    }
    const wantedBytes = topics.refusedBytes(topic)
    if (wantedBytes > topics.batchBytesMax(topic)) {
      const bytesMax = topics.batchBytesMax(topic)
      return `topic ${topic} takes ${bytesMax} bytes, one item that was refused has ${wantedBytes}: ` +
        `kafka-configs --alter --topic ${topic} --add-config ${sizeSetting}=${2 * wantedBytes}`
    }
    return ''
  }
}

/**
 * Compaction keeps one record of each key of a stream, and deletion by age loses keys of a changelog.
 *
 * @param policy undefined where it may not be seen
 */
export function policyTrouble (topic: string, policy: string | undefined, wanted = 'delete'): string {
  const isGood = policy === undefined || (wanted === 'compact' ? policy === wanted : !policy.includes('compact'))
  if (isGood) return ''
  return `topic ${topic} has cleanup.policy=${policy}, which loses what it holds: ` +
    `kafka-configs --alter --topic ${topic} --add-config cleanup.policy=${wanted}`
}
