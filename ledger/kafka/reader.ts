import { setTimeout as sleep } from 'node:timers/promises'
import { GatewayError } from '../../schemas/errors.js'
import type { ReadRange } from '../log.js'
import type { Cluster } from './cluster.js'
import { CutBack, fetchOnce } from './fetch-once.js'
import { type Found, leaderOf, offsetOf, recordAt } from './offsets.js'
import { derivedFromOf } from './outgoing.js'
import type { Place } from './places.js'
import type { StoredRecord, Unreadable } from './record-batch.js'
import { judgeError, tell } from './verdicts.js'

const waitMs = 500
/** How long a read tries before it gives up, unless it has a signal. */
const retryForMs = 30_000
const retryMsMax = 2_000
/** For what a person has to mend. */
const slowMs = 10_000
const derivedLookBack = [64n, 1_000n]
/** Above every offset. */
const endless = 1n << 63n

/** Reads ranges of partitions, without a group. */
export class Reader {
  private lanes = 0

  /** @param closing ends every read */
  constructor (private readonly cluster: Cluster, private readonly closing: AbortSignal) {}

  bounds (topic: string, partition: number): Promise<{ first: bigint, next: bigint }> {
    return this.patiently(async () => {
      const node = await leaderOf(this.cluster, topic, partition)
      const [first, next] = await Promise.all([
        offsetOf(this.cluster, node, topic, partition, 'first'), offsetOf(this.cluster, node, topic, partition, 'next'),
      ])
      return { first, next }
    })
  }

  /** By the times of records: who appended them stamped them, us or another producer. */
  firstSince (topic: string, partition: number, atMs: number): Promise<Found | undefined> {
    return this.patiently(async () => {
      const node = await leaderOf(this.cluster, topic, partition)
      const found = await recordAt(this.cluster, node, topic, partition, Math.max(0, Math.ceil(atMs)))
      return found.offset >= 0n ? found : undefined
    })
  }

  async offsetAt (topic: string, partition: number, atMs: number): Promise<bigint> {
    return (await this.firstSince(topic, partition, atMs))?.offset ?? (await this.bounds(topic, partition)).next
  }

  /** Looks at the last records only: one that is lower than the truth makes the deriver repeat itself, no more. */
  async derivedFrom (topic: string, partition: number): Promise<bigint> {
    const { first, next } = await this.bounds(topic, partition)
    let to = next
    for (const back of derivedLookBack) {
      const from = next - back > first ? next - back : first
      let highest = -1n
      for await (const { headers } of this.records(topic, partition, { from, to }, () => {})) {
        const offset = derivedFromOf(headers)
        if (offset > highest) highest = offset
      }
      if (highest >= 0n || from === first) return highest
      to = from
    }
    return -1n
  }

  /** Records as they are stored, in order; batches that can not be read are handed over. */
  async * records (
    topic: string, partition: number, { from, to, signal, passed }: ReadRange, unreadable: (batch: Unreadable) => void
  ): AsyncGenerator<StoredRecord> {
    const end = signal ? to ?? endless : least(to, (await this.bounds(topic, partition)).next)
    // One that waits for what arrives would keep the others waiting.
    const lane = signal ? `reader ${++this.lanes}` : 'reads'
    const ending = signal ? AbortSignal.any([signal, this.closing]) : this.closing
    const abort = () => { this.cluster.endLane(lane) }
    if (signal) ending.addEventListener('abort', abort)
    try {
      let place: Place = { next: from, epoch: -1 }
      let leaderEpoch = -1
      const fetchNext = () => fetchOnce(
        this.cluster, lane, topic, partition, place, leaderEpoch, signal ? waitMs : 0,
        ...end - place.next === 1n ? [1] : [] // one record: the batch that it is in, and none behind it
      )
      while (place.next < end && !ending.aborted) {
        const fetched = await this.patiently(fetchNext, ending, signal)
        if (!fetched) return
        if (fetched.deleted) passed?.({ from: place.next, to: least(fetched.next, end) })
        for (const batch of fetched.unreadable) unreadable(batch)
        for (const record of fetched.records) {
          if (record.offset >= end || ending.aborted) return
          yield record
        }
        place = { next: fetched.next, epoch: fetched.epoch < 0 ? place.epoch : fetched.epoch }
        leaderEpoch = fetched.leaderEpoch
      }
    } finally {
      if (signal) {
        ending.removeEventListener('abort', abort)
        abort()
      }
    }
  }

  /**
   * Tries until it succeeds.
   *
   * @returns undefined when `ending` aborts
   * @throws GatewayError `ledger-unavailable` after a while, unless it goes on for as long as a signal lets it
   */
  private async patiently<T> (ask: () => Promise<T>): Promise<T>
  private async patiently<T> (ask: () => Promise<T>, ending: AbortSignal, signal?: AbortSignal): Promise<T | undefined>
  private async patiently<T> (
    ask: () => Promise<T>, ending?: AbortSignal, signal?: AbortSignal
  ): Promise<T | undefined> {
    const giveUpMs = Date.now() + retryForMs
    for (let pauseMs = 50; ; pauseMs = Math.min(2 * pauseMs, retryMsMax)) {
      try {
        return await ask()
      } catch (cause) {
        if (ending?.aborted) return undefined
        if (this.closing.aborted) throw unavailable('the log is closed')
        if (cause instanceof CutBack) throw unavailable(cause.message, cause)
        const judgement = judgeError(cause)
        const isPermanent = judgement.verdict === 'permanent'
        if (!signal && (isPermanent || Date.now() > giveUpMs)) {
          throw unavailable(`Kafka does not answer: ${tell((cause as Error).message, judgement)}`, cause)
        }
        if (isPermanent) pauseMs = slowMs
      }
      await sleep(pauseMs, undefined, ending ? { signal: ending } : {}).catch(() => {})
      await this.cluster.look()
    }
  }
}

function least (a: bigint | undefined, b: bigint): bigint { return a !== undefined && a < b ? a : b }

function unavailable (message: string, cause?: unknown): GatewayError {
  return new GatewayError('ledger-unavailable', message, { cause })
}
