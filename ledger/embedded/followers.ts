import { setTimeout as sleep } from 'node:timers/promises'
import { GatewayError } from '../../schemas/errors.js'
import type { Follower, Following, Place } from '../log.js'
import type { PartitionLog } from './partition.js'

/** A follower failed, at `offset` where it is about one block; the log goes on with the next one. */
export type FollowerErrorHandler =
  (err: unknown, where: { stream: string, group: string, partition: number, offset: bigint | undefined }) => void

/** How long catching up may keep the event loop. */
const turnMs = 4
const retryMsMax = 5000

/** One partition's way to one member of a group: one block at a time, in order. */
export class Delivery {
  private busy = false
  private stopped = false
  private whenIdle: (() => void) | undefined
  private readonly go = (): void => { this.busy = false; this.pump() }

  constructor (
    private readonly log: PartitionLog,
    private readonly follower: Follower<any>,
    private readonly onError: FollowerErrorHandler,
    readonly group: Group,
    /** Offset of the next block to deliver, or of the first one after it. */
    public next: number
  ) {}

  /** Delivers what is there until the follower wants to be waited for. */
  pump (): void {
    if (this.busy) return
    let startedMs = 0
    while (!this.stopped && this.next < this.log.next) {
      const block = this.log.readNext(this.next)
      if (block === undefined) { // nothing left but what was set aside
        this.next = this.log.next
        break
      }
      this.tellOfHole(Number(block.offset))
      this.next = Number(block.offset) + 1
      let outcome: unknown
      try {
        outcome = this.follower.received(block)
      } catch (err) {
        this.failed(err, block.offset)
      }
      if (outcome instanceof Promise) {
        this.busy = true
        outcome.then(this.go, err => { this.failed(err, block.offset); this.go() })
        return
      }
      if (this.next < this.log.next) {
        if (startedMs === 0) startedMs = performance.now()
        else if (performance.now() - startedMs > turnMs) {
          this.busy = true
          setImmediate(this.go)
          return
        }
      }
    }
    this.log.pruneTail()
    if (this.stopped) this.whenIdle?.()
  }

  /** Resolves when no block is being handled, and none will be. */
  stop (): Promise<void> {
    this.stopped = true
    this.log.deliveries.splice(this.log.deliveries.indexOf(this), 1)
    this.log.pruneTail()
    if (!this.busy) return Promise.resolve()
    return new Promise(resolve => { this.whenIdle = resolve })
  }

  /** Whoever follows keeps retention from what it has yet to take; from 0 on means from whatever is kept. */
  private tellOfHole (offset: number): void {
    const to = Math.min(offset, this.log.firstStaying)
    if (this.next === 0 || this.next >= to) return
    const what = `the blocks from ${this.next} to ${to - 1} were deleted before they were taken`
    this.failed(new Error(what), BigInt(offset))
    this.follower.passed?.(this.log.partition, { from: BigInt(this.next), to: BigInt(to) })
  }

  private failed (err: unknown, offset: bigint): void {
    const { name: group, stream } = this.group
    this.onError(err, { stream, group, partition: this.log.partition, offset })
  }
}

/** What one group has committed of one stream. */
export interface Committed {
  /** 0n for nothing. */
  of (partition: number): Place
  /** A little later. */
  keep (partition: number, next: bigint): void
  /** Resolves once it is durable. @throws GatewayError `ledger-unavailable` */
  store (partition: number, place: Place): Promise<void>
  /** Undefined for nothing. */
  stored (partition: number): Place | undefined
  /** As `store`. */
  forget (partition: number): Promise<void>
}

interface Member { readonly follower: Follower<any>, readonly left: AbortController }

/** Members of one group on one stream, and which of them has which partition. */
export class Group {
  private readonly members: Member[] = []
  private readonly owners: Array<Member | undefined> = []
  private readonly deliveries: Array<Delivery | undefined> = []
  private changing: Promise<void> = Promise.resolve()

  constructor (
    readonly stream: string,
    readonly name: string,
    /** Groups get each block in the order in which they were formed. */
    private readonly order: number,
    private readonly logs: readonly PartitionLog[],
    private readonly committed: Committed,
    private readonly onError: FollowerErrorHandler
  ) {}

  async join (follower: Follower<any>): Promise<Following> {
    const member: Member = { follower, left: new AbortController() }
    this.members.push(member)
    await this.rebalance()
    return {
      commit: (partition, next) => { if (this.owners[partition] === member) this.committed.keep(partition, next) },
      keep: async (partition, place) => {
        if (this.owners[partition] !== member) throw new GatewayError('not-leased')
        await this.committed.store(partition, place)
      },
      reassign: partition => this.reassign(member, partition),
      stop: () => this.leave(member),
    }
  }

  get isEmpty (): boolean { return this.members.length === 0 }

  async stop (): Promise<void> {
    await Promise.all(this.members.map(member => this.leave(member)))
  }

  private leave (member: Member): Promise<void> {
    if (!member.left.signal.aborted) {
      member.left.abort()
      this.members.splice(this.members.indexOf(member), 1)
    }
    return this.rebalance()
  }

  private rebalance (): Promise<void> {
    this.changing = this.changing.then(async () => {
      await Promise.all(this.logs.map(log => this.move(log)))
    })
    return this.changing
  }

  private reassign (member: Member, partition: number): Promise<void> {
    this.changing = this.changing.then(async () => {
      if (this.owners[partition] !== member) return
      await this.takeBack(partition, member)
      await this.move(this.logs[partition]!)
    })
    return this.changing
  }

  private async takeBack (partition: number, owner: Member): Promise<void> {
    owner.follower.leaving?.(partition)
    await this.deliveries[partition]?.stop()
    this.owners[partition] = this.deliveries[partition] = undefined
    await this.call(partition, () => owner.follower.revoked(partition))
  }

  private async move (log: PartitionLog): Promise<void> {
    const { partition } = log
    const target = this.members[partition % this.members.length]
    const owner = this.owners[partition]
    if (owner === target) return
    if (owner) await this.takeBack(partition, owner)
    if (!target || target.left.signal.aborted) return
    this.owners[partition] = target // it may keep a place before it says where it begins
    const from = await this.positionOf(target, partition)
    if (from === undefined) {
      this.owners[partition] = undefined
      return
    }
    const delivery = new Delivery(log, target.follower, this.onError, this, Number(from))
    this.deliveries[partition] = delivery
    const later = log.deliveries.findIndex(({ group }) => group.order > this.order)
    log.deliveries.splice(later === -1 ? log.deliveries.length : later, 0, delivery)
    delivery.pump()
  }

  /** Asks until the follower knows; it may be that its own store is away for a while. */
  private async positionOf (member: Member, partition: number): Promise<bigint | undefined> {
    for (let waitMs = 50; !member.left.signal.aborted; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      const { next, index } = this.committed.of(partition)
      const from = await this.call(partition, () => member.follower.assigned(partition, next, index))
      if (from !== undefined) return from
      await sleep(waitMs, undefined, { signal: member.left.signal }).catch(() => {})
    }
    return undefined
  }

  private async call<T> (partition: number, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask()
    } catch (err) {
      this.onError(err, { stream: this.stream, group: this.name, partition, offset: undefined })
      return undefined
    }
  }
}
