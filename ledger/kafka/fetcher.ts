import { setTimeout as sleep } from 'node:timers/promises'
import type { Health } from '../../schemas/conditions.js'
import type { Hole } from '../log.js'
import type { Cluster } from './cluster.js'
import { offsetOf } from './offsets.js'
import { partingAt, partingOf, type Parting } from './places.js'
import { fetch } from './record-apis.js'
import { batchBytesMax, readBatches, type StoredRecords } from './record-batch.js'
import { judge, judgeError, tell, tellCode } from './verdicts.js'
import { errorName } from './wire.js'

/** A partition that wants its records, one fetch after the other. */
export interface FetchTarget {
  readonly partition: number
  /** Offset of the first record that it has not been given. */
  next: bigint
  /** Of the leader under which the last record was written that it was given; -1 where that is not known. */
  epoch: number
  /** Of records that it was given and has not handed on. */
  readonly queuedBytes: number
  /** Has more than it can keep; it is left out until `wake`. */
  readonly full: boolean
  /** @param end the offset that the next record of the partition gets */
  take (stored: StoredRecords, end: bigint): void
  /** Retention has deleted what stands between all that it was given and what comes next. */
  passed (hole: Hole): void
  /** What it was given from `at` on is not in the log any more. It is not fetched for again. */
  parted (parting: Parting): void
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
export const answerMs = 5_000
const retryMsMin = 50
const retryMsMax = 2_000
/** Partitions are assigned one after the other; the first fetch should have them all. */
const gatherMs = 5

export const offsetOutOfRange = 1

/**
 * How a partition is getting on.
 *
 * | State | Means | Left by |
 * | --- | --- | --- |
 * | `flowing` | in each fetch, while its target has room | an error |
 * | `placing` | its leader is a new one, or has no such offset: it is looked up where to go on | the answer |
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
  /** The epoch of the leader whose log is known to have what the target was given. */
  leaderEpoch: number
  /** Why it is given nothing; empty while it flows. */
  reason: string
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
    this.flows.set(target, {
      target, state: 'flowing', untilMs: 0, retryMs: retryMsMin, served: 0, leaderEpoch: -1, reason: '',
    })
    this.wake()
    this.route(gatherMs)
  }

  /** Nothing is given to it from now on. */
  remove (target: FetchTarget): void {
    this.flows.delete(target)
    this.tellWell(target)
  }

  /** Why the target is given nothing; empty where it is, or would be. */
  reasonOf (target: FetchTarget): string { return this.flows.get(target)?.reason ?? '' }

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
          this.tell(flow, 'has no leader')
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
      const due = room.filter(({ untilMs }) => untilMs <= nowMs).sort((a, b) => a.served - b.served)
      const wanting = due.filter(flow => this.isLedBy(node, flow))
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
    const from = flows.map(({ target: { partition, next }, leaderEpoch }) =>
      ({ topic, partition, offset: next, bytesMax, leaderEpoch }))
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
        if (stored.epoch >= 0) target.epoch = stored.epoch
        target.take(stored, end)
      } else if (errorCode === offsetOutOfRange) {
        this.place(flow, () => this.replace(node, flow, offset))
      } else {
        this.errs(flow, errorCode)
      }
    }
  }

  private flowsAgain (flow: Flow): void {
    if (flow.state === 'flowing' && flow.reason === '') return
    flow.reason = ''
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
      flow.reason = tellCode(`fetch of ${topic}/${target.partition}`, errorCode)
      health.begin('refused', flow.reason, this.nameOf(target))
    } else {
      this.tell(flow, errorName(errorCode))
    }
    if (moved) cluster.look().then(() => { this.route(0) })
  }

  /** Whether its leader has what the target was given: one that was elected since it was asked last is asked first. */
  private isLedBy (node: number, flow: Flow): boolean {
    const { cluster, topic } = this.options
    const { partition, next, epoch } = flow.target
    const leaderEpoch = cluster.leaderEpochOf(topic, partition)
    if (flow.leaderEpoch === leaderEpoch) return true
    if (epoch < 0) {
      flow.leaderEpoch = leaderEpoch
      return true
    }
    this.place(flow, async () => {
      const parting = await partingOf(cluster, node, topic, partition, { next, epoch })
      if (parting === undefined) flow.leaderEpoch = leaderEpoch
      return parting
    })
    return false
  }

  /** Looks where to go on: the target goes on there, or is told that it can not. */
  private async place (flow: Flow, look: () => Promise<Parting | undefined>): Promise<void> {
    const { target } = flow
    flow.state = 'placing'
    flow.untilMs = Infinity
    try {
      const parting = await look()
      if (this.flows.get(target) !== flow) return
      if (parting !== undefined) return target.parted(parting)
      this.flowsAgain(flow)
    } catch (err) {
      if (this.flows.get(target) !== flow) return
      flow.state = 'waiting'
      flow.untilMs = performance.now() + flow.retryMs
      flow.retryMs = Math.min(2 * flow.retryMs, retryMsMax)
      this.tell(flow, (err as Error).message)
      if (judgeError(err).moved) this.options.cluster.look().then(() => { this.route(0) })
    }
    this.wake()
  }

  /** Retention has passed the offset, or the log went back behind it. */
  private async replace (node: number, { target }: Flow, offset: bigint): Promise<Parting | undefined> {
    const { cluster, topic, failed } = this.options
    const { partition, epoch } = target
    await cluster.look() // one that is another topic of this name is not read
    const trouble = cluster.topics.troubleOf(topic)
    if (trouble !== '') throw new Error(trouble)
    const first = await offsetOf(cluster, node, topic, partition, 'first')
    if (offset >= first) return await partingAt(cluster, node, topic, partition, { next: offset, epoch })
    target.next = first
    if (offset === 0n) return // it wants whatever is kept
    failed('records are gone', new Error(`got offset ${offset}, want ${first} or later`), { topic, partition })
    target.passed({ from: offset, to: first })
  }

  private nameOf ({ partition }: FetchTarget): string {
    return `${this.options.groupId}, fetch of partition ${partition}`
  }

  private tell (flow: Flow, reason: string): void {
    const { health, topic } = this.options
    flow.reason = `${topic}/${flow.target.partition}: ${reason}`
    health.begin('followers', flow.reason, this.nameOf(flow.target))
  }

  private tellWell (target: FetchTarget): void {
    const { health } = this.options
    health.end('followers', this.nameOf(target))
    health.end('refused', this.nameOf(target))
  }
}
