import type { Health } from '../../schemas/conditions.js'
import { bytesOfAll } from '../../schemas/sizes.js'
import { ledger, type Stream } from '../../schemas/streams.js'
import type { Circuit } from '../circuit.js'
import type { AppendOptions, Position } from '../log.js'
import { Pending } from '../pending.js'
import { appendBytesMax, piecesOf } from '../pieces.js'
import { type LogTimings, nobodyTimes, TimedAppends } from '../timings.js'
import type { Cluster } from './cluster.js'
import type { RecordFormat } from './format.js'
import { BrokerLane } from './lane.js'
import { largestBatch, type Outgoing } from './outgoing.js'
import { ProducerIds } from './producer-ids.js'
import { probe } from './probe.js'
import { PartitionSender, tooLarge, unavailable, type SenderDeps } from './sender.js'

export interface AppenderOptions {
  readonly cluster: Cluster
  readonly format: RecordFormat
  readonly sendDeadlineMs: number
  readonly pendingBytesMax: number
  readonly health: Health
  /** What permanent errors are asked again after, ms. */
  readonly slowMs: number
  readonly timings?: LogTimings | undefined
  failed (what: string, error: Error, fields: object): void
}

export interface AppendMetrics {
  blocksAppended: number
  entriesAppended: number
  /** Of appends without an outcome, as `Stream.bytesOf` counts them. */
  readonly pendingBytes: number
}

/** Appends to Kafka: a sender for each partition, a lane for each broker. */
export class Appender {
  readonly metrics: AppendMetrics

  private readonly senders = new Map<string, PartitionSender>()
  private readonly lanes = new Map<number, BrokerLane>()
  private readonly producerIds: ProducerIds
  private readonly ofSenders: SenderDeps
  /** When a broker has stored something, ms since 1970. */
  private storedAtMs = 0
  private pending = 0
  private readonly timed = new TimedAppends()
  private readonly pendingBytes: Pending
  /** As `Circuit` has them. */
  private opened = 0
  private refused = 0
  /** As of the last look: to look costs more than an append may. */
  private isAway = false
  private idle: (() => void) | undefined
  private closed = false

  constructor (private readonly options: AppenderOptions) {
    const { cluster, format, sendDeadlineMs, health, slowMs, pendingBytesMax } = options
    this.producerIds = new ProducerIds(cluster, sendDeadlineMs)
    const pending = this.pendingBytes = new Pending(pendingBytesMax)
    this.metrics = {
      blocksAppended: 0, entriesAppended: 0, get pendingBytes () { return pending.bytes },
    }
    this.ofSenders = {
      cluster,
      format,
      sendDeadlineMs,
      health,
      slowMs,
      route: (sender, node, lazy) => { this.laneOf(node).add(sender, lazy) },
      renewProducer: () => { this.producerIds.renew() },
      probe: (node, topic, partition) => probe(cluster, node, topic, partition),
      stored: outgoing => { this.count(outgoing) },
    }
  }

  append<T> (
    stream: Stream<T>, topic: string, partition: number, items: readonly T[], options: AppendOptions = {}
  ): Promise<Position> {
    const { derivedFrom = -1n, lazy = false, reserved = false } = options
    const { cluster } = this.options
    if (this.closed) return Promise.reject(closed())
    if (items.length === 0) return Promise.reject(new RangeError(`append to ${stream.name}: got no items, want some`))
    const last = cluster.partitions(topic) - 1
    if (!(partition >= 0 && partition <= last)) {
      return Promise.reject(new RangeError(`stream ${stream.name}: got partition ${partition}, want 0 to ${last}`))
    }
    const { bytes = bytesOfAll(stream, items) } = options
    if (bytes > appendBytesMax && items.length > 1) return this.appendPieces(stream, topic, partition, items, options)
    const sender = this.senderOf(stream, topic, partition)
    const refusal = this.refusalOf(sender)
    if (refusal !== '') {
      this.refused++
      return Promise.reject(unavailable(refusal))
    }
    try {
      this.pendingBytes.take(sender.share, bytes, reserved)
    } catch (err) {
      return Promise.reject(err)
    }
    this.pending++
    return new Promise((resolve, reject) => {
      const done = () => {
        this.pendingBytes.release(sender.share, bytes, reserved)
        if (--this.pending === 0) this.idle?.()
      }
      sender.add({
        items,
        bytes,
        derivedFrom,
        atMs: performance.now(),
        isTimed: this.timed.isTimed(lazy),
        delta: 0,
        index: 0,
        resolve: position => { done(); resolve(position) },
        reject: err => { done(); reject(err) },
      }, lazy)
    })
  }

  /**
   * What is more than one record, or one request, has room for. Its items are neighbours unless somebody else appends
   * to the partition as well. What says that all of it is there (`derivedFrom`) goes with the last piece, once the
   * others are stored. Where one item is more than the topic takes, none of the pieces is stored.
   */
  private async appendPieces<T> (
    stream: Stream<T>, topic: string, partition: number, items: readonly T[], options: AppendOptions
  ): Promise<Position> {
    const { cluster: { topics }, format } = this.options
    const bytesMax = topics.batchBytesMax(topic)
    // What a text takes may be three times what it counts.
    const large = largestBatch(items.filter(item => 4 * stream.bytesOf(item) > bytesMax), stream, format)
    if (large > bytesMax) throw tooLarge(topics, topic, large)
    const pieces = piecesOf(stream, items)
    const { derivedFrom, bytes: _, ...ofEach } = options
    const append = (piece: readonly T[]) => this.append(stream, topic, partition, piece, ofEach)
    if (derivedFrom === undefined) return (await Promise.all(pieces.map(append)))[0]!
    const first = await append(pieces[0]!)
    for (const piece of pieces.slice(1, -1)) await append(piece)
    await this.append(stream, topic, partition, pieces.at(-1)!, { ...ofEach, derivedFrom })
    return first
  }

