import type { Health } from '../../schemas/conditions.js'
import type { Cluster } from './cluster.js'
import { NotSetUp } from './no-answer.js'
import { deniedTopics } from './rights.js'
import { defaultBatchBytesMax } from './topic-book.js'
import { alter, deletionTroubles, policySetting, retentionSettings, tellTrouble } from './topic-settings.js'
import type { WantedTopic } from './topics.js'

const sizeSetting = 'max.message.bytes'

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

  /** @throws NotSetUp where a changelog loses what nobody has written for long, Error where no broker answers */
  async start (): Promise<void> {
    await this.look(true)
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

  private async look (isStart = false): Promise<void> {
    const { cluster, wanted, health } = this.deps
    const names = [sizeSetting, policySetting, ...retentionSettings]
    const settings = await cluster.settings(wanted.map(({ topic }) => topic), names)
    const denied = await deniedTopics(cluster, wanted)
    if (this.closed) return
    this.denied = denied
    for (const each of wanted) {
      const { topic, config } = each
      const of = settings.get(topic)
      if (of) cluster.topics.setBatchBytesMax(topic, Number(of.get(sizeSetting)) || defaultBatchBytesMax)
      const [deletion] = of ? deletionTroubles(each, of) : []
      if (isStart && deletion && config?.[policySetting] === 'compact') {
        throw new NotSetUp(`Kafka ${tellTrouble(topic, deletion)}`)
      }
      const trouble = this.troubleOf(topic) || (deletion ? tellTrouble(topic, deletion) : '')
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
        alter(topic, `${sizeSetting}=${2 * wantedBytes}`)
    }
    return ''
  }
}
