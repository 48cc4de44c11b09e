import {
  type AppendOptions, type Block, type EventLog, type Follower, type Following, type Position, type ReadRange,
} from '../../ledger/log.js'
import { Pending, type Share } from '../../ledger/pending.js'
import { appendBytesMax, piecesOf } from '../../ledger/pieces.js'
import { GatewayError } from '../../schemas/errors.js'
import { bytesOfAll } from '../../schemas/sizes.js'
import type { Stream } from '../../schemas/streams.js'
import type { Cancel, Turns } from '../world.js'
import type { Broker, StoredBlock, StoredPartition, Taken, Written } from './broker.js'
import { GroupMember } from './member.js'

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

/** After which an append without an answer is sent again. */
const requestTimeoutMs = 5_000
/** After which one is sent again that came to a broker which does not lead the partition. */
const leaderMs = 100

const blockBytesMax = 1 << 20
/** Above every offset. */
const never = 1n << 62n
/** Blocks to one answer. */
const readMax = 100

interface Append {
  readonly stream: Stream<any>
  readonly items: readonly any[]
  readonly bytes: number
  readonly isOwn: boolean
  readonly derivedFrom: bigint
  resolve (position: Position): void
  reject (error: Error): void
}

/** Appends to one partition: one request is under way at a time, and what comes meanwhile goes with the next one. */
interface Lane extends Share {
  readonly stream: Stream<any>
  readonly partition: number
  waiting: Append[]
  isBusy: boolean
}

interface Request {
  readonly lane: Lane
  readonly blocks: readonly Written[]
  readonly places: Places
  /** For the trace: a stream, a partition, and the facts that go there. */
  readonly what: string
  isOver: boolean
  /** Sends it once more, a while later. */
  again: Cancel | undefined
}

/** Which of the blocks that go together the first item of an append is in, and where in it. */
type Places = Map<Append, readonly [block: number, index: number]>

/**
 * A node's view of the broker: `EventLog` as Kafka's side has it. An append is durable when it is answered; one whose
 * answer is lost is sent again, and may stand there twice.
 */
export class SimulatedLog implements EventLog {
  readonly #options: SimulatedLogOptions
  readonly #pending: Pending
  readonly #lanes = new Map<string, Lane>()
  readonly #members = new Set<GroupMember>()
  readonly #closing = new AbortController()
  #whenFlushed: Array<() => void> = []
  #sentUntilMs = 0
  /** On their way to the broker, oldest first: whatever arrives is the oldest. */
  readonly #sent: Array<() => void> = []

  constructor (options: SimulatedLogOptions) {
    this.#options = options
    this.#pending = new Pending(options.pendingBytesMax ?? 32 << 20)
  }

