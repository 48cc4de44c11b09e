import { setTimeout as sleep } from 'node:timers/promises'
import type { Health } from '../../schemas/conditions.js'
import type { Cluster } from './cluster.js'
import { offsetOf } from './offsets.js'
import { fetch, type Fetched } from './record-apis.js'
import { batchBytesMax, readBatches, type StoredRecords } from './record-batch.js'
import { judge, judgeError, tell, tellCode } from './verdicts.js'
import { errorName, KafkaError } from './wire.js'

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
  /** What permanent errors are asked again after, ms. */
  readonly slowMs: number
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

const offsetOutOfRange = 1

/**
 * How a partition is getting on.
 *
 * | State | Means | Left by |
 * | --- | --- | --- |
 * | `flowing` | in each fetch, while its target has room | an error |
 * | `placing` | its offset is not there: it is looked up where to go on | the answer |
 * | `waiting` | an error that passes | its own clock |
 * | `refused` | an error that a person has to mend | its own clock, slowly |
 */
interface Flow {
  readonly target: FetchTarget
  state: 'flowing' | 'placing' | 'waiting' | 'refused'
  /** When it is asked for again, by `performance.now`. */
  untilMs: number
  retryMs: number
  /** Which of all the answers that had something for it came last: those that got nothing for longest are first. */
  served: number
}

/**
 * Long polls, one loop for each broker that leads some of the targets. A broker that does not answer loses its
 * connection, and the leaders are asked for again: there is nothing that could stall for longer than that.
 */
export class Fetcher {
  /** When a broker answered last, ms since 1970. */
  answeredAtMs = Date.now()
  private readonly flows = new Map<FetchTarget, Flow>()
  private readonly loops = new Set<number>()
  private sleepers: Array<() => void> = []
  private routing: NodeJS.Timeout | undefined
  private answers = 0
  private closed = false

  constructor (private readonly options: FetcherOptions) {}

  /** Whether somebody should be getting answers. */
  get active (): boolean {
    for (const { full } of this.flows.keys()) if (!full) return true
    return false
  }

  add (target: FetchTarget): void {
    if (!this.active) this.answeredAtMs = Date.now()
    this.flows.set(target, { target, state: 'flowing', untilMs: 0, retryMs: retryMsMin, served: 0 })
    this.wake()
    this.route(gatherMs)
  }

  /** Nothing is given to it from now on. */
  remove (target: FetchTarget): void {
    this.flows.delete(target)
    this.tellWell(target)
  }

  /** A target has room again, or nothing left. */
  wake (): void { for (const wake of this.sleepers.splice(0)) wake() }

  close (): void {
    this.closed = true
    clearTimeout(this.routing)
    for (const target of [...this.flows.keys()]) this.remove(target)
    this.wake()
    this.options.cluster.endLane(this.options.lane)
  }

  private get queuedBytes (): number {
    let bytes = 0
    for (const target of this.flows.keys()) bytes += target.queuedBytes
    return bytes
  }

