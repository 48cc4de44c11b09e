import type { Health } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import { nodes, type Stream } from '../../schemas/streams.js'
import type { Share } from '../pending.js'
import type { Cluster } from './cluster.js'
import type { RecordFormat } from './format.js'
import { cut, halves, type Append, type Outgoing } from './outgoing.js'
import type { Produced } from './record-apis.js'
import { stamp, type Stamp } from './record-batch.js'
import type { TopicBook } from './topic-book.js'
import { judge, judgeError, tell, type Judgement } from './verdicts.js'
import { errorName } from './wire.js'

/**
 * Where a partition's appends are.
 *
 * | State | Means | Left by |
 * | --- | --- | --- |
 * | `idle` | nothing waits | an append |
 * | `ready` | in the lane of its leader | the lane's next request |
 * | `sent` | its batch is in a request | the answer, or none |
 * | `waiting` | what it has is tried again | its own clock |
 * | `refused` | a person has to act; appends are refused | its own clock, slowly |
 * | `closed` | the log is closed | |
 */
export type SenderState = 'idle' | 'ready' | 'sent' | 'waiting' | 'refused' | 'closed'

export interface SenderDeps {
  readonly cluster: Pick<Cluster, 'topics' | 'look'>
  readonly format: RecordFormat
  readonly sendDeadlineMs: number
  readonly health: Health
  /** What permanent errors are asked again after, ms. */
  readonly slowMs: number
  /** Into the lane of a broker. */
  route (sender: PartitionSender, node: number, lazy: boolean): void
  /** The next producer id is another one. */
  renewProducer (): void
  /** Asks the broker whether appends would be taken. @returns the code of its answer; @throws as a request does */
  probe (node: number, topic: string, partition: number): Promise<number>
  stored (outgoing: Outgoing): void
}

const retryMsMin = 50
const retryMsMax = 1_000

const none = 0
const noAccess = judge(29)
/** What a probe, which has no records, is told where an append would be taken. */
const invalidRecord = 87

/**
 * Appends of one partition: what waits, and what was sent and has no outcome. A batch is sent again, byte for byte,
 * until it has one: the producer id and the sequence in it let the broker drop the copy if the first one did arrive.
 */
export class PartitionSender {
  /**
   * What nodes say of themselves does not wait behind what their clients send: it is little, and a node whose reports
   * are late is taken for lost.
   */
  readonly isUrgent: boolean
  /** Bytes of all that has no outcome. */
  readonly share: Share = { sent: 0, own: 0 }
  /** The offset after the last acked record. */
  next = 0n
  state: SenderState = 'idle'
  /** What went wrong last, while it has not gone well since. */
  trouble = ''
  /** When the batch that is being sent again was sent first, ms since 1970. */
  failingSinceMs: number | undefined
  /** When its broker has said anything, and since when it has not while it was asked, ms since 1970. */
  answeredAtMs = 0
  silentSinceMs: number | undefined
  /** Why a person has to act; appends are let through now and then, to see whether that was done. */
  refusal: string | undefined
  outgoing: Outgoing | undefined
  private readonly queue: Append[] = []
  /** What the next batch gets; undefined until a broker has given out a producer id. */
  private stamp: Stamp | undefined
  /** Whether a broker may have had the batch before it was sent the last time. */
  private maybeStoredBefore = false
  private retryMs = retryMsMin
  private probeTells = true
  private timer: NodeJS.Timeout | undefined

  constructor (
    readonly stream: Stream<any>, readonly topic: string, readonly partition: number, private readonly deps: SenderDeps
  ) {
    this.isUrgent = stream.name === nodes.name
  }

  get name (): string { return `${this.topic}/${this.partition}` }

  add (append: Append, lazy: boolean): void {
    this.queue.push(append)
    if (this.state === 'idle') this.route(lazy)
  }

  /** Nothing has gone through for as long as a send may take. */
  get stuck (): boolean {
    return this.failingSinceMs !== undefined && Date.now() - this.failingSinceMs >= this.deps.sendDeadlineMs
  }

  /** For the lane that it is in: out of it. False where the partition has another leader, and it went there. */
  leave (node: number): boolean {
    if (this.state !== 'ready') return false
    if (this.deps.cluster.topics.leaderOf(this.topic, this.partition) === node) return true
    this.route(false)
    return false
  }