  partitions (stream: Stream<any>): number { return this.#options.broker.partitions(stream).length }

  async append<T> (
    stream: Stream<T>, partition: number, items: readonly T[], options: AppendOptions = {}
  ): Promise<Position> {
    if (this.#closing.signal.aborted) throw new GatewayError('ledger-unavailable', 'the log is closed')
    if (!(partition in this.#options.broker.partitions(stream))) {
      throw new RangeError(`${stream.name} has no partition ${partition}`)
    }
    const { derivedFrom = -1n, reserved: isOwn = false, bytes = bytesOfAll(stream, items) } = options
    const lane = this.#lane(stream, partition)
    this.#pending.take(lane, bytes, isOwn)
    return await new Promise<Position>((resolve, reject) => {
      lane.waiting.push({ stream, items, bytes, isOwn, derivedFrom, resolve, reject })
      this.#pump(lane)
    })
  }

  read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncIterable<Block<T>> {
    return this.#read(stream, partition, range)
  }

  async bounds (stream: Stream<any>, partition: number): Promise<{ first: bigint, next: bigint }> {
    const stored = this.#options.broker.partitions(stream)[partition]!
    return await this.#ask(stored, () => ({ first: this.#firstOf(stored), next: stored.next }))
  }

  async offsetAt (stream: Stream<any>, partition: number, atMs: number): Promise<bigint> {
    return (await this.firstSince(stream, partition, atMs))?.offset ??
      (await this.bounds(stream, partition)).next
  }

  /** As the log of Kafka has it. */
  async firstSince (
    stream: Stream<any>, partition: number, atMs: number
  ): Promise<{ offset: bigint, atMs: number } | undefined> {
    const stored = this.#options.broker.partitions(stream)[partition]!
    return await this.#ask(stored, () =>
      stored.from(this.#firstOf(stored), Infinity).find(block => block.atMs >= atMs))
  }

  /** As the log of Kafka has it. */
  async deleteTo (stream: Stream<any>, partition: number, to: bigint): Promise<void> {
    const stored = this.#options.broker.partitions(stream)[partition]!
    await this.#ask(stored, () => { stored.cut(to) })
  }

  async derivedFrom (stream: Stream<any>, partition: number): Promise<bigint> {
    const stored = this.#options.broker.partitions(stream)[partition]!
    return await this.#ask(stored, () => stored.derivedFrom)
  }

  async follow<T> (stream: Stream<T>, group: string, follower: Follower<T>): Promise<Following> {
    const { broker, turns, nodeName, followerFailed } = this.#options
    const member = new GroupMember({
      name: nodeName,
      group: broker.group(stream, group),
      turns,
      follower,
      send: (what, run) => { this.#send(what, run) },
      answer: (what, run) => { turns.later(broker.latencyMs(), what, run) },
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
    return this.#pending.full ? { ok: false, reason: 'too much waits to be written' } : { ok: true, reason: '' }
  }

  async close (): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    if (this.#pending.bytes > 0) await new Promise<void>(resolve => { this.#whenFlushed.push(resolve) })
    await Promise.all(Array.from(this.#members, async member => {
      await member.caughtUp()
      await member.stop()
    }))
    this.#members.clear()
  }

  #lane (stream: Stream<any>, partition: number): Lane {
    const key = `${stream.name}/${partition}`
    let lane = this.#lanes.get(key)
    if (!lane) this.#lanes.set(key, lane = { stream, partition, waiting: [], isBusy: false, sent: 0, own: 0 })
    return lane
  }

  #pump (lane: Lane): void {
    if (lane.isBusy || lane.waiting.length === 0) return
    lane.isBusy = true
    // What is appended in the same turn goes with it.
    this.#options.turns.later(0, `packs ${lane.stream.name} ${lane.partition}`, () => {
      const appends = lane.waiting
      lane.waiting = []
      const { blocks, places } = this.#packed(lane, appends)
      if (blocks.length === 0) this.#done(lane)
      else this.#request({ lane, blocks, places, what: whatOf(lane, appends), isOver: false, again: undefined }, false)
    })
  }

  /** Blocks of these appends, and for each append the block and the index of its first item. */
  #packed (lane: Lane, appends: readonly Append[]): { blocks: Written[], places: Places } {
    const { stream } = lane
    const blocks: Written[] = []
    const places: Places = new Map()
    let open: { items: any[], bytes: number, derivedFrom: bigint } | undefined
    const seal = (): void => {
      if (open) blocks.push({ bytes: Buffer.from(stream.encodeBlock(open.items)), derivedFrom: open.derivedFrom })
      open = undefined
    }
    for (const append of appends) {
      const pieces = stream.blocks ? piecesOf(stream, append.items) : append.items.map(item => [item])
      const fault = this.#faultOf(stream, pieces)
      if (fault) {
        this.#release(lane, append)
        append.reject(fault)
        continue
      }
      const isSmall = stream.blocks && pieces.length === 1
      if (isSmall && open && open.bytes + append.bytes > appendBytesMax) seal()
      if (isSmall && open) {
        places.set(append, [blocks.length, open.items.length])
        open.items.push(...append.items)
        open.bytes += append.bytes
        if (append.derivedFrom > open.derivedFrom) open.derivedFrom = append.derivedFrom
        continue
      }
      seal()
      places.set(append, [blocks.length, 0])
      for (const [i, piece] of pieces.entries()) {
        seal()
        const isLast = i === pieces.length - 1
        open = { items: [...piece], bytes: append.bytes, derivedFrom: isLast ? append.derivedFrom : -1n }
      }
      if (!isSmall) seal()
    }
    seal()
    return { blocks, places }
  }

  #faultOf (stream: Stream<any>, pieces: any[][]): Error | undefined {
    try {
      const isTooLarge = pieces.some(piece => stream.encodeBlock(piece).length > blockBytesMax)
      return isTooLarge ? new GatewayError('payload-too-large', 'an item is more than a block has room for') : undefined
    } catch (err) {
      return err as Error
    }
  }