  /** The offset after the last append of ours that is durable; 0n for none. */
  ackedTo (topic: string, partition: number): bigint { return this.senders.get(`${topic}/${partition}`)?.next ?? 0n }

  health (): { ok: boolean, reason: string } {
    if (this.closed) return { ok: false, reason: 'the log is closed' }
    if (this.pendingBytes.full) return { ok: false, reason: 'too much waits to be written' }
    const reason = this.away()
    if (reason !== '') return { ok: false, reason }
    const nowMs = Date.now()
    const { sendDeadlineMs } = this.options
    for (const { stream, stuck, refusal, trouble } of this.senders.values()) {
      if (refusal !== undefined && stream.name === ledger.name) return { ok: false, reason: refusal }
      if (stuck && nowMs - this.storedAtMs >= sendDeadlineMs) return { ok: false, reason: away(trouble) }
    }
    return { ok: true, reason: '' }
  }

  /**
   * Why no broker answers: what was sent for a partition has had no answer for as long as a send may take, and nothing
   * that was sent for any other one since. Empty where one answers, be it by a refusal, or nobody has tried.
   */
  away (): string {
    const silent = this.closed ? undefined : this.silentSender()
    if (silent && !this.isAway) this.opened++
    this.isAway = silent !== undefined
    return silent ? away(silent.trouble) : ''
  }

  circuit (): Circuit {
    const { opened, refused } = this
    const isAway = this.away() !== ''
    const isTrying = isAway && [...this.senders.values()].some(({ silentSinceMs, state }) =>
      silentSinceMs !== undefined && state === 'sent')
    return { dependency: 'kafka', state: isTrying ? 'half-open' : isAway ? 'open' : 'closed', opened, refused }
  }

  /** Partitions that take no appends, each with why. */
  standing (): Array<{ stream: string, partition: number, reason: string }> {
    return [...this.senders.values()].flatMap(({ stream: { name }, partition, refusal, trouble }) => {
      const reason = refusal ?? trouble
      return reason === '' ? [] : [{ stream: name, partition, reason }]
    })
  }

  /** Resolves when all that was appended has an outcome, or after two deadlines. */
  async flush (): Promise<void> {
    if (this.pending === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>(resolve => {
      this.idle = resolve
      timer = setTimeout(resolve, 2 * this.options.sendDeadlineMs)
    })
    clearTimeout(timer)
  }

  /** Flushes; what has no outcome then is refused, although a broker may have it. */
  async close (): Promise<void> {
    await this.flush()
    this.closed = true
    for (const lane of this.lanes.values()) lane.close()
    for (const sender of this.senders.values()) sender.close(closed())
  }

  private silentSender (): PartitionSender | undefined {
    const silentToMs = Date.now() - this.options.sendDeadlineMs
    let answeredAtMs = 0
    let silent: PartitionSender | undefined
    for (const sender of this.senders.values()) {
      answeredAtMs = Math.max(answeredAtMs, sender.answeredAtMs)
      // The one of last: another one's broker may have been away for longer, and alone.
      if (sender.silentSinceMs !== undefined && sender.silentSinceMs <= silentToMs &&
        sender.silentSinceMs > (silent?.silentSinceMs ?? 0)) silent = sender
    }
    return silent && silent.silentSinceMs! >= answeredAtMs ? silent : undefined
  }

  private senderOf (stream: Stream<any>, topic: string, partition: number): PartitionSender {
    const key = `${topic}/${partition}`
    let sender = this.senders.get(key)
    if (!sender) {
      sender = new PartitionSender(stream, topic, partition, this.ofSenders)
      this.senders.set(key, sender)
    }
    return sender
  }

  private laneOf (node: number): BrokerLane {
    let lane = this.lanes.get(node)
    if (!lane) {
      const { cluster, sendDeadlineMs, health, failed } = this.options
      lane = new BrokerLane(node, { cluster, producerIds: this.producerIds, sendDeadlineMs, health, failed })
      this.lanes.set(node, lane)
    }
    return lane
  }

  /** Why an append is not tried; empty where it is. */
  private refusalOf ({ state, refusal, stuck, trouble }: PartitionSender): string {
    if (state === 'refused') return refusal!
    if (stuck) return away(trouble)
    return this.isAway ? this.away() : '' // what was sent elsewhere is the probe
  }

  private count ({ appends, startedMs }: Outgoing): void {
    const { metrics, options: { timings = nobodyTimes } } = this
    const nowMs = performance.now()
    this.storedAtMs = Date.now()
    timings.committed(Math.max(0, this.storedAtMs - startedMs))
    metrics.blocksAppended++
    for (const { atMs, isTimed, items } of appends) {
      metrics.entriesAppended += items.length
      if (isTimed) timings.appended(nowMs - atMs)
    }
  }
}

function away (trouble: string): string { return `Kafka does not answer: ${trouble}` }

function closed () { return unavailable('the log is closed') }
