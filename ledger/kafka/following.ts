import { setTimeout as sleep } from 'node:timers/promises'
import type { Health } from '../../schemas/conditions.js'
import type { Follower, Following } from '../log.js'
import type { Cluster } from './cluster.js'
import { Delivery } from './delivery.js'
import { Fetcher } from './fetcher.js'
import { Membership } from './membership.js'

export interface FollowingDeps<T> {
  readonly cluster: Cluster
  readonly topic: string
  readonly groupId: string
  /** Names its connections; of no other follower in the process. */
  readonly lane: string
  readonly sessionTimeoutMs: number
  readonly follower: Follower<T>
  decode (value: Uint8Array): readonly T[]
  rejected (partition: number, offset: bigint, bytes: Uint8Array, reason: string): void
  readonly health: Health
  /** What permanent errors are asked again after, ms. */
  readonly slowMs: number
  failed (what: string, error: Error, fields: object): void
}

/** A partition that this member has: being asked for its position, delivered, or being given back. */
interface Held<T> {
  readonly left: AbortController
  delivery: Delivery<T> | undefined
}

const commitEveryMs = 1_000
const retryMsMin = 50
const retryMsMax = 5_000
const silentMsMax = 15_000

/** One follower: its place in the group, its fetches, and for each partition the steps between them, one at a time. */
export class KafkaFollowing<T> implements Following {
  private readonly held = new Map<number, Held<T>>()
  private wanted: ReadonlySet<number> = new Set()
  private readonly steps = new Map<number, Promise<void>>()
  private readonly commits = new Map<number, bigint>()
  private committing: NodeJS.Timeout | undefined
  private readonly fetcher: Fetcher
  private readonly membership: Membership
  private ready!: () => void
  private readonly complete = new Promise<void>(resolve => { this.ready = resolve })
  private stopping: Promise<void> | undefined

  constructor (private readonly deps: FollowingDeps<T>) {
    const { cluster, topic, lane, groupId, sessionTimeoutMs, health, slowMs, failed } = deps
    this.fetcher = new Fetcher({ cluster, topic, lane, groupId, health, slowMs, failed })
    this.membership = new Membership({
      cluster,
      groupId,
      topic,
      sessionTimeoutMs,
      health,
      failed,
      owned: () => [...this.held.keys()],
      assigned: (partitions, complete) => this.assigned(partitions, complete),
      lost: async () => {
        await this.want([])
        this.forgetCommits()
      },
    })
  }

  /** Resolves once the first assignment is complete. */
  start (): Promise<void> {
    this.membership.start()
    return this.complete
  }

  commit (partition: number, next: bigint): void {
    if (!this.held.has(partition)) return
    this.commits.set(partition, next)
    this.commitLater()
  }

  reassign (partition: number): Promise<void> {
    return this.step(partition, async () => {
      const held = this.held.get(partition)
      if (!held?.delivery || this.stopping) return
      await this.takeBack(partition, held)
      await this.take(partition, held)
    })
  }

  stop (): Promise<void> {
    this.stopping ??= this.stopOnce()
    return this.stopping
  }

  /** Waits until what stands before `offset` was delivered, but not for long. */
  async delivered (partition: number, offset: bigint, withinMs: number): Promise<void> {
    for (const end = Date.now() + withinMs; Date.now() < end; await sleep(5)) {
      const delivery = this.held.get(partition)?.delivery
      if (!delivery || delivery.delivered >= offset) return
    }
  }

  health (): { ok: boolean, reason: string } {
    const { cluster, topic, groupId, sessionTimeoutMs } = this.deps
    const trouble = cluster.topics.troubleOf(topic)
    if (trouble !== '') return { ok: false, reason: trouble }
    const nowMs = Date.now()
    const fetchMs = nowMs - this.fetcher.answeredAtMs
    if (this.fetcher.active && fetchMs > silentMsMax) {
      return { ok: false, reason: `no fetch of ${topic} was answered for ${Math.round(fetchMs / 1000)} s` }
    }
    const groupMs = nowMs - this.membership.confirmedAtMs
    if (groupMs > 3 * sessionTimeoutMs) {
      return { ok: false, reason: `group ${groupId} has not answered for ${Math.round(groupMs / 1000)} s` }
    }
    return { ok: true, reason: '' }
  }

  /** What it has not delivered yet, as of the last fetch. */
  lag (): Array<{ partition: number, next: bigint, end: bigint }> {
    return [...this.held].flatMap(([partition, { delivery }]) =>
      delivery ? [{ partition, next: delivery.delivered, end: delivery.end }] : [])
  }

  private async stopOnce (): Promise<void> {
    await this.want([])
    clearTimeout(this.committing)
    await this.flushCommits().catch(() => {}) // the next owner starts at an older one
    this.deps.health.end('followers', this.whatCommits)
    await this.membership.leave()
    this.fetcher.close()
    this.ready()
  }

