import { setTimeout as sleep } from 'node:timers/promises'
import type { Health } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Follower, Following, Place as GroupPlace } from '../log.js'
import type { Cluster } from './cluster.js'
import { Delivery } from './delivery.js'
import { Fetcher } from './fetcher.js'
import { Keeping } from './keeping.js'
import { Membership } from './membership.js'
import { leaderOf } from './offsets.js'
import { cutBack, partingOf, type Parting, type Place } from './places.js'

export interface FollowingDeps<T> {
  readonly cluster: Cluster
  readonly topic: string
  readonly groupId: string
  /** Names its connections; of no other follower in the process. */
  readonly lane: string
  readonly sessionTimeoutMs: number
  readonly instanceId?: string | undefined
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
  /** Where the log was found to be another one than it was; until it is known where to go on. */
  parting: Parting | undefined
  /** Why it is not delivered, before anything can be fetched for it; empty for nothing. */
  reason: string
}

/** How often it is looked how far the follower has come. */
const placeEveryMs = 1_000
const retryMsMin = 50
const retryMsMax = 5_000
const silentMsMax = 15_000

/** One follower: its place in the group, its fetches, and for each partition the steps between them, one at a time. */
export class KafkaFollowing<T> implements Following {
  private readonly held = new Map<number, Held<T>>()
  private wanted: ReadonlySet<number> = new Set()
  private readonly steps = new Map<number, Promise<void>>()
  private readonly keeping: Keeping
  private readonly looking: NodeJS.Timeout
  private readonly fetcher: Fetcher
  private readonly membership: Membership
  private ready!: () => void
  private readonly complete = new Promise<void>(resolve => { this.ready = resolve })
  private stopping: Promise<void> | undefined

  constructor (private readonly deps: FollowingDeps<T>) {
    const { cluster, topic, lane, groupId, sessionTimeoutMs, instanceId, health, slowMs, failed } = deps
    this.fetcher = new Fetcher({ cluster, topic, lane, groupId, health, slowMs, failed })
    this.membership = new Membership({
      cluster,
      groupId,
      topic,
      sessionTimeoutMs,
      instanceId,
      slowMs,
      health,
      failed,
      owned: () => [...this.held.keys()],
      assigned: (partitions, complete) => this.assigned(partitions, complete),
      lost: async () => {
        await this.want([])
        this.forget()
      },
    })
    this.keeping = new Keeping({
      groupId,
      health,
      load: partition => this.membership.kept(partition),
      store: kept => this.membership.keep(kept),
    })
    this.looking = setInterval(() => {
      for (const [partition, { delivery }] of this.held) if (delivery) this.keeping.came(partition, delivery.place)
    }, placeEveryMs)
  }

  /** Resolves once the first assignment is complete. */
  start (): Promise<void> {
    this.membership.start()
    return this.complete
  }

  commit (partition: number, next: bigint): void {
    if (this.held.has(partition)) this.keeping.commit(partition, next)
  }