  /** Until one of its tries is answered, whichever that is. */
  #request (request: Request, isAgain: boolean): void {
    const { lane, blocks, what } = request
    const { broker } = this.#options
    const { requestLost, repeated } = broker.trouble
    const { random } = broker.options
    // It may be there: a broker knows what it has had from a producer, as long as it knows the producer.
    this.#requestAgain(request, requestTimeoutMs)
    if (broker.trouble.isAway || random.chance(requestLost)) return
    this.#send(`append to ${what}`, () => {
      const partition = broker.partitions(lane.stream)[lane.partition]!
      if (partition.isLeaderless) return this.#requestAgain(request, leaderMs)
      const known = isAgain && !random.chance(repeated) ? stored.get(blocks) : undefined
      const taken = known && known.isReplicated !== false ? known : broker.take(partition, blocks)
      stored.set(blocks, taken)
      taken.whenSettled(isReplicated => { this.#settled(request, taken, isReplicated) })
    })
  }

  #requestAgain (request: Request, ms: number): void {
    request.again?.()
    if (request.isOver) return
    const { lane } = request
    request.again = this.#options.turns.later(ms, `${lane.stream.name} ${lane.partition} was not answered`, () => {
      if (!request.isOver) this.#request(request, true)
    })
  }

  /** At the broker. */
  #settled (request: Request, { offsets }: Taken, isReplicated: boolean): void {
    const { lane, places } = request
    const { broker, turns } = this.#options
    if (!isReplicated) return this.#requestAgain(request, leaderMs)
    if (broker.options.random.chance(broker.trouble.answerLost) || broker.isAwayFor(turns)) return
    turns.later(broker.latencyMs(), `${lane.stream.name} ${lane.partition} is written`, () => {
      if (request.isOver) return
      request.isOver = true
      request.again?.()
      for (const [append, [block, index]] of places) {
        this.#release(lane, append)
        append.resolve({ partition: lane.partition, offset: offsets[block]!, index })
      }
      this.#done(lane)
    })
  }

  /** The first one that this reader may have. */
  #firstOf ({ first }: StoredPartition): bigint { return this.#options.isWhole ? 0n : first }

  #release (lane: Lane, { bytes, isOwn }: Append): void {
    this.#pending.release(lane, bytes, isOwn)
    if (this.#pending.bytes === 0) for (const resolve of this.#whenFlushed.splice(0)) resolve()
  }

  #done (lane: Lane): void {
    lane.isBusy = false
    this.#pump(lane)
  }

  /** To the broker, in the order of sending; it arrives also where the node crashes meanwhile. */
  #send (what: string, run: () => void): void {
    const { broker } = this.#options
    const nowMs = broker.options.nowMs()
    this.#sentUntilMs = Math.max(this.#sentUntilMs, nowMs + broker.latencyMs())
    this.#sent.push(run)
    broker.options.turns.later(this.#sentUntilMs - nowMs, `${this.#options.nodeName}: ${what}`, () => {
      broker.arrive(this.#options.turns, this.#sent.shift()!)
    })
  }

  /** A question and its answer. One that a broker which is away does not hear is asked again. */
  async #ask<T> (partition: StoredPartition, answer: () => T): Promise<T> {
    const { broker, turns } = this.#options
    return await new Promise<T>(resolve => {
      const ask = (): void => {
        if (broker.isAwayFor(turns, partition)) {
          turns.later(1_000, 'asks the broker again', ask)
          return
        }
        this.#send('asks', () => {
          const answered = answer()
          turns.later(broker.latencyMs(), 'is answered', () => { resolve(answered) })
        })
      }
      ask()
    })
  }

  #fetch (
    stream: Stream<any>, partition: number, from: bigint, got: (blocks: Array<Block<any>>, first: bigint) => void
  ): void {
    const { broker, turns } = this.#options
    this.#send(`fetches ${stream.name} ${partition}`, () => {
      const stored = broker.partitions(stream)[partition]!
      stored.whenBeyond(from, () => {
        const deliver = (): void => {
          if (broker.isAwayFor(turns, stored)) {
            turns.later(1_000, 'fetches again', deliver)
            return
          }
          const first = this.#firstOf(stored)
          const blocks = stored.from(from < first ? first : from, readMax)
          turns.later(broker.latencyMs(), `gets ${blocks.length} of ${stream.name} ${partition}`, () => {
            got(blocks.map(block => decoded(stream, partition, block)), first)
          })
        }
        deliver()
      })
    })
  }

  async * #read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncIterable<Block<T>> {
    const { from, to, signal, key, keys, passed } = range
    if (signal?.aborted || this.#closing.signal.aborted) return
    const stored = this.#options.broker.partitions(stream)[partition]!
    const { next: endAtCall } = await this.bounds(stream, partition)
    const ends = signal ? to ?? never : to === undefined || to > endAtCall ? endAtCall : to
    let at = from
    while (at < ends) {
      const { blocks, first } = await this.#ask(stored, () => {
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

function whatOf ({ stream, partition }: Lane, appends: readonly Append[]): string {
  const facts = appends.flatMap(({ items }) => items.flatMap(item => item.fact?.type ?? [])) as string[]
  return `${stream.name} ${partition}${facts.length > 0 ? ': ' : ''}${facts.join(', ')}`
}

/** Of requests that were written: where, so that one which is sent again is known. */
const stored = new WeakMap<object, Taken>()

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