  /** The batch to send, or to send again. Undefined where nothing is left. */
  batch (producer: Stamp): Outgoing | undefined {
    const { cluster, format } = this.deps
    if (!this.stamp) {
      this.stamp = producer
      if (this.outgoing) stamp(this.outgoing.bytes, this.outgoing.stamp = producer)
    }
    while (!this.outgoing && this.queue.length > 0) {
      this.outgoing = cut(this.queue, this.stream, format, this.stamp, {
        bytesMax: cluster.topics.batchBytesMax(this.topic),
        tooLarge: (append, bytes) => { this.rejectTooLarge(append, bytes) },
      })
    }
    this.state = this.outgoing ? 'sent' : 'idle'
    if (this.outgoing) this.maybeStoredBefore = this.outgoing.maybeStored
    else this.heal()
    return this.outgoing
  }

  answered ({ errorCode, baseOffset }: Produced): void {
    this.heard()
    if (this.state !== 'sent') return
    if (errorCode !== none) return this.failed(errorName(errorCode), judge(errorCode))
    if (baseOffset >= this.next) return this.stored(baseOffset)
    // A log that has gone back may be another one.
    this.deps.cluster.look().then(() => {
      if (this.state !== 'sent') return
      const trouble = this.deps.cluster.topics.troubleOf(this.topic)
      if (trouble === '') this.stored(baseOffset)
      else this.refuse(trouble, true, true)
    })
  }

  /** There was no answer to its request, or none could be made. */
  unanswered (err: unknown): void {
    if (this.state !== 'sent' && this.state !== 'ready') return
    this.unheard()
    this.failed((err as Error).message, judgeError(err))
  }

  close (err: Error): void {
    this.state = 'closed'
    clearTimeout(this.timer)
    this.rejectAll(err, true)
    this.deps.health.end('appends', this.name)
    this.deps.health.end('refused', this.name)
  }

  /**
   * @param probeTells whether a probe shows that the reason is gone; else the next append is the one to show it
   * @param isGone the topic is, and whoever may have had a batch with it
   */
  private refuse (reason: string, probeTells = true, isGone = false): void {
    this.refusal = reason
    this.probeTells = probeTells
    this.trouble = reason
    this.deps.health.end('appends', this.name)
    this.deps.health.begin('refused', reason, this.name)
    this.state = 'refused'
    this.rejectAll(unavailable(reason), isGone)
    this.later(this.deps.slowMs, () => { this.ask() })
  }

  /** To the lane of its leader. */
  private route (lazy: boolean): void {
    const { cluster } = this.deps
    const trouble = cluster.topics.troubleOf(this.topic)
    if (trouble !== '') return this.refuse(trouble, true, true)
    const node = cluster.topics.leaderOf(this.topic, this.partition)
    if (node === undefined) return this.retry('has no leader', true)
    this.state = 'ready'
    this.deps.route(this, node, lazy)
  }

  private failed (what: string, judgement: Judgement): void {
    const { outgoing } = this
    const { verdict, fate, moved } = judgement
    if (outgoing && this.state === 'sent' && fate !== 'unknown') outgoing.maybeStored = this.maybeStoredBefore
    if (fate === 'wrong-producer') this.renew()
    if (fate === 'too-large' && outgoing) return this.shrink(outgoing)
    if (verdict === 'permanent') this.refuse(`${this.name}: ${tell(what, judgement)}`, judgement === noAccess)
    else this.retry(what, moved)
  }

  private retry (what: string, moved: boolean): void {
    const { cluster, health } = this.deps
    this.failingSinceMs ??= this.outgoing?.startedMs ?? Date.now()
    this.trouble = `${this.name}: ${what}`
    this.state = 'waiting'
    health.begin('appends', this.trouble, this.name)
    if (moved) cluster.look()
    const { retryMs } = this
    this.retryMs = Math.min(2 * retryMs, retryMsMax)
    this.later(retryMs, () => {
      this.rejectOld()
      if (this.outgoing || this.queue.length > 0) this.route(false)
      else this.look()
    })
  }

  /** Everything was refused meanwhile. Whether the next append fares better, a probe tells. */
  private async look (): Promise<void> {
    const node = this.deps.cluster.topics.leaderOf(this.topic, this.partition)
    if (node === undefined) return this.retry('has no leader', true)
    try {
      const errorCode = await this.deps.probe(node, this.topic, this.partition)
      this.heard()
      if (this.state !== 'waiting') return
      if (errorCode !== invalidRecord && errorCode !== none) return this.failed(errorName(errorCode), judge(errorCode))
      this.heal()
      this.goOn()
    } catch (err) {
      this.unheard()
      if (this.state === 'waiting') this.failed((err as Error).message, judgeError(err))
    }
  }

  private heard (): void {
    this.answeredAtMs = Date.now()
    this.silentSinceMs = undefined
  }

