import type { AppendOptions, Position } from '../../ledger/log.js'
import { Pending, type Share } from '../../ledger/pending.js'
import { bytesOfAll } from '../../schemas/sizes.js'
import type { Stream } from '../../schemas/streams.js'
import type { Cancel } from '../world.js'
import type { Taken, Written } from './broker.js'
import { packed, type Places } from './packing.js'
import type { Way } from './way.js'

/** After which an append without an answer is sent again. */
const requestTimeoutMs = 5_000
/** After which one is sent again that came to a broker which does not lead the partition. */
const leaderMs = 100

interface Append {
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
  readonly places: Places<Append>
  /** For the trace: a stream, a partition, and the facts that go there. */
  readonly what: string
  isOver: boolean
  /** Sends it once more, a while later. */
  again: Cancel | undefined
}

/** Of requests that were written: where, so that one which is sent again is known. */
const stored = new WeakMap<object, Taken>()

/**
 * What a node appends, as a producer of Kafka does. An append is durable when it is answered; one whose answer is lost
 * is sent again, and may stand there twice.
 */
export class Appends {
  readonly #way: Way
  readonly #pending: Pending
  readonly #lanes = new Map<string, Lane>()
  #whenFlushed: Array<() => void> = []

  constructor (way: Way, pendingBytesMax: number) {
    this.#way = way
    this.#pending = new Pending(pendingBytesMax)
  }

  get isFull (): boolean { return this.#pending.full }

  async append (
    stream: Stream<any>, partition: number, items: readonly any[],
    { derivedFrom = -1n, reserved: isOwn = false, bytes = bytesOfAll(stream, items) }: AppendOptions
  ): Promise<Position> {
    const lane = this.#lane(stream, partition)
    this.#pending.take(lane, bytes, isOwn)
    return await new Promise<Position>((resolve, reject) => {
      lane.waiting.push({ items, bytes, isOwn, derivedFrom, resolve, reject })
      this.#pump(lane)
    })
  }

  /** Resolves once none is without an outcome. */
  async flushed (): Promise<void> {
    if (this.#pending.bytes > 0) await new Promise<void>(resolve => { this.#whenFlushed.push(resolve) })
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
    this.#way.turns.later(0, `packs ${lane.stream.name} ${lane.partition}`, () => {
      const appends = lane.waiting
      lane.waiting = []
      const { blocks, places } = packed(lane.stream, appends, (append, fault) => {
        this.#release(lane, append)
        append.reject(fault)
      })
      if (blocks.length === 0) this.#done(lane)
      else this.#request({ lane, blocks, places, what: whatOf(lane, appends), isOver: false, again: undefined }, false)
    })
  }

  /** Until one of its tries is answered, whichever that is. */
  #request (request: Request, isAgain: boolean): void {
    const { lane, blocks, what } = request
    const { broker } = this.#way
    const { requestLost, repeated } = broker.trouble
    const { random } = broker.options
    // It may be there: a broker knows what it has had from a producer, as long as it knows the producer.
    this.#requestAgain(request, requestTimeoutMs)
    if (broker.trouble.isAway || random.chance(requestLost)) return
    this.#way.send(`append to ${what}`, () => {
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
    request.again = this.#way.turns.later(ms, `${lane.stream.name} ${lane.partition} was not answered`, () => {
      if (!request.isOver) this.#request(request, true)
    })
  }

  /** At the broker. */
  #settled (request: Request, { offsets }: Taken, isReplicated: boolean): void {
    const { lane, places } = request
    const { broker, turns } = this.#way
    if (!isReplicated) return this.#requestAgain(request, leaderMs)
    if (broker.options.random.chance(broker.trouble.answerLost) || broker.isAwayFor(turns)) return
    this.#way.answer(`${lane.stream.name} ${lane.partition} is written`, () => {
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

  #release (lane: Lane, { bytes, isOwn }: Append): void {
    this.#pending.release(lane, bytes, isOwn)
    if (this.#pending.bytes === 0) for (const resolve of this.#whenFlushed.splice(0)) resolve()
  }

  #done (lane: Lane): void {
    lane.isBusy = false
    this.#pump(lane)
  }
}

function whatOf ({ stream, partition }: Lane, appends: readonly Append[]): string {
  const facts = appends.flatMap(({ items }) => items.flatMap(item => item.fact?.type ?? [])) as string[]
  return `${stream.name} ${partition}${facts.length > 0 ? ': ' : ''}${facts.join(', ')}`
}
