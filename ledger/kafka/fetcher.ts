import { setTimeout as sleep } from 'node:timers/promises'
import type { Health } from '../../schemas/conditions.js'
import type { Cluster } from './cluster.js'
import { fetch, type Fetched } from './record-apis.js'
import { batchBytesMax, readBatches, type StoredRecords } from './record-batch.js'
import { errorName, listOffsets } from './wire.js'

/** A partition that wants its records, one fetch after the other. */
export interface FetchTarget {
  readonly partition: number
  /** Offset of the first record that it has not been given. */
  next: bigint
  /** Of records that it was given and has not handed on. */
  readonly queuedBytes: number
  /** Has more than it can keep; it is left out until `wake`. */
  readonly full: boolean
  /** @param end the offset that the next record of the partition gets */
  take (stored: StoredRecords, end: bigint): void
}

export interface FetcherOptions {
  readonly cluster: Cluster
  readonly topic: string
  /** Connections of this name are its own. */
  readonly lane: string
  /** For whom it fetches. */
  readonly groupId: string
  readonly health: Health
  failed (what: string, error: Error, fields: object): void
}

export const fetchBytesMax = 8 << 20
export const partitionBytesMax = 1 << 20
/**
 * What all partitions of one follower have waiting. Past it only those are fetched that have nothing, and little of
 * each: a follower that is stuck in some partitions goes on in the others.
 */
const queuedBytesMax = 32 << 20
const hungryBytesMax = 64 << 10
/** A broker that has nothing answers after so long. */
const waitMs = 500
/** While somebody is full, so that it is asked for again soon after it has room. */
const shortWaitMs = 20
const answerMs = 5_000
const retryMsMin = 50
const retryMsMax = 2_000
/** Partitions are assigned one after the other; the first fetch should have them all. */
const gatherMs = 5
const questionMs = 3_000

const offsetOutOfRange = 1

/**
 * Long polls, one loop for each broker that leads some of the targets. A broker that does not answer loses its
 * connection, and the leaders are asked for again: there is nothing that could stall for longer than that.
 */
export class Fetcher {
  /** When a broker answered last, ms since 1970. */
  answeredAtMs = Date.now()
  private readonly targets = new Set<FetchTarget>()
  private readonly loops = new Set<number>()
  private sleepers: Array<() => void> = []
  private routing: NodeJS.Timeout | undefined
  private turns = 0
  private closed = false

  constructor (private readonly options: FetcherOptions) {}

  /** Whether somebody should be getting answers. */
  get active (): boolean {
    for (const { full } of this.targets) if (!full) return true
    return false
  }

  add (target: FetchTarget): void {
    if (!this.active) this.answeredAtMs = Date.now()
    this.targets.add(target)
    this.wake()
    this.route(gatherMs)
  }

  /** Nothing is given to it from now on. */
  remove (target: FetchTarget): void { this.targets.delete(target) }

  /** A target has room again, or nothing left. */
  wake (): void { for (const wake of this.sleepers.splice(0)) wake() }

  close (): void {
    this.closed = true
    clearTimeout(this.routing)
    this.targets.clear()
    this.wake()
    this.options.cluster.endLane(this.options.lane)
  }

  private get queuedBytes (): number {
    let bytes = 0
    for (const target of this.targets) bytes += target.queuedBytes
    return bytes
  }

  /** A broker fills its answer in the order of the question: each time another partition is the first one. */
  private inTurn (targets: readonly FetchTarget[]): FetchTarget[] {
    const first = targets.length === 0 ? 0 : this.turns++ % targets.length
    return [...targets.slice(first), ...targets.slice(0, first)]
  }

  /** Starts the loops that are missing. */
  private route (inMs: number): void {
    if (this.closed) return
    this.routing ??= setTimeout(() => {
      this.routing = undefined
      const { cluster, topic } = this.options
      for (const { partition } of this.targets) {
        const node = cluster.leaderOf(topic, partition)
        if (node === undefined) {
          cluster.refresh().catch(() => {}).finally(() => this.route(retryMsMax / 10))
        } else if (!this.loops.has(node)) {
          this.loops.add(node)
          this.loop(node).catch(err => this.options.failed('fetch loop ended', err as Error, { topic, node }))
        }
      }
    }, inMs)
  }

