import type { Stream } from '../../schemas/streams.js'
import type { Random } from '../random.js'
import type { Turns } from '../world.js'
import { Group } from './group.js'

/** What can go wrong between a node and the broker; the world changes it as it goes on. */
export interface Trouble {
  /** One way, ms. */
  latencyMs: readonly [min: number, max: number]
  /** Probability that an append does not arrive, that its answer does not, and that it is written again then. */
  requestLost: number
  answerLost: number
  repeated: number
  /** Nobody is answered. */
  isAway: boolean
}

export const noTrouble: Trouble = { latencyMs: [0.3, 2], requestLost: 0, answerLost: 0, repeated: 0, isAway: false }

export interface BrokerOptions {
  readonly turns: Turns
  readonly random: Random
  readonly nowMs: () => number
  /** Of a stream that nobody has used before. */
  readonly partitionsOf: (stream: Stream<any>) => number
  /** A member of a group that is not heard of for so long has its partitions taken. */
  readonly sessionMs: number
}

export interface StoredBlock {
  readonly offset: bigint
  readonly bytes: Buffer
  readonly atMs: number
  readonly derivedFrom: bigint
}

/** What somebody wants to have stored. */
export interface Written { readonly bytes: Buffer, readonly derivedFrom: bigint }

/** Blocks of one request that a leader has taken: they count once the other replicas have them, or are gone with it. */
export class Taken {
  isReplicated: boolean | undefined
  #waiting: Array<(isReplicated: boolean) => void> = []

  constructor (readonly blocks: readonly StoredBlock[]) {}

  get offsets (): bigint[] { return this.blocks.map(({ offset }) => offset) }

  whenSettled (tell: (isReplicated: boolean) => void): void {
    if (this.isReplicated === undefined) this.#waiting.push(tell)
    else tell(this.isReplicated)
  }

  settle (isReplicated: boolean): void {
    this.isReplicated = isReplicated
    for (const tell of this.#waiting.splice(0)) tell(isReplicated)
  }
}

/** One partition of a stream. What its replicas have is durable; nobody sees anything else. */
export class StoredPartition {
  /** All that was ever stored, deleted or not: whoever looks from outside may read what nodes can not any more. */
  readonly blocks: StoredBlock[] = []
  /** What was not deleted begins here. */
  first = 0n
  next = 0n
  derivedFrom = -1n
  /** Nobody leads it just now: it takes nothing and answers nothing. */
  isLeaderless = false
  /** Its replicas do not follow their leader. */
  isStalled = false
  #tail: Taken[] = []
  #waiting: Array<() => void> = []

