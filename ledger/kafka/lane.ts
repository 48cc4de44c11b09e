import type { Health } from '../../schemas/conditions.js'
import type { Cluster } from './cluster.js'
import { NoAnswer } from './no-answer.js'
import type { ProducerIds } from './producer-ids.js'
import { produce, type PartitionBatch } from './record-apis.js'
import type { PartitionSender } from './sender.js'
import { KafkaError } from './wire.js'

export interface LaneDeps {
  readonly cluster: Pick<Cluster, 'connection'>
  readonly producerIds: Pick<ProducerIds, 'current'>
  readonly sendDeadlineMs: number
  readonly health: Health
  failed (what: string, error: Error, fields: object): void
}

const requestBytesMax = 4 << 20
const lazyMs = 5
/** Without being throttled, until that counts as over. */
const calmMs = 5_000

/** What goes to one broker: one request at a time, with the batches of all partitions that became ready meanwhile. */
export class BrokerLane {
  /** In the order in which they go, the urgent ones ahead of the others; one that goes again is the last one. */
  private readonly ready = new Set<PartitionSender>()
  private busy = false
  private closed = false
  /** When the broker has last asked for a pause, by `performance.now`; undefined where that is over. */
  private throttledAtMs: number | undefined
  private turn: NodeJS.Immediate | undefined
  private timer: NodeJS.Timeout | undefined

  constructor (private readonly node: number, private readonly deps: LaneDeps) {}

  /** @param lazy it may wait a little for others */
  add (sender: PartitionSender, lazy: boolean): void {
    this.ready.add(sender)
    if (this.busy || this.turn || this.closed) return
    if (lazy) {
      this.timer ??= setTimeout(() => this.run(), lazyMs)
      return
    }
    // In the check phase, after every socket that is readable in this turn was read: what they append is one request.
    this.turn = setImmediate(() => this.run())
  }

  close (): void {
    this.closed = true
    clearTimeout(this.timer)
    clearImmediate(this.turn)
    if (this.throttledAtMs !== undefined) this.deps.health.end('throttled', `appends, broker ${this.node}`)
  }

  private async run (): Promise<void> {
    clearTimeout(this.timer)
    clearImmediate(this.turn)
    this.timer = this.turn = undefined
    if (this.busy) return
    this.busy = true
    while (this.ready.size > 0 && !this.closed) {
      const senders: PartitionSender[] = []
      try {
        await this.collect(senders)
        if (senders.length > 0) await this.send(senders)
      } catch (err) {
        // Of Kafka's own reasons those tell whom they keep waiting.
        if (!(err instanceof NoAnswer || err instanceof KafkaError)) {
          this.deps.failed('append failed', err as Error, { node: this.node })
        }
        // Without a connection, or a producer id, none of the others fares better.
        const others = senders.length > 0 ? [] : [...this.ready]
        for (const sender of others) this.ready.delete(sender)
        for (const sender of [...senders, ...others]) sender.unanswered(err)
      }
    }
    this.busy = false
  }

  /** @param senders gets those that have a batch, up to the size of one request */
  private async collect (senders: PartitionSender[]): Promise<void> {
    const producer = await this.deps.producerIds.current(this.node)
    let bytes = 0
    for (const isUrgent of [true, false]) {
      for (const sender of this.ready) {
        if (bytes >= requestBytesMax) break
        if (sender.isUrgent !== isUrgent) continue
        this.ready.delete(sender)
        if (!sender.leave(this.node)) continue
        const outgoing = sender.batch(producer)
        if (!outgoing) continue
        bytes += outgoing.bytes.length
        senders.push(sender)
      }
    }
  }

  private async send (senders: readonly PartitionSender[]): Promise<void> {
    const { cluster, sendDeadlineMs } = this.deps
    const connection = await cluster.connection(this.node, 'produce')
    const batches: PartitionBatch[] = []
    for (const { topic, partition, outgoing } of senders) {
      outgoing!.maybeStored = true
      batches.push({ topic, partition, batch: outgoing!.bytes })
    }
    const question = { timeoutMs: sendDeadlineMs, batches }
    const { partitions, throttleMs } = await connection.send(produce, question, sendDeadlineMs)
    if (throttleMs > 0 || this.throttledAtMs !== undefined) this.tellThrottled(throttleMs)
    const byName = new Map(partitions.map(answer => [`${answer.topic}/${answer.partition}`, answer]))
    for (const sender of senders) {
      const { topic, partition, name } = sender
      sender.answered(byName.get(name) ?? { topic, partition, errorCode: -1, baseOffset: -1n })
    }
  }

  private tellThrottled (throttleMs: number): void {
    const { health } = this.deps
    const what = `appends, broker ${this.node}`
    const nowMs = performance.now()
    if (throttleMs > 0) {
      this.throttledAtMs = nowMs
      health.begin('throttled', `broker ${this.node} wants no append for ${throttleMs} ms`, what)
    } else if (nowMs - this.throttledAtMs! >= calmMs) {
      this.throttledAtMs = undefined
      health.end('throttled', what)
    }
  }
}