  private async loop (node: number): Promise<void> {
    const { cluster, topic, groupId, health } = this.options
    const what = `${groupId}, broker ${node}`
    let retryMs = retryMsMin
    for (;;) {
      const led = [...this.targets].filter(({ partition }) => cluster.leaderOf(topic, partition) === node)
      if (led.length === 0 || this.closed) break
      const isCrowded = this.queuedBytes > queuedBytesMax
      const wanting = this.inTurn(led.filter(({ full, queuedBytes }) => isCrowded ? queuedBytes === 0 : !full))
      if (wanting.length === 0) {
        await new Promise<void>(resolve => this.sleepers.push(resolve))
        continue
      }
      try {
        const bytesMax = isCrowded ? hungryBytesMax : partitionBytesMax
        const trouble = await this.fetch(node, wanting, bytesMax, wanting.length < led.length ? shortWaitMs : waitMs)
        if (trouble === 0) {
          health.end('followers', what)
          retryMs = retryMsMin
          continue
        }
        health.begin('followers', `${topic}: ${errorName(trouble)}`, what)
      } catch (err) {
        if (this.closed) break
        health.begin('followers', `${topic}: ${(err as Error).message}`, what)
      }
      await sleep(retryMs)
      retryMs = Math.min(2 * retryMs, retryMsMax)
      await cluster.refresh().catch(() => {})
      this.route(0)
    }
    health.end('followers', what) // whoever leads the partitions now has a loop of its own
    this.loops.delete(node)
    this.route(0)
  }

  /** @returns the first error of a partition that asks for the leaders to be looked up again; 0 for none */
  private async fetch (
    node: number, targets: readonly FetchTarget[], bytesMax: number, waitMs: number
  ): Promise<number> {
    const { cluster, topic, lane, failed } = this.options
    const from = targets.map(({ partition, next }) => ({ topic, partition, offset: next, bytesMax }))
    const connection = await cluster.connection(node, lane)
    const answers = await connection.send(fetch, { waitMs, bytesMax: fetchBytesMax, from }, waitMs + answerMs)
    this.answeredAtMs = Date.now()
    const asked = new Map(targets.map((target, i) => [target.partition, { target, offset: from[i]!.offset }]))
    const several = answers.filter(({ batches }) => batches.length > 0).length > 1
    let trouble = 0
    let inflatedBytesMax = batchBytesMax
    for (const { partition, errorCode, end, aborted, batches } of answers) {
      const { target, offset } = asked.get(partition)!
      if (!this.targets.has(target)) continue
      if (errorCode === 0) {
        // Of its own, or a partition that waits would keep what all others were given in the same answer.
        const stored = readBatches(several ? Buffer.from(batches) : batches, offset, { aborted, inflatedBytesMax })
        inflatedBytesMax -= stored.inflatedBytes
        target.next = stored.next
        target.take(stored, end)
      } else if (errorCode === offsetOutOfRange) {
        const first = await offsetOf(cluster, node, topic, partition, 'first')
        failed('records are gone', new Error(`got offset ${offset}, want ${first} or later`), { topic, partition })
        target.next = first
      } else {
        trouble ||= errorCode
      }
    }
    return trouble
  }
}

/**
 * One fetch of one partition by whoever leads it.
 *
 * @throws NoAnswer or KafkaError when it has to be tried again
 */
export async function fetchOnce (
  cluster: Cluster, lane: string, topic: string, partition: number, offset: bigint, waitMs: number
): Promise<StoredRecords & { readonly deleted?: boolean }> {
  const node = await leaderOf(cluster, topic, partition)
  const connection = await cluster.connection(node, lane)
  const from = [{ topic, partition, offset, bytesMax: 4 * partitionBytesMax }]
  const [answer] = await connection.send(fetch, { waitMs, bytesMax: fetchBytesMax, from }, waitMs + answerMs)
  if (answer!.errorCode === offsetOutOfRange) {
    const next = await offsetOf(cluster, node, topic, partition, 'first')
    return { records: [], unreadable: [], next, epoch: -1, inflatedBytes: 0, deleted: next > offset }
  }
  if (answer!.errorCode !== 0) throw new Error(`fetch of ${topic}/${partition}: ${errorName(answer!.errorCode)}`)
  const { aborted, batches } = answer as Fetched
  return readBatches(batches, offset, { aborted })
}

/** @throws Error while the partition has no leader */
export async function leaderOf (cluster: Cluster, topic: string, partition: number): Promise<number> {
  const known = cluster.leaderOf(topic, partition)
  if (known !== undefined) return known
  await cluster.refresh()
  const leader = cluster.leaderOf(topic, partition)
  if (leader === undefined) throw new Error(`${topic}/${partition} has no leader`)
  return leader
}

/** @param which an end, or ms since 1970 for the first record at or after it: -1n where there is none */
export async function offsetOf (
  cluster: Cluster, node: number, topic: string, partition: number, which: 'first' | 'next' | number
): Promise<bigint> {
  const connection = await cluster.connection(node, 'questions')
  const timestamp = which === 'first' ? -2 : which === 'next' ? -1 : which
  const question = { topics: [{ topic, partitions: [{ partition, timestamp }] }] }
  const { responses } = await connection.send(listOffsets, question, questionMs)
  const { errorCode, offset } = responses[0]!.partitions[0]!
  if (errorCode !== 0) throw new Error(`offsets of ${topic}/${partition}: ${errorName(errorCode)}`)
  return BigInt(offset)
}