  /** Starts the loops that are missing. */
  private route (inMs: number): void {
    if (this.closed) return
    this.routing ??= setTimeout(() => {
      this.routing = undefined
      const { cluster, topic } = this.options
      for (const flow of this.flows.values()) {
        const node = cluster.leaderOf(topic, flow.target.partition)
        if (node === undefined) {
          this.tell(flow.target, 'has no leader')
          cluster.look().then(() => { this.route(retryMsMin) })
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
      const led = [...this.flows.values()].filter(({ target }) => cluster.leaderOf(topic, target.partition) === node)
      if (led.length === 0 || this.closed) break
      const isCrowded = this.queuedBytes > queuedBytesMax
      const room = led.filter(({ target: { full, queuedBytes } }) => isCrowded ? queuedBytes === 0 : !full)
      const nowMs = performance.now()
      // A broker fills its answer in the order of the question.
      const wanting = room.filter(({ untilMs }) => untilMs <= nowMs).sort((a, b) => a.served - b.served)
      if (wanting.length === 0) {
        await this.rest(Math.min(...room.map(({ untilMs }) => untilMs)) - nowMs)
        continue
      }
      try {
        const bytesMax = isCrowded ? hungryBytesMax : partitionBytesMax
        await this.fetch(node, wanting, bytesMax, room.length < led.length ? shortWaitMs : waitMs)
        health.end('followers', what)
        retryMs = retryMsMin
      } catch (err) {
        if (this.closed) break
        health.begin('followers', `${topic}: ${tell((err as Error).message, judgeError(err))}`, what)
        await sleep(retryMs)
        retryMs = Math.min(2 * retryMs, retryMsMax)
        await cluster.look()
        this.route(0)
      }
    }
    health.end('followers', what) // whoever leads the partitions now has a loop of its own
    this.loops.delete(node)
    this.route(0)
  }

  /** Until somebody has room, and at most so long. */
  private rest (ms: number): Promise<void> {
    return new Promise(resolve => {
      const timer = Number.isFinite(ms) ? setTimeout(() => this.wake(), ms) : undefined
      this.sleepers.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  private async fetch (node: number, flows: readonly Flow[], bytesMax: number, waitMs: number): Promise<void> {
    const { cluster, topic, lane } = this.options
    const from = flows.map(({ target: { partition, next } }) => ({ topic, partition, offset: next, bytesMax }))
    const connection = await cluster.connection(node, lane)
    const question = { waitMs, bytesMax: fetchBytesMax, from }
    const { partitions } = await connection.send(fetch, question, waitMs + answerMs)
    this.answeredAtMs = Date.now()
    this.answers++
    const asked = new Map(flows.map((flow, i) => [flow.target.partition, { flow, offset: from[i]!.offset }]))
    const several = partitions.filter(({ batches }) => batches.length > 0).length > 1
    let inflatedBytesMax = batchBytesMax
    for (const { partition, errorCode, end, aborted, batches } of partitions) {
      const { flow, offset } = asked.get(partition)!
      const { target } = flow
      if (this.flows.get(target) !== flow) continue
      if (errorCode === 0) {
        if (batches.length > 0) flow.served = this.answers
        this.flowsAgain(flow)
        // Of its own, or a partition that waits would keep what all others were given in the same answer.
        const stored = readBatches(several ? Buffer.from(batches) : batches, offset, { aborted, inflatedBytesMax })
        inflatedBytesMax -= stored.inflatedBytes
        target.next = stored.next
        target.take(stored, end)
      } else if (errorCode === offsetOutOfRange) {
        flow.state = 'placing'
        flow.untilMs = Infinity
        this.place(node, flow, offset)
      } else {
        this.errs(flow, errorCode)
      }
    }
  }

  private flowsAgain (flow: Flow): void {
    if (flow.state === 'flowing') return
    flow.state = 'flowing'
    flow.retryMs = retryMsMin
    flow.untilMs = 0
    this.tellWell(flow.target)
  }

  /** Its own trouble: the others of the same broker are not kept by it. */
  private errs (flow: Flow, errorCode: number): void {
    const { cluster, topic, health, slowMs } = this.options
    const { target } = flow
    const { verdict, moved } = judge(errorCode)
    const isPermanent = verdict === 'permanent'
    flow.state = isPermanent ? 'refused' : 'waiting'
    flow.untilMs = performance.now() + (isPermanent ? slowMs : flow.retryMs)
    flow.retryMs = Math.min(2 * flow.retryMs, retryMsMax)
    if (isPermanent) {
      this.tellWell(target)
      health.begin('refused', tellCode(`fetch of ${topic}/${target.partition}`, errorCode), this.nameOf(target))
    } else {
      this.tell(target, errorName(errorCode))
    }
    if (moved) cluster.look().then(() => { this.route(0) })
  }

  /** Retention, or a log that went back, has passed the place: goes on with what is there. */
  private async place (node: number, flow: Flow, offset: bigint): Promise<void> {
    const { cluster, topic, failed } = this.options
    const { target } = flow
    const { partition } = target
    try {
      await cluster.look() // one that is another topic of this name is not read
      if (cluster.topics.troubleOf(topic) !== '') return
      const first = await offsetOf(cluster, node, topic, partition, 'first')
      failed('records are gone', new Error(`got offset ${offset}, want ${first} or later`), { topic, partition })
      if (this.flows.get(target) !== flow) return
      target.next = first
      this.flowsAgain(flow)
    } catch (err) {
      if (this.flows.get(target) !== flow) return
      flow.state = 'waiting'
      flow.untilMs = performance.now() + flow.retryMs
      flow.retryMs = Math.min(2 * flow.retryMs, retryMsMax)
      this.tell(target, (err as Error).message)
    }
    this.wake()
  }

  private nameOf ({ partition }: FetchTarget): string {
    return `${this.options.groupId}, fetch of partition ${partition}`
  }

  private tell (target: FetchTarget, reason: string): void {
    const { health, topic } = this.options
    health.begin('followers', `${topic}/${target.partition}: ${reason}`, this.nameOf(target))
  }

  private tellWell (target: FetchTarget): void {
    const { health } = this.options
    health.end('followers', this.nameOf(target))
    health.end('refused', this.nameOf(target))
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
  const question = { waitMs, bytesMax: fetchBytesMax, from }
  const { partitions: [answer] } = await connection.send(fetch, question, waitMs + answerMs)
  if (answer!.errorCode === offsetOutOfRange) {
    const next = await offsetOf(cluster, node, topic, partition, 'first')
    return { records: [], unreadable: [], next, epoch: -1, inflatedBytes: 0, deleted: next > offset }
  }
  if (answer!.errorCode !== 0) throw new KafkaError(answer!.errorCode, `fetch of ${topic}/${partition}`)
  const { aborted, batches } = answer as Fetched
  return readBatches(batches, offset, { aborted })
}

/** @throws Error while the partition has no leader */
export async function leaderOf (cluster: Cluster, topic: string, partition: number): Promise<number> {
  const trouble = cluster.topics.troubleOf(topic)
  if (trouble !== '') throw new Error(trouble)
  const known = cluster.leaderOf(topic, partition)
  if (known !== undefined) return known
  await cluster.look()
  const leader = cluster.leaderOf(topic, partition)
  if (leader === undefined) throw new Error(`${topic}/${partition} has no leader`)
  return leader
}