  private unheard (): void {
    this.silentSinceMs ??= Math.max(this.outgoing?.startedMs ?? Date.now(), this.answeredAtMs)
  }

  private stored (baseOffset: bigint): void {
    const outgoing = this.outgoing!
    const { appends, records, stamp: { producerId, producerEpoch, sequence } } = outgoing
    this.outgoing = undefined
    this.stamp = { producerId, producerEpoch, sequence: (sequence + records) % 2 ** 31 }
    this.next = baseOffset + BigInt(records)
    if (this.trouble !== '') this.heal()
    this.deps.stored(outgoing)
    for (const { delta, index, resolve } of appends) {
      resolve({ partition: this.partition, offset: delta === 0 ? baseOffset : baseOffset + BigInt(delta), index })
    }
    this.goOn()
  }

  /** The broker takes less than we thought: smaller batches go. */
  private shrink (outgoing: Outgoing): void {
    this.outgoing = undefined
    this.renew() // an earlier try may have been stored after all, and its sequence must not come again
    const { appends, bytes } = outgoing
    this.deps.cluster.topics.refused(this.topic, bytes.length)
    const [first] = appends as [Append]
    if (appends.length > 1) this.queue.unshift(...appends)
    else if (first.items.length > 1) this.queue.unshift(...halves(this.stream, first))
    else this.rejectTooLarge(first, bytes.length)
    this.goOn()
  }

  private goOn (): void {
    if (this.queue.length > 0) return this.route(false)
    this.state = 'idle'
  }

  private rejectTooLarge (append: Append, bytes: number): void {
    append.reject(tooLarge(this.deps.cluster.topics, this.topic, bytes))
  }

  private heal (): void {
    this.trouble = ''
    this.failingSinceMs = this.refusal = undefined
    this.retryMs = retryMsMin
    this.deps.health.end('appends', this.name)
    this.deps.health.end('refused', this.name)
  }

  /** Has a person acted? A batch that a broker may have is sent again; where there is none, a probe tells of access. */
  private async ask (): Promise<void> {
    const { cluster, slowMs, probe } = this.deps
    const again = () => { this.later(slowMs, () => { this.ask() }) }
    const node = cluster.topics.leaderOf(this.topic, this.partition)
    if (cluster.topics.troubleOf(this.topic) !== '') return again()
    if (this.outgoing) return this.route(false)
    let errorCode = -1
    try {
      if (node === undefined) await cluster.look()
      else errorCode = await probe(node, this.topic, this.partition)
    } catch { /* told by those who append to it */ }
    if (this.state !== 'refused') return
    if (errorCode !== invalidRecord && errorCode !== none) return again()
    this.state = 'idle'
    if (this.probeTells) this.heal()
  }

  /** What no broker can have is refused when it has waited for as long as a send may take. */
  private rejectOld (): void {
    const { outgoing, queue } = this
    const { sendDeadlineMs } = this.deps
    if (outgoing && !outgoing.maybeStored && Date.now() - outgoing.startedMs >= sendDeadlineMs) {
      this.outgoing = undefined // its sequence is free again, since nobody has seen it
      for (const append of outgoing.appends) append.reject(this.away())
    }
    const oldMs = performance.now() - sendDeadlineMs
    const young = queue.findIndex(({ atMs }) => atMs > oldMs)
    for (const append of queue.splice(0, young === -1 ? queue.length : young)) append.reject(this.away())
  }

  private rejectAll (err: Error, evenMaybeStored: boolean): void {
    const { outgoing } = this
    if (outgoing && (evenMaybeStored || !outgoing.maybeStored)) {
      this.outgoing = undefined
      for (const append of outgoing.appends) append.reject(err)
    }
    for (const append of this.queue.splice(0)) append.reject(err)
  }

  private away (): GatewayError { return unavailable(`Kafka does not take it: ${this.trouble}`) }

  /** The batch goes again as the first one of a new producer, which may make it stand twice. */
  private renew (): void {
    this.deps.renewProducer()
    this.stamp = undefined
  }

  private later (ms: number, task: () => void): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(task, ms)
  }
}

/** An item is more than the topic takes in a batch with it alone, which has so many bytes. */
export function tooLarge (topics: TopicBook, topic: string, bytes: number): GatewayError {
  topics.itemRefused(topic, bytes)
  const bytesMax = topics.batchBytesMax(topic)
  return new GatewayError('payload-too-large', `${topic}: one item takes ${bytes} bytes, max.message.bytes is ${bytesMax}`)
}

export function unavailable (message: string): GatewayError { return new GatewayError('ledger-unavailable', message) }
