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

/** One partition of a stream. Everything in it is durable. */
export class StoredPartition {
  readonly blocks: StoredBlock[] = []
  first = 0n
  next = 0n
  derivedFrom = -1n
  #waiting: Array<() => void> = []

  add (bytes: Buffer, atMs: number, derivedFrom: bigint): bigint {
    const offset = this.next++
    this.blocks.push({ offset, bytes, atMs, derivedFrom })
    if (derivedFrom > this.derivedFrom) this.derivedFrom = derivedFrom
    for (const wake of this.#waiting.splice(0)) wake()
    return offset
  }

  /** At most `max` blocks from an offset on. */
  from (offset: bigint, max: number): StoredBlock[] {
    const at = Number(offset - this.first)
    return this.blocks.slice(Math.max(0, at), Math.max(0, at) + max)
  }

  /** Calls back once, with the next block, or at once where there is one. */
  whenBeyond (offset: bigint, wake: () => void): void {
    if (offset < this.next) wake()
    else this.#waiting.push(wake)
  }

  /** Deletes what is before `to`, as retention does. */
  cut (to: bigint): void {
    while (this.blocks.length > 0 && this.blocks[0]!.offset < to) this.blocks.shift()
    this.first = this.blocks[0]?.offset ?? this.next
  }
}

/**
 * The log of a simulated cluster, which all nodes share: partitions of blocks, consumer groups, and an answer that may
 * be late or never come. It itself loses nothing.
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

  cutOff (node: Turns): void { if (!this.#cutOff.has(node)) this.#cutOff.set(node, []) }

  heal (): void {
    const held = [...this.#cutOff.values()].flat()
    this.#cutOff.clear()
    for (const arrive of held) arrive()
  }

  /** Whether `node` is answered just now. */
  isAwayFor (node: Turns): boolean { return this.trouble.isAway || this.#cutOff.has(node) }

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