  async keep (partition: number, { next, index }: GroupPlace): Promise<void> {
    if (!this.held.has(partition)) throw new GatewayError('not-leased')
    try {
      await this.keeping.commitNow(partition, next, index)
    } catch (cause) {
      throw new GatewayError('ledger-unavailable', `its place is not known to be stored: ${(cause as Error).message}`, { cause })
    }
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
    if (this.membership.refusal !== '') return { ok: false, reason: this.membership.refusal }
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

  /** Partitions of this member that get nothing, each with why. */
  standing (): Array<{ partition: number, reason: string }> {
    return [...this.held].flatMap(([partition, { delivery, reason }]) => {
      const why = delivery ? this.fetcher.reasonOf(delivery) : reason
      return why === '' ? [] : [{ partition, reason: why }]
    })
  }

  private async stopOnce (): Promise<void> {
    clearInterval(this.looking)
    await this.want([])
    await this.keeping.end()
    await this.membership.leave()
    this.fetcher.close()
    this.ready()
  }

  private assigned (partitions: readonly number[], complete: boolean): void {
    if (this.stopping) return
    const given = [...this.held.keys()].some(partition => !partitions.includes(partition))
    this.want(partitions).then(async () => {
      if (given && !this.stopping) {
        await this.keeping.flush().catch(() => {}) // whoever gets them starts at an older one
        this.forget()
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
      const fresh: Held<T> = { left: new AbortController(), delivery: undefined, parting: undefined, reason: '' }
      this.held.set(partition, fresh)
      await this.take(partition, fresh)
    } else if (held) {
      await this.takeBack(partition, held)
      this.held.delete(partition)
    }
  }

  private async take (partition: number, held: Held<T>): Promise<void> {
    const from = await this.placeOf(partition, held)
    if (from === 'gone') return this.standStill(partition, held)
    this.deps.health.end('cut-back', this.nameOf(partition))
    held.reason = ''
    if (from === undefined) return
    const { follower, decode, rejected } = this.deps
    const delivery: Delivery<T> = new Delivery<T>(partition, from, {
      follower,
      decode,
      drained: () => this.fetcher.wake(),
      rejected: (offset, bytes, reason) => rejected(partition, offset, bytes, reason),
      parted: parting => {
        held.parting = parting
        this.reassign(partition).catch(err => this.failed(err, partition, parting.at))
      },
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
    this.keeping.came(partition, delivery.place)
    held.delivery = undefined
    try {
      await this.deps.follower.revoked(partition)
    } catch (err) {
      this.failed(err, partition, undefined)
    }
  }

  /** Asks until the group and the follower know; it may be that the follower's own store is away for a while. */
  private async placeOf (partition: number, held: Held<T>): Promise<Place | undefined | 'gone'> {
    const { health } = this.deps
    const { signal } = held.left
    const what = this.nameOf(partition)
    try {
      for (let waitMs = retryMsMin; !signal.aborted; waitMs = Math.min(2 * waitMs, retryMsMax)) {
        try {
          return await this.askPlace(partition, held)
        } catch (err) {
          held.reason = `it is not known where to go on: ${(err as Error).message}`
          health.begin('followers', held.reason, what)
        }
        await sleep(waitMs, undefined, { signal }).catch(() => {})
      }
      return undefined
    } finally {
      health.end('followers', what)
    }
  }

  /** @returns undefined where the partition is given back, `gone` where the follower would go on in what is gone */
  private async askPlace (partition: number, held: Held<T>): Promise<Place | undefined | 'gone'> {
    const { cluster, topic, groupId, follower, failed } = this.deps
    const { committed, index, place } = await this.keeping.of(partition)
    if (place) {
      const node = await leaderOf(cluster, topic, partition)
      held.parting = await partingOf(cluster, node, topic, partition, place) ?? held.parting
    }
    if (held.left.signal.aborted) return undefined
    const { parting } = held
    if (!parting) {
      const next = await follower.assigned(partition, committed, index)
      return { next, epoch: place && next <= place.next ? place.epoch : -1 }
    }
    const isCut = parting.at < committed
    const next = await follower.assigned(partition, isCut ? parting.at : committed, isCut ? 0 : index)
    if (next > parting.at) {
      await follower.revoked(partition)
      return 'gone'
    }
    const from = { next, epoch: parting.epoch }
    this.keeping.goBack(partition, from)
    held.parting = undefined
    const told = cutBack(topic, partition, place?.next, parting.at)
    failed('the log was cut back', new Error(told), { topic, group: groupId, partition, from: next })
    return from
  }

  /** The follower is asked again now and then, and nobody waits for it: there are other partitions to follow. */
  private standStill (partition: number, held: Held<T>): void {
    const { topic, groupId, health } = this.deps
    const what = this.nameOf(partition)
    held.reason = `${cutBack(topic, partition, undefined, held.parting!.at)}; ` +
      `${groupId} has stored what it made of it, and stands still ` +
      'until that is removed and made anew: docs/operations.md, "A log that was cut back"'
    health.begin('cut-back', held.reason, what)
    const { signal } = held.left
    sleep(retryMsMax, undefined, { signal }).catch(() => {}).then(() => this.step(partition, async () => {
      if (signal.aborted) health.end('cut-back', what)
      else if (!held.delivery) await this.take(partition, held)
    })).catch(err => this.failed(err, partition, undefined))
  }

  private nameOf (partition: number): string { return `${this.deps.groupId}, partition ${partition}` }

  /** One after the other for each partition. */
  private step (partition: number, task: () => Promise<void>): Promise<void> {
    const done = (this.steps.get(partition) ?? Promise.resolve()).then(task)
    const kept = done.catch(() => {}).then(() => {
      if (this.steps.get(partition) === kept) this.steps.delete(partition)
    })
    this.steps.set(partition, kept)
    return done
  }

  private forget (): void { this.keeping.forget(partition => this.held.has(partition)) }

  private failed (err: unknown, partition: number, offset: bigint | undefined): void {
    const { failed, topic, groupId } = this.deps
    failed('follower failed', err as Error, { topic, group: groupId, partition, offset })
  }
}