  /** The leader has something that not all replicas have. */
  get hasTail (): boolean { return this.#tail.length > 0 }

  take (written: readonly Written[], atMs: number): Taken {
    let offset = this.#tail.reduce((next, { blocks }) => next + BigInt(blocks.length), this.next)
    const taken = new Taken(written.map(({ bytes, derivedFrom }) => ({ offset: offset++, bytes, atMs, derivedFrom })))
    this.#tail.push(taken)
    return taken
  }

  /** The replicas have all that the leader has taken up to this. */
  replicate (taken: Taken): void {
    if (taken.isReplicated !== undefined || this.isStalled) return
    const settled = this.#tail.splice(0, this.#tail.indexOf(taken) + 1)
    for (const { blocks } of settled) {
      this.blocks.push(...blocks)
      this.next += BigInt(blocks.length)
      for (const { derivedFrom } of blocks) if (derivedFrom > this.derivedFrom) this.derivedFrom = derivedFrom
    }
    for (const each of settled) each.settle(true)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Its leader is gone, and with it what no replica has. */
  loseLeader (): void {
    this.isLeaderless = true
    this.isStalled = false
    for (const taken of this.#tail.splice(0)) taken.settle(false)
  }

  /** At most `max` blocks from an offset on. */
  from (offset: bigint, max: number): StoredBlock[] {
    const at = Number(offset)
    return this.blocks.slice(at, at + max)
  }

  /** Calls back once, with the next block, or at once where there is one. */
  whenBeyond (offset: bigint, wake: () => void): void {
    if (offset < this.next) wake()
    else this.#waiting.push(wake)
  }

  /** Deletes what is before `to`, as retention does. */
  cut (to: bigint): void { if (to > this.first) this.first = to < this.next ? to : this.next }

  /** Deletes what is older, but for the last block. */
  cutOlderThan (ms: number): void {
    const kept = this.blocks.findIndex(({ offset, atMs }) => offset >= this.first && atMs >= ms)
    const to = kept === -1 ? this.next - 1n : BigInt(kept)
    if (to > this.first) this.cut(to)
  }
}

const deleteEveryMs = 5_000
/** From a leader to the replicas of a partition, ms. */
const replicaMs = [0.1, 0.8] as const

/**
 * The log of a simulated cluster, which all nodes share: partitions of blocks, consumer groups, and an answer that may
 * be late or never come. What it has answered it does not lose.
 */
export class Broker {
  trouble: Trouble = noTrouble
  /** Nodes that do not reach it: what they send waits until they do. */
  readonly #cutOff = new Map<Turns, Array<() => void>>()
  readonly #streams = new Map<string, StoredPartition[]>()
  readonly #groups = new Map<string, Group>()

  constructor (readonly options: BrokerOptions) {}

  partitions (stream: Stream<any>): readonly StoredPartition[] {
    let partitions = this.#streams.get(stream.name)
    if (!partitions) {
      partitions = Array.from({ length: this.options.partitionsOf(stream) }, () => new StoredPartition())
      this.#streams.set(stream.name, partitions)
    }
    return partitions
  }

  group (stream: Stream<any>, name: string): Group {
    const key = `${stream.name}/${name}`
    let group = this.#groups.get(key)
    if (!group) {
      const { turns, nowMs, sessionMs } = this.options
      group = new Group(key, this.partitions(stream).length, { turns, nowMs, sessionMs })
      this.#groups.set(key, group)
    }
    return group
  }

  /** All partitions that anybody has used. */
  all (): StoredPartition[] { return [...this.#streams.values()].flat() }

  /** The leader has taken these blocks, and the others get them. */
  take (partition: StoredPartition, written: readonly Written[]): Taken {
    const { turns, random, nowMs } = this.options
    const taken = partition.take(written, nowMs())
    turns.later(random.between(...replicaMs), 'replicas follow', () => { partition.replicate(taken) })
    return taken
  }

  /** Every now and then deletes what is older than its stream is to keep it, ms by the stream's name, as brokers do. */
  deleteByAge (retentionMs: Readonly<Record<string, number>>): void {
    const { turns, nowMs } = this.options
    turns.later(deleteEveryMs, 'the brokers delete what is old', () => {
      for (const [name, ms] of Object.entries(retentionMs)) {
        for (const partition of this.#streams.get(name) ?? []) partition.cutOlderThan(nowMs() - ms)
      }
      this.deleteByAge(retentionMs)
    })
  }

  cutOff (node: Turns): void { if (!this.#cutOff.has(node)) this.#cutOff.set(node, []) }

  heal (): void {
    const held = [...this.#cutOff.values()].flat()
    this.#cutOff.clear()
    for (const arrive of held) arrive()
  }

  /** Whether `node` is answered just now, by whoever leads this partition. */
  isAwayFor (node: Turns, partition?: StoredPartition): boolean {
    return this.trouble.isAway || this.#cutOff.has(node) || partition?.isLeaderless === true
  }

  /** Something of `node` has come as far as the broker. */
  arrive (node: Turns, run: () => void): void {
    const held = this.#cutOff.get(node)
    if (held) held.push(run)
    else run()
  }

  latencyMs (): number {
    const { trouble: { latencyMs: [min, max] }, options: { random } } = this
    return random.between(min, max)
  }
}
