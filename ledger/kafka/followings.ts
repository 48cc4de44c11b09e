import type { Health } from '../../schemas/conditions.js'
import type { Stream } from '../../schemas/streams.js'
import type { Follower, Following } from '../log.js'
import type { Cluster } from './cluster.js'
import { type FollowingDeps, KafkaFollowing } from './following.js'
import { checkGroup } from './groups.js'

export interface FollowingsDeps {
  readonly cluster: Cluster
  readonly topicPrefix: string
  readonly sessionTimeoutMs: number
  readonly health: Health
  readonly slowMs: number
  failed (what: string, error: Error, fields: object): void
}

/** What one follower brings. */
interface Member<T> extends Pick<FollowingDeps<T>, 'decode' | 'rejected' | 'instanceId'> {
  readonly follower: Follower<T>
}

/** A partition that goes on for no follower of the group, or takes no appends. */
export interface StandingPartition {
  readonly stream: string
  readonly partition: number
  /** Which group does not get on; undefined for appends. */
  readonly group: string | undefined
  /** Why, as of now. */
  readonly reason: string
}

export interface PartitionLag {
  readonly stream: string
  readonly partition: number
  /** The first offset that was not delivered yet, and the one that the next record gets. */
  readonly next: bigint
  readonly end: bigint
}

const deliverMs = 2_000

/** All followers of this process. */
export class Followings {
  private readonly all = new Map<KafkaFollowing<any>, { stream: string, topic: string, group: string }>()
  /** Followers so far: each has connections of its own. */
  private count = 0

  constructor (private readonly deps: FollowingsDeps) {}

  /** @throws NotSetUp where this user may not be a member of the group */
  async start<T> (stream: Stream<T>, group: string, member: Member<T>): Promise<Following> {
    const { topicPrefix, ...deps } = this.deps
    const groupId = `${topicPrefix}.${group}.${stream.name}`
    await checkGroup(deps.cluster, groupId)
    const topic = `${topicPrefix}.${stream.name}`
    const following = new KafkaFollowing<T>({ ...deps, ...member, topic, groupId, lane: `follower ${++this.count}` })
    this.all.set(following, { stream: stream.name, topic, group })
    await following.start()
    const stop = () => following.stop().finally(() => this.all.delete(following))
    return {
      commit: (partition, next) => { following.commit(partition, next) },
      keep: (partition, place) => following.keep(partition, place),
      reassign: partition => following.reassign(partition),
      stop,
    }
  }

  health (): { ok: boolean, reason: string } {
    for (const following of this.all.keys()) {
      const health = following.health()
      if (!health.ok) return health
    }
    return { ok: true, reason: '' }
  }

  /** Of the partitions that this process has in the group, as of their last fetch. */
  lag (group: string): PartitionLag[] {
    return [...this.all].flatMap(([following, of]) =>
      of.group === group ? following.lag().map(lag => ({ stream: of.stream, ...lag })) : [])
  }

  standing (): StandingPartition[] {
    return [...this.all].flatMap(([following, { stream, group }]) =>
      following.standing().map(standing => ({ stream, group, ...standing })))
  }

  /**
   * Waits until they were handed all that this process has appended, but not for long.
   *
   * @param ackedTo the offset after the last append of ours that is durable
   */
  async delivered (ackedTo: (topic: string, partition: number) => bigint): Promise<void> {
    await Promise.all([...this.all].flatMap(([following, { topic }]) => following.lag().map(({ partition }) =>
      following.delivered(partition, ackedTo(topic, partition), deliverMs))))
  }

  async stop (): Promise<void> {
    await Promise.all([...this.all.keys()].map(following => following.stop()))
  }
}
