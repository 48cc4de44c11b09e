import {
  type AppendOptions, type Block, type EventLog, type Follower, type Following, type Position, type ReadRange,
} from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import type { Turns } from '../world.js'
import { Appends } from './appends.js'
import type { Broker, StoredBlock, StoredPartition } from './broker.js'
import { GroupMember } from './member.js'
import { Way } from './way.js'

export interface SimulatedLogOptions {
  readonly broker: Broker
  /** Of the node: where it is down, nothing is answered any more. */
  readonly turns: Turns
  readonly nodeName: string
  readonly pendingBytesMax?: number
  /** Reads also what was deleted: for who looks from outside. */
  readonly isWhole?: boolean
  readonly followerFailed: (error: unknown, where: string) => void
}

/** Above every offset. */
const never = 1n << 62n
/** Blocks to one answer. */
const readMax = 100

/** A node's view of the broker: `EventLog` as Kafka's side has it. */
export class SimulatedLog implements EventLog {
  readonly #options: SimulatedLogOptions
  readonly #way: Way
  readonly #appends: Appends
  readonly #members = new Set<GroupMember>()
  readonly #closing = new AbortController()

  constructor (options: SimulatedLogOptions) {
    this.#options = options
    const { broker, turns, nodeName, pendingBytesMax = 32 << 20 } = options
    this.#way = new Way(broker, turns, nodeName)
    this.#appends = new Appends(this.#way, pendingBytesMax)
  }

  partitions (stream: Stream<any>): number { return this.#options.broker.partitions(stream).length }

  async append<T> (
    stream: Stream<T>, partition: number, items: readonly T[], options: AppendOptions = {}
  ): Promise<Position> {
    if (this.#closing.signal.aborted) throw new GatewayError('ledger-unavailable', 'the log is closed')
    if (!(partition in this.#options.broker.partitions(stream))) {
      throw new RangeError(`${stream.name} has no partition ${partition}`)
    }
    return await this.#appends.append(stream, partition, items, options)
  }

  read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncIterable<Block<T>> {
    return this.#read(stream, partition, range)
  }

  async bounds (stream: Stream<any>, partition: number): Promise<{ first: bigint, next: bigint }> {
    const stored = this.#stored(stream, partition)
    return await this.#way.ask(stored, () => ({ first: this.#firstOf(stored), next: stored.next }))
  }

  async offsetAt (stream: Stream<any>, partition: number, atMs: number): Promise<bigint> {
    return (await this.firstSince(stream, partition, atMs))?.offset ??
      (await this.bounds(stream, partition)).next
  }

  /** As the log of Kafka has it. */
  async firstSince (
    stream: Stream<any>, partition: number, atMs: number
  ): Promise<{ offset: bigint, atMs: number } | undefined> {
    const stored = this.#stored(stream, partition)
    return await this.#way.ask(stored, () =>
      stored.from(this.#firstOf(stored), Infinity).find(block => block.atMs >= atMs))
  }

  /** As the log of Kafka has it. */
  async deleteTo (stream: Stream<any>, partition: number, to: bigint): Promise<void> {
    const stored = this.#stored(stream, partition)
    await this.#way.ask(stored, () => { stored.cut(to) })
  }

  async derivedFrom (stream: Stream<any>, partition: number): Promise<bigint> {
    const stored = this.#stored(stream, partition)
    return await this.#way.ask(stored, () => stored.derivedFrom)
  }

  async follow<T> (stream: Stream<T>, group: string, follower: Follower<T>): Promise<Following> {
    const { broker, turns, nodeName, followerFailed } = this.#options
    const member = new GroupMember({
      name: nodeName,
      group: broker.group(stream, group),
      turns,
      follower,
      send: (what, run) => { this.#way.send(what, run) },
      answer: (what, run) => { this.#way.answer(what, run) },
      fetch: (partition, from, got) => { this.#fetch(stream, partition, from, got) },
      failed: (error, partition) => { followerFailed(error, `${stream.name}/${group}/${partition}`) },
    })
    this.#members.add(member)
    await member.join()
    return {
      commit: (partition, next) => { member.commit(partition, next) },
      keep: (partition, place) => member.keep(partition, place),
      reassign: async partition => { await member.reassign(partition) },
      stop: async () => {
        this.#members.delete(member)
        await member.stop()
      },
    }
  }

  health (): { ok: boolean, reason: string } {
    if (this.#closing.signal.aborted) return { ok: false, reason: 'the log is closed' }
    return this.#appends.isFull ? { ok: false, reason: 'too much waits to be written' } : { ok: true, reason: '' }
  }

  async close (): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    await this.#appends.flushed()
    await Promise.all(Array.from(this.#members, async member => {
      await member.caughtUp()
      await member.stop()
    }))
    this.#members.clear()
  }

  #stored (stream: Stream<any>, partition: number): StoredPartition {
    return this.#options.broker.partitions(stream)[partition]!
  }

  /** The first one that this reader may have. */
  #firstOf ({ first }: StoredPartition): bigint { return this.#options.isWhole ? 0n : first }

  #fetch (
    stream: Stream<any>, partition: number, from: bigint, got: (blocks: Array<Block<any>>, first: bigint) => void
  ): void {
    const stored = this.#stored(stream, partition)
    this.#way.fetch(stored, from, `${stream.name} ${partition}`, () => {
      const first = this.#firstOf(stored)
      const blocks = stored.from(from < first ? first : from, readMax)
      this.#way.answer(`gets ${blocks.length} of ${stream.name} ${partition}`, () => {
        got(blocks.map(block => decoded(stream, partition, block)), first)
      })
    })
  }

