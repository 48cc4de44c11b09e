import { createHistogram, type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { Timed } from '../actors/connection/stopwatch.js'
import { Work } from '../actors/connection/work.js'
import { WaitProbe } from '../actors/wait-probe.js'
import type { Health } from '../schemas/conditions.js'
import type { NodeReported } from '../schemas/node-facts.js'
import { memoryBytesMax } from './memory.js'
import { Overload, type Waits } from './overload.js'
import { Starvation } from './starvation.js'

/** How often the delay of the event loop is looked at: an idle node should not wake up more often. */
const delayEveryMs = 50

/** Of acks, in microseconds: a minute and more counts as one. */
const ackMax = 60_000_000

/** What a node does and how long that takes: for its reports, and for deciding whom it takes (overload.ts). */
export class NodeLoad {
  readonly reads = new WaitProbe()
  readonly folds = new WaitProbe()
  readonly overload: Overload
  readonly work = new Work(() => this.overload.lasts)
  /** What uplinks have waited in the log because there were too many before them: of all, and of quiet connections. */
  readonly #queued = new Mean()
  readonly #queuedQuiet = new Mean()
  readonly #starvation = new Starvation()
  readonly #delays: IntervalHistogram = monitorEventLoopDelay({ resolution: delayEveryMs })
  readonly #acks = createHistogram({ highest: ackMax, figures: 2 })
  #cpu = process.cpuUsage()
  #cpuAtMs = performance.now()
  #utilization = performance.eventLoopUtilization()

  /** @param waitMsMax see `Overload` */
  constructor (readonly waitMsMax: number, health: Health) {
    this.overload = new Overload(waitMsMax, () => this.#waits(), health)
  }

  /** Measures from now on. @returns what ends it */
  start (): () => void {
    this.#delays.enable()
    const stopLooking = this.overload.start()
    return () => {
      stopLooking()
      this.#delays.disable()
      this.#starvation.stop()
    }
  }

  /** Of an uplink that was acked. */
  acked ({ logMs, queuedMs, accessMs, isQuiet }: Timed): void {
    this.#acks.record(Math.min(ackMax, Math.max(1, Math.round(1_000 * (logMs + accessMs)))))
    this.work.logTook(logMs)
    this.#queued.add(queuedMs)
    if (isQuiet) this.#queuedQuiet.add(queuedMs)
  }

  /** What there is to be reported since the last call. */
  report (): Omit<NodeReported, 'type' | 'connections' | 'counted'> {
    const utilization = performance.eventLoopUtilization()
    const { utilization: eventLoopUtilization } = performance.eventLoopUtilization(utilization, this.#utilization)
    this.#utilization = utilization
    // The time between two looks is counted as well.
    const delayMs = (percentile: number) =>
      this.#delays.count === 0 ? 0 : rounded(Math.max(0, this.#delays.percentile(percentile) / 1e6 - delayEveryMs))
    const ackMs = (percentile: number) => this.#acks.count === 0 ? 0 : rounded(this.#acks.percentile(percentile) / 1e3)
    const report = {
      eventLoopUtilization,
      rssBytes: process.memoryUsage.rss(),
      memoryBytesMax: memoryBytesMax(),
      cpuCores: this.#cpuCores(),
      loopDelayP50Ms: delayMs(50),
      loopDelayP90Ms: delayMs(90),
      loopDelayP99Ms: delayMs(99),
      ackP50Ms: ackMs(50),
      ackP90Ms: ackMs(90),
      ackP99Ms: ackMs(99),
      waitMs: rounded(this.overload.takeWaitMs()),
      waitMsMax: this.waitMsMax,
      admissionLevel: this.overload.level,
    }
    this.#delays.reset()
    this.#acks.reset()
    return report
  }

  #waits (): ReturnType<Waits> {
    const [read, folded] = [this.reads.take(), this.folds.take()]
    const ownShare = 1 - this.#starvation.take()
    return {
      ms: ownShare * (read.ms + this.#queued.take() + folded.ms),
      quietMs: ownShare * (read.ms + this.#queuedQuiet.take() + folded.ms),
      heldMs: ownShare * this.work.takeWaitMs(),
      entries: folded.count,
    }
  }

  #cpuCores (): number {
    const nowMs = performance.now()
    const { user, system } = process.cpuUsage(this.#cpu)
    const cores = (user + system) / 1_000 / Math.max(1, nowMs - this.#cpuAtMs)
    this.#cpu = process.cpuUsage()
    this.#cpuAtMs = nowMs
    return Math.round(1_000 * cores) / 1_000
  }
}

class Mean {
  #sum = 0
  #count = 0

  add (value: number): void {
    this.#sum += value
    this.#count++
  }

  /** Of what was added since the last call; 0 for nothing. */
  take (): number {
    const mean = this.#count === 0 ? 0 : this.#sum / this.#count
    this.#sum = this.#count = 0
    return mean
  }
}

function rounded (ms: number): number { return Math.round(100 * ms) / 100 }