  private assigned (partitions: readonly number[], complete: boolean): void {
    if (this.stopping) return
    const given = [...this.held.keys()].some(partition => !partitions.includes(partition))
    this.want(partitions).then(async () => {
      if (given && !this.stopping) {
        await this.flushCommits().catch(() => {}) // whoever gets them starts at an older one
        this.forgetCommits()
        this.membership.rejoin()
      }
      if (complete) this.ready()
    }).catch(err => this.deps.failed('assignment failed', err as Error, { topic: this.deps.topic }))
  }

  /** Resolves when everything else is given back and all of these are taken, unless they were given back again. */
  private async want (partitions: readonly number[]): Promise<void> {
    this.wanted = new Set(partitions)
    const changed = new Set([...partitions, ...this.held.keys(), ...this.steps.keys()])
    for (const [partition, { left }] of this.held) if (!this.wanted.has(partition)) left.abort()
    await Promise.all([...changed].map(partition => this.step(partition, () => this.settle(partition))))
  }

  private async settle (partition: number): Promise<void> {
    const held = this.held.get(partition)
    if (this.wanted.has(partition)) {
      if (held && !held.left.signal.aborted) return
      if (held) await this.takeBack(partition, held)
      const fresh: Held<T> = { left: new AbortController(), delivery: undefined }
      this.held.set(partition, fresh)
      await this.take(partition, fresh)
    } else if (held) {
      await this.takeBack(partition, held)
      this.held.delete(partition)
    }
  }

  private async take (partition: number, held: Held<T>): Promise<void> {
    const from = await this.positionOf(partition, held.left.signal)
    if (from === undefined) return
    const { follower, decode, rejected } = this.deps
    const delivery: Delivery<T> = new Delivery<T>(partition, from, {
      follower,
      decode,
      drained: () => this.fetcher.wake(),
      rejected: (offset, bytes, reason) => rejected(partition, offset, bytes, reason),
      failed: (err, offset) => this.failed(err, partition, offset),
    })
    held.delivery = delivery
    this.fetcher.add(delivery)
  }

  private async takeBack (partition: number, held: Held<T>): Promise<void> {
    const { delivery } = held
    if (!delivery) return
    this.fetcher.remove(delivery)
    this.deps.follower.leaving?.(partition)
    await delivery.stop()
    held.delivery = undefined
    try {
      await this.deps.follower.revoked(partition)
    } catch (err) {
      this.failed(err, partition, undefined)
    }
  }

  /** Asks until the group and the follower know; it may be that the follower's own store is away for a while. */
  private async positionOf (partition: number, signal: AbortSignal): Promise<bigint | undefined> {
    const { health, groupId, follower } = this.deps
    const what = `${groupId}, partition ${partition}`
    try {
      for (let waitMs = retryMsMin; !signal.aborted; waitMs = Math.min(2 * waitMs, retryMsMax)) {
        try {
          const committed = this.commits.get(partition) ?? await this.membership.committed(partition)
          if (signal.aborted) return undefined
          return await follower.assigned(partition, committed)
        } catch (err) {
          health.begin('followers', `it is not known where to go on: ${(err as Error).message}`, what)
        }
        await sleep(waitMs, undefined, { signal }).catch(() => {})
      }
      return undefined
    } finally {
      health.end('followers', what)
    }
  }

  /** One after the other for each partition. */
  private step (partition: number, task: () => Promise<void>): Promise<void> {
    const done = (this.steps.get(partition) ?? Promise.resolve()).then(task)
    const kept = done.catch(() => {}).then(() => {
      if (this.steps.get(partition) === kept) this.steps.delete(partition)
    })
    this.steps.set(partition, kept)
    return done
  }

  private get whatCommits (): string { return `${this.deps.groupId}, commits` }

  /** Until it has succeeded: nobody else may ask for another one. */
  private commitLater (): void {
    if (this.stopping) return
    this.committing ??= setTimeout(() => {
      this.committing = undefined
      this.flushCommits().then(() => { this.deps.health.end('followers', this.whatCommits) }, (err: Error) => {
        if (this.stopping) return
        this.deps.health.begin('followers', `its place can not be stored: ${err.message}`, this.whatCommits)
        this.commitLater()
      })
    }, commitEveryMs)
  }

  private async flushCommits (): Promise<void> {
    if (this.commits.size === 0) return
    const sent = new Map(this.commits)
    await this.membership.commit(sent)
    for (const [partition, next] of sent) if (this.commits.get(partition) === next) this.commits.delete(partition)
  }

  /** Forgets commits of partitions that were given back: sent later, they would undo what the next owner commits. */
  private forgetCommits (): void {
    for (const partition of this.commits.keys()) if (!this.held.has(partition)) this.commits.delete(partition)
  }

  private failed (err: unknown, partition: number, offset: bigint | undefined): void {
    const { failed, topic, groupId } = this.deps
    failed('follower failed', err as Error, { topic, group: groupId, partition, offset })
  }
}