  async * #read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncIterable<Block<T>> {
    const { from, to, signal, key, keys, passed } = range
    if (signal?.aborted || this.#closing.signal.aborted) return
    const stored = this.#stored(stream, partition)
    const { next: endAtCall } = await this.bounds(stream, partition)
    const ends = signal ? to ?? never : to === undefined || to > endAtCall ? endAtCall : to
    let at = from
    while (at < ends) {
      const { blocks, first } = await this.#way.ask(stored, () => {
        const first = this.#firstOf(stored)
        return { blocks: stored.from(at < first ? first : at, readMax), first }
      })
      if (signal?.aborted || this.#closing.signal.aborted) return
      const holeTo = first > ends ? ends : first
      if (at < holeTo) {
        passed?.({ from: at, to: holeTo })
        at = holeTo
        continue
      }
      for (const block of blocks) {
        if (block.offset >= ends) return
        at = block.offset + 1n
        const found = keys ? decodedOf(stream, partition, block, keys) : decoded(stream, partition, block)
        if (key !== undefined && !found.items.some(item => stream.key(item) === key)) continue
        yield found
        if (signal?.aborted) return
      }
      if (blocks.length > 0) continue
      if (!signal) return
      await this.#arrival(stored, at, signal)
      if (signal.aborted || this.#closing.signal.aborted) return
    }
  }

  async #arrival (stored: StoredPartition, at: bigint, signal: AbortSignal): Promise<void> {
    const { turns } = this.#options
    const signals = [signal, this.#closing.signal]
    await new Promise<void>(resolve => {
      const over = (): void => {
        for (const each of signals) each.removeEventListener('abort', over)
        resolve()
      }
      for (const each of signals) each.addEventListener('abort', over)
      stored.whenBeyond(at, () => { turns.later(0, 'reads on', over) })
    })
  }
}

function decoded<T> (stream: Stream<T>, partition: number, { offset, bytes }: StoredBlock): Block<T> {
  return { partition, offset, items: stream.decodeBlock(bytes) }
}

/** See `ReadRange.keys`. */
function decodedOf<T> (
  stream: Stream<T>, partition: number, { offset, bytes }: StoredBlock, keys: ReadonlySet<string>
): Block<T> {
  const items = stream.decodeItemsOf?.(bytes, keys) ?? stream.decodeBlock(bytes)
  return { partition, offset, items, stored: bytes.length }
}
