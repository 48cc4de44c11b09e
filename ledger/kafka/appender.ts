import { setTimeout as sleep } from 'node:timers/promises'
import type { Health } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import type { AppendOptions, Position } from '../log.js'
import { Pending } from '../pending.js'
import { appendBytesMax, piecesOf } from '../pieces.js'
import type { Cluster } from './cluster.js'
import { NoAnswer } from './connection.js'
import type { RecordFormat } from './format.js'
import { bytesOf, cut, recordBytesMax, type Outgoing } from './outgoing.js'
import { ProducerIds } from './producer-ids.js'
import { produce, type Produced } from './record-apis.js'
import { stamp } from './record-batch.js'
import { newSlot, stampAfter, verdictOf, type Slot } from './slot.js'
import { errorName, KafkaError } from './wire.js'

export interface AppenderOptions {
  readonly cluster: Cluster
  readonly format: RecordFormat
  readonly sendDeadlineMs: number
  readonly pendingBytesMax: number
  readonly health: Health
  failed (what: string, error: Error, fields: object): void
}

export interface AppendMetrics {
  blocksAppended: number
  entriesAppended: number
  /** Of appends without an outcome, as `Stream.bytesOf` counts them. */
  readonly pendingBytes: number
  /** Appends that succeeded, and the time they took together. */
  appends: number
  appendMs: number
}

/** What goes to one broker: one request at a time, with all that has collected meanwhile. */
interface Lane {
  readonly node: number
  readonly ready: Set<Slot>
  busy: boolean
  turn: NodeJS.Immediate | undefined
  timer: NodeJS.Timeout | undefined
}

const requestBytesMax = 4 << 20
const lazyMs = 5
const retryMsMin = 50
const retryMsMax = 1_000

/**
 * Appends to Kafka. A batch is sent again, byte for byte, until it has an outcome: the producer id and the sequence in
 * it let the broker drop the copy if the first one did arrive. What is behind it in its partition waits.
 */
export class Appender {
  readonly metrics: AppendMetrics

  private readonly slots = new Map<string, Slot>()
  private readonly lanes = new Map<number, Lane>()
  /** Their batch is being sent again, or nobody leads them; oldest first. */
  private readonly failing = new Set<Slot>()
  /** Those of them that no lane holds. */
  private readonly homeless = new Set<Slot>()
  private recovering = false
  private retryMs = retryMsMin
  private readonly producerIds: ProducerIds
  private succeededAtMs = 0
  private pending = 0
  private readonly pendingBytes: Pending
  private idle: (() => void) | undefined
  private closed = false
  private lastFailure = ''

