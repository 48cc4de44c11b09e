import type { Block, Follower, Place } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Turns } from '../world.js'
import type { Group, Member } from './group.js'

export interface GroupMemberOptions {
  readonly name: string
  readonly group: Group
  /** Of the node. */
  readonly turns: Turns
  readonly follower: Follower<any>
  /** To the broker, in order. */
  send (what: string, run: () => void): void
  /** From the broker. */
  answer (what: string, run: () => void): void
  fetch (partition: number, from: bigint, got: (blocks: Array<Block<any>>, first: bigint) => void): void
  failed (error: unknown, partition: number): void
}

/** A partition that this member has, or believes to have. */
interface Held {
  /** Undefined until the follower has said where it begins. */
  next: bigint | undefined
  isStopped: boolean
  isBusy: boolean
  whenIdle: (() => void) | undefined
}

const heartbeatMs = 2_000
const retryMsMax = 5_000

/** The half of a consumer group that is on the node: hands out blocks, one partition beside the other. */
export class GroupMember implements Member {
  readonly name: string
  readonly #options: GroupMemberOptions
  readonly #held = new Map<number, Held>()
  /** Calls of the follower about one partition follow each other. */
  readonly #turns = new Map<number, Promise<void>>()
  #whenSettled: (() => void) | undefined
  /** How often it has joined: what the group said of an earlier time is none of this one's. */
  #joins = 0
  /** It gives back what it had, and joins once it has. */
  #isJoining = false
  #hasLeft = false

  constructor (options: GroupMemberOptions) {
    this.#options = options
    this.name = options.name
  }

  /** Resolves once the partitions are dealt out. */
  async join (): Promise<void> {
    this.#options.send('joins', () => { this.#options.group.join(this) })
    this.#beat()
    await new Promise<void>(resolve => { this.#whenSettled = resolve })
  }

  commit (partition: number, next: bigint): void {
    if (!this.#held.has(partition)) return
    this.#options.send('commits', () => { this.#options.group.commit(this, partition, { next, index: 0 }) })
  }

  keep (partition: number, place: Place): Promise<void> {
    return new Promise((resolve, reject) => {
      const refuse = (): void => { reject(new GatewayError('not-leased')) }
      if (!this.#held.has(partition)) return refuse()
      const { group, send, answer } = this.#options
      send('keeps a place', () => {
        const isKept = group.commit(this, partition, place)
        answer('has kept a place', isKept ? resolve : refuse)
      })
    })
  }

  async reassign (partition: number): Promise<void> {
    if (!this.#held.has(partition)) return
    await this.#inTurn(partition, async () => {
      const { group } = this.#options
      await this.#drop(partition)
      await this.#take(partition, group.committed[partition]!)
    })
  }

  async stop (): Promise<void> {
    this.#hasLeft = true
    await Promise.all(Array.from(this.#held.keys(), async partition => {
      await this.#inTurn(partition, async () => { await this.#drop(partition) })
    }))
    await new Promise<void>(resolve => {
      this.#options.send('leaves', () => {
        this.#options.group.leave(this)
        this.#options.answer('has left', resolve)
      })
    })
  }

  /** Waits until it has delivered what was there at the call, as far as it is told of that. */
  async caughtUp (): Promise<void> {
    await Promise.all(Array.from(this.#held, async ([partition, held]) => {
      await new Promise<void>(resolve => {
        this.#options.turns.later(50, 'delivers the rest', async () => {
          while (held.isBusy) await new Promise<void>(resolve => { this.#options.turns.later(5, 'delivers the rest', resolve) })
          resolve()
        })
      })
      return partition
    }))
  }

  assign (partition: number, committed: Place): void {
    this.#options.answer(`is assigned ${this.#options.group.name} ${partition}`, () => {
      this.#inTurn(partition, async () => {
        if (this.#hasLeft) return
        await this.#take(partition, committed)
        this.#options.send('took it', () => { this.#options.group.taken(this, partition) })
      })
    })
  }

  revoke (partition: number): void {
    this.#options.answer(`is to give back ${this.#options.group.name} ${partition}`, () => {
      this.#inTurn(partition, async () => {
        await this.#drop(partition)
        this.#options.send('gives back', () => { this.#options.group.givenBack(this, partition) })
      })
    })
  }

  settled (): void {
    this.#options.answer('has its share', () => { this.#whenSettled?.() })
  }

  #beat (): void {
    this.#options.turns.later(heartbeatMs, 'heartbeat', () => {
      if (this.#hasLeft) return
      if (!this.#isJoining) this.#tellOfItself(this.#joins)
      this.#beat()
    })
  }

  #tellOfItself (joins: number): void {
    this.#options.send('is there', () => {
      if (this.#options.group.heartbeat(this)) return
      this.#options.answer('is no member any more', () => { if (joins === this.#joins) this.#joinAnew() })
    })
  }

  /** The group has given its partitions to others, in a pause of this node. */
  async #joinAnew (): Promise<void> {
    if (this.#hasLeft) return
    this.#joins++
    this.#isJoining = true
    await Promise.all(Array.from(this.#held.keys(), async partition => {
      await this.#inTurn(partition, async () => { await this.#drop(partition) })
    }))
    if (this.#hasLeft) return
    this.#isJoining = false
    this.#options.send('joins anew', () => { this.#options.group.join(this) })
  }

  async #inTurn (partition: number, work: () => Promise<void>): Promise<void> {
    const done = (this.#turns.get(partition) ?? Promise.resolve()).then(work)
    this.#turns.set(partition, done.catch(() => {}))
    await done
  }

  async #take (partition: number, { next, index }: Place): Promise<void> {
    if (this.#held.has(partition)) return
    const held: Held = { next: undefined, isStopped: false, isBusy: false, whenIdle: undefined }
    this.#held.set(partition, held)
    const { follower, failed, turns } = this.#options
    for (let waitMs = 50; held.next === undefined && !this.#hasLeft; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        held.next = await follower.assigned(partition, next, index)
      } catch (err) {
        failed(err, partition)
        await new Promise<void>(resolve => { turns.later(waitMs, 'asks the follower again', resolve) })
      }
    }
    if (held.next !== undefined) this.#fetch(partition, held)
  }

  async #drop (partition: number): Promise<void> {
    const held = this.#held.get(partition)
    if (!held) return
    held.isStopped = true
    const { follower, failed } = this.#options
    follower.leaving?.(partition)
    if (held.isBusy) await new Promise<void>(resolve => { held.whenIdle = resolve })
    this.#held.delete(partition)
    if (held.next === undefined) return
    try {
      await follower.revoked(partition)
    } catch (err) {
      failed(err, partition)
    }
  }

  #fetch (partition: number, held: Held): void {
    if (held.isStopped) return
    this.#options.fetch(partition, held.next!, (blocks, first) => {
      if (!held.isStopped) this.#deliver(partition, held, blocks, first)
    })
  }

  async #deliver (partition: number, held: Held, blocks: Array<Block<any>>, first: bigint): Promise<void> {
    const { follower, failed } = this.#options
    held.isBusy = true
    if (held.next! > 0n && held.next! < first) {
      failed(new Error(`the blocks from ${held.next} to ${first} were deleted`), partition)
      follower.passed?.(partition, { from: held.next!, to: first })
    }
    for (const block of blocks) {
      if (held.isStopped) break
      held.next = block.offset + 1n
      try {
        const outcome = follower.received(block)
        if (outcome instanceof Promise) await outcome
      } catch (err) {
        failed(err, partition)
      }
    }
    held.isBusy = false
    held.whenIdle?.()
    this.#fetch(partition, held)
  }
}