  constructor (private readonly options: AppenderOptions) {
    this.producerIds = new ProducerIds(options.cluster, options.sendDeadlineMs)
    const pending = this.pendingBytes = new Pending(options.pendingBytesMax)
    this.metrics = {
      blocksAppended: 0, entriesAppended: 0, appends: 0, appendMs: 0, get pendingBytes () { return pending.bytes },
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
    const bytes = bytesOf(stream, items)
    if (bytes > appendBytesMax && items.length > 1) return this.appendPieces(stream, topic, partition, items, options)
    const slot = this.slotOf(stream, topic, partition)
    if (this.refusing(slot)) return Promise.reject(this.away())
    try {
      this.pendingBytes.take(slot.share, bytes, reserved)
    } catch (err) {
      return Promise.reject(err)
    }
    this.pending++
    return new Promise((resolve, reject) => {
      const done = () => {
        this.pendingBytes.release(slot.share, bytes, reserved)
        if (--this.pending === 0) this.idle?.()
      }
      slot.queue.push({
        items,
        bytes,
        derivedFrom,
        atMs: performance.now(),
        delta: 0,
        index: 0,
        resolve: position => { done(); resolve(position) },
        reject: err => { done(); reject(err) },
      })
      if (!slot.outgoing && !this.homeless.has(slot)) this.route(slot, lazy)
    })
  }

  /**
   * What is more than one record, or one request, has room for. Its items are neighbours unless somebody else appends
   * to the partition as well. What says that all of it is there (`derivedFrom`) goes with the last piece, once the
   * others are stored.
   */
  private async appendPieces<T> (
    stream: Stream<T>, topic: string, partition: number, items: readonly T[], options: AppendOptions
  ): Promise<Position> {
    const pieces = piecesOf(stream, items)
    const { derivedFrom, ...ofEach } = options
    const append = (piece: readonly T[]) => this.append(stream, topic, partition, piece, ofEach)
    if (derivedFrom === undefined) return (await Promise.all(pieces.map(append)))[0]!
    const first = await append(pieces[0]!)
    for (const piece of pieces.slice(1, -1)) await append(piece)
    await this.append(stream, topic, partition, pieces.at(-1)!, options)
    return first
  }

  /** The offset after the last append of ours that is durable; 0n for none. */
  ackedTo (topic: string, partition: number): bigint { return this.slots.get(`${topic}/${partition}`)?.next ?? 0n }

  health (): { ok: boolean, reason: string } {
    if (this.closed) return { ok: false, reason: 'the log is closed' }
    if (this.pendingBytes.full) return { ok: false, reason: 'too much waits to be written' }
    return this.refusing(undefined) ? { ok: false, reason: this.away().message } : { ok: true, reason: '' }
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
    for (const { timer, turn } of this.lanes.values()) {
      clearTimeout(timer)
      clearImmediate(turn)
    }
    for (const slot of this.slots.values()) {
      for (const append of [...slot.outgoing?.appends ?? [], ...slot.queue.splice(0)]) append.reject(closed())
      slot.outgoing = undefined
    }
  }

  private slotOf (stream: Stream<any>, topic: string, partition: number): Slot {
    const key = `${topic}/${partition}`
    let slot = this.slots.get(key)
    if (!slot) {
      slot = newSlot(stream, topic, partition)
      this.slots.set(key, slot)
    }
    return slot
  }

  /** Nothing has gone through for as long as a send may take, there or anywhere. */
  private refusing (slot: Slot | undefined): boolean {
    const { sendDeadlineMs } = this.options
    const since = slot?.failingSinceMs
    const nowMs = Date.now()
    if (since !== undefined && nowMs - since >= sendDeadlineMs) return true
    const oldest: Slot | undefined = this.failing.values().next().value
    return oldest !== undefined && nowMs - Math.max(oldest.failingSinceMs!, this.succeededAtMs) >= sendDeadlineMs
  }

  private away (): GatewayError { return unavailable(`Kafka does not answer: ${this.lastFailure}`) }

  /** To the lane of its leader, or among the homeless. */
  private route (slot: Slot, lazy: boolean): void {
    const node = this.options.cluster.leaderOf(slot.topic, slot.partition)
    if (node === undefined) return this.fail([slot], `${slot.topic}/${slot.partition} has no leader`)
    let lane = this.lanes.get(node)
    if (!lane) this.lanes.set(node, lane = { node, ready: new Set(), busy: false, turn: undefined, timer: undefined })
    slot.held = true
    lane.ready.add(slot)
    if (lane.busy || lane.turn || this.closed) return
    if (lazy) {
      lane.timer ??= setTimeout(() => this.run(lane), lazyMs)
      return
    }
    // In the check phase, after every socket that is readable in this turn was read: what they append is one request.
    lane.turn = setImmediate(() => this.run(lane))
  }

  private async run (lane: Lane): Promise<void> {
    clearTimeout(lane.timer)
    clearImmediate(lane.turn)
    lane.timer = lane.turn = undefined
    if (lane.busy) return
    lane.busy = true
    while (lane.ready.size > 0 && !this.closed) {
      try {
        const slots = await this.collect(lane)
        if (slots.length > 0) await this.send(lane, slots)
      } catch (err) {
        // Of Kafka's own reasons `recover` tells, if it takes longer.
        if (!(err instanceof NoAnswer || err instanceof KafkaError)) {
          this.options.failed('append failed', err as Error, { node: lane.node })
        }
        const slots = [...lane.ready]
        lane.ready.clear()
        this.fail(slots, (err as Error).message)
      }
    }
    lane.busy = false
  }

  /** Slots of the lane with a batch to send, all of one producer. */
  private async collect (lane: Lane): Promise<Slot[]> {
    const producer = await this.producerIds.current(lane.node)
    const slots: Slot[] = []
    let bytes = 0
    for (const slot of lane.ready) {
      if (bytes >= requestBytesMax) break
      lane.ready.delete(slot)
      slot.held = false
      if (this.options.cluster.leaderOf(slot.topic, slot.partition) !== lane.node) {
        this.route(slot, false)
        continue
      }
      if (!slot.stamp) {
        slot.stamp = producer
        if (slot.outgoing) stamp(slot.outgoing.bytes, slot.outgoing.stamp = producer)
      }
      slot.outgoing ??= cut(slot.queue, slot.stream, this.options.format, slot.stamp, slot.bytesMax)
      if (!slot.outgoing) {
        if (slot.queue.length > 0) this.route(slot, false)
        continue
      }
      slot.held = true
      bytes += slot.outgoing.bytes.length
      slots.push(slot)
    }
    return slots
  }

  private async send (lane: Lane, slots: readonly Slot[]): Promise<void> {
    const { cluster, sendDeadlineMs } = this.options
    const before = slots.map(({ outgoing }) => outgoing!.maybeStored)
    let answers: Produced[]
    try {
      const connection = await cluster.connection(lane.node, 'produce')
      for (const { outgoing } of slots) outgoing!.maybeStored = true
      const batches = slots.map(({ topic, partition, outgoing }) => ({ topic, partition, batch: outgoing!.bytes }))
      answers = await connection.send(produce, { timeoutMs: sendDeadlineMs, batches }, sendDeadlineMs)
    } catch (err) {
      for (const slot of slots) slot.held = false
      if (err instanceof NoAnswer && !err.sent) {
        for (const [i, { outgoing }] of slots.entries()) if (outgoing) outgoing.maybeStored = before[i]!
      }
      return this.fail(slots, (err as Error).message)
    }
    const byPartition = new Map(answers.map(answer => [`${answer.topic}/${answer.partition}`, answer]))
    for (const [i, slot] of slots.entries()) {
      slot.held = false
      if (!slot.outgoing) continue // the log was closed meanwhile
      const answer = byPartition.get(`${slot.topic}/${slot.partition}`)
      this.settle(slot, answer?.errorCode ?? -1, answer?.baseOffset ?? -1n, before[i]!)
    }
  }

  private settle (slot: Slot, errorCode: number, baseOffset: bigint, maybeStoredBefore: boolean): void {
    const outgoing = slot.outgoing!
    const what = `${slot.topic}/${slot.partition}: ${errorName(errorCode)}`
    switch (verdictOf(errorCode)) {
      case 'stored': return this.succeeded(slot, outgoing, baseOffset)
      case 'too-large': return this.refused(slot, outgoing, what, true)
      case 'refused': return this.refused(slot, outgoing, what, false)
      case 'not-stored':
        outgoing.maybeStored = maybeStoredBefore
        return this.fail([slot], what)
      case 'wrong-producer':
        this.renewProducer(slot)
        return this.fail([slot], what)
      case 'unknown': return this.fail([slot], what)
    }
  }

  private succeeded (slot: Slot, outgoing: Outgoing, baseOffset: bigint): void {
    const { appends, records } = outgoing
    const nowMs = performance.now()
    this.succeededAtMs = Date.now()
    this.retryMs = retryMsMin
    this.healed(slot)
    slot.outgoing = undefined
    slot.stamp = stampAfter(outgoing)
    slot.bytesMax = recordBytesMax
    slot.next = baseOffset + BigInt(records)
    const { metrics } = this
    metrics.blocksAppended++
    for (const { atMs, items, delta, index, resolve } of appends) {
      metrics.entriesAppended += items.length
      metrics.appendMs += nowMs - atMs
      metrics.appends++
      resolve({ partition: slot.partition, offset: delta === 0 ? baseOffset : baseOffset + BigInt(delta), index })
    }
    if (slot.queue.length > 0) this.route(slot, false)
  }

  /** The broker will not have it, now or later. */
  private refused (slot: Slot, outgoing: Outgoing, what: string, isTooLarge: boolean): void {
    slot.outgoing = undefined
    this.renewProducer(slot) // an earlier try may have been stored after all, and its sequence must not come again
    this.healed(slot)
    if (isTooLarge && outgoing.appends.length > 1) {
      slot.queue.unshift(...outgoing.appends)
      slot.bytesMax = Math.max(1, Math.min(slot.bytesMax, outgoing.bytes.length) >> 1)
    } else {
      const error = isTooLarge ? new GatewayError('payload-too-large', what) : unavailable(what)
      for (const append of outgoing.appends) append.reject(error)
    }
    if (slot.queue.length > 0) this.route(slot, false)
  }

  private healed (slot: Slot): void {
    slot.failingSinceMs = undefined
    this.failing.delete(slot)
    this.homeless.delete(slot)
  }

  private fail (slots: readonly Slot[], what: string): void {
    this.lastFailure = what
    for (const slot of slots) {
      slot.held = false
      slot.failingSinceMs ??= slot.outgoing?.startedMs ?? Date.now()
      this.failing.add(slot)
      this.homeless.add(slot)
    }
    if (this.recovering || this.closed || slots.length === 0) return
    this.recovering = true
    this.recover().catch(err => this.options.failed('appends stopped', err as Error, {}))
  }

  /** Until every slot has a lane again: refuses what has waited too long, and looks for the leaders. */
  private async recover (): Promise<void> {
    const { cluster, health } = this.options
    while (this.homeless.size > 0 && !this.closed) {
      await sleep(this.retryMs)
      this.retryMs = Math.min(2 * this.retryMs, retryMsMax)
      health.begin('appends', this.lastFailure)
      this.refuseOld()
      try {
        await cluster.refresh()
      } catch (err) {
        this.lastFailure = (err as Error).message
        continue
      }
      for (const slot of [...this.homeless]) {
        const node = cluster.leaderOf(slot.topic, slot.partition)
        if (node === undefined) continue
        try {
          await cluster.connection(node, 'produce')
        } catch (err) {
          this.lastFailure = (err as Error).message
          continue
        }
        this.homeless.delete(slot)
        if (slot.outgoing || slot.queue.length > 0) this.route(slot, false)
        else this.healed(slot)
      }
    }
    health.end('appends')
    this.recovering = false
  }

  /** What no broker can have is refused when it has waited for as long as a send may take. */
  private refuseOld (): void {
    const { sendDeadlineMs } = this.options
    for (const slot of this.failing) {
      const { outgoing } = slot
      if (outgoing && !outgoing.maybeStored && !slot.held && Date.now() - outgoing.startedMs >= sendDeadlineMs) {
        slot.outgoing = undefined // its sequence is free again, since nobody has seen it
        for (const append of outgoing.appends) append.reject(this.away())
      }
      const oldMs = performance.now() - sendDeadlineMs
      const young = slot.queue.findIndex(({ atMs }) => atMs > oldMs)
      for (const append of slot.queue.splice(0, young === -1 ? slot.queue.length : young)) append.reject(this.away())
    }
  }

  /** The batch goes again as the first one of a new producer, which may make it stand twice. */
  private renewProducer (slot: Slot): void {
    this.producerIds.renew()
    slot.stamp = undefined
  }
}

function unavailable (message: string): GatewayError { return new GatewayError('ledger-unavailable', message) }

function closed (): GatewayError { return unavailable('the log is closed') }
