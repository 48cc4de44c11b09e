import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { Snapshots } from '../actors/snapshots.js'
import type { EventLog } from '../ledger/log.js'
import { nodeRow } from '../projections/nodes.js'
import type { Tables } from '../projections/tables/tables.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { NodeDrainReported } from '../schemas/node-facts.js'
import { nodes } from '../schemas/streams.js'
import { DrainReport } from './drain-report.js'
import type { EdgeDrain } from './edge/drain.js'
import { type NodeIdentity, tellOfSelf } from './node.js'
import { freshMs, type NodeTable } from './node-table.js'

const tickEveryMs = 100
const reportEveryMs = 1_000

/** How long the node table may take to say that this node drains, and how much of the whole time at most. */
const announceMsMax = 5_000
const announceShare = 0.25

/** What is not settled by then is reported as it is: longer than one departure takes, where the states are in time. */
const settleMsMax = { node: 7_000, operator: 30_000 }

/** A fact of so many moves is far below what a record may have. */
const movesPerFact = 200

export interface DrainDeps {
  readonly log: EventLog
  readonly tables: Tables
  readonly snapshots: Snapshots
  readonly nodeTable: NodeTable
  readonly identity: NodeIdentity
  readonly edge: DrainingEdge
  readonly counters: DrainCounters
  readonly logger: Logger
}

/** What a drain asks of the role `edge`. */
export interface DrainingEdge {
  readonly connections: number
  /** Its clients could go to another edge that has room: one that they can be named, or one behind the same URL. */
  hasElsewhere (): boolean
  /** How many of a hundred connections have to leave; with 100 newcomers are sent away. */
  draining: number
  drain (percent: number, withinMs: number): EdgeDrain
}

/** For metrics, of the drain that runs or ran last. */
export interface DrainCounters {
  percent: number
  remaining: number
  asked: number
  left: number
  closed: number
  resumed: number
  uplinksLost: number
  downlinksLost: number
}

interface Plan { readonly drainId: string, readonly percent: number, readonly withinMs: number }
interface Request extends Plan { readonly atMs: number }

/** Has this node's connections leave, all of them or a share: as an operator asks, or because the node stops. */
export class Drains {
  readonly #deps: DrainDeps
  readonly #stopped = new AbortController()
  #running: { readonly done: Promise<void>, readonly cancel: AbortController } | undefined
  /** The operator's request that was taken last. */
  #takenId = ''
  /** When that was asked, by the clock of whoever asked. */
  #takenAtMs = 0

  constructor (deps: DrainDeps) {
    this.#deps = deps
  }

  /** What an operator asked last. Asked again and again, it does a thing once. */
  requested ({ drainId, percent, withinMs, atMs }: Request): void {
    if (drainId === this.#takenId || this.#stopped.signal.aborted) return
    this.#takenId = drainId
    this.#takenAtMs = atMs
    const before = this.#running
    before?.cancel.abort()
    const cancel = new AbortController()
    const done = (before?.done ?? Promise.resolve())
      .then(() => percent > 0 ? this.#run({ drainId, percent, withinMs }, cancel.signal) : this.#announce(0, 0))
      .catch(err => { this.#deps.logger.error({ err, drainId }, 'the drain failed') })
    this.#running = { done, cancel }
  }

  /** The node has begun a new epoch, of which nobody knows yet that it drains. */
  async startAnew (): Promise<void> {
    const { percent } = this.#deps.counters
    if (percent > 0) await this.#announce(percent, 0)
  }

  /** The node stops: has everybody leave, unless there is nobody or nowhere to go. */
  async leave (withinMs: number): Promise<void> {
    const { edge, nodeTable, log } = this.#deps
    this.#stopped.abort()
    this.#running?.cancel.abort()
    await this.#running?.done
    // While the log is away nobody could be told, and no client be taken in by another node.
    if (withinMs === 0 || edge.connections === 0 || !log.health().ok) return
    await nodeTable.rows()
    if (!edge.hasElsewhere()) return
    await this.#run({ drainId: randomUUID(), percent: 100, withinMs }, undefined)
  }

  /** @param cancelled undefined where the node stops: then nothing but the end of it is waited for */
  async #run (plan: Plan, cancelled: AbortSignal | undefined): Promise<void> {
    const { nodeTable, edge, logger, identity } = this.#deps
    // Later than what was asked before it, whoever's clock that had: by this a reader knows which is the newer one.
    const startedAtMs = Math.max(Date.now(), this.#takenAtMs + 1)
    const startedMs = performance.now()
    const endMs = startedMs + plan.withinMs
    logger.info({ nodeId: identity.nodeId, ...plan }, 'draining')
    const report = new DrainReport(this.#deps)
    await this.#announce(plan.percent, plan.withinMs)
    await this.#report(plan, startedAtMs, report, undefined, false)
    await this.#announced(Math.min(announceMsMax, plan.withinMs * announceShare))
    const moving = edge.drain(plan.percent, Math.max(0, endMs - performance.now()))
    let reportedMs = performance.now()
    while (!moving.isOver && performance.now() < endMs && !cancelled?.aborted) {
      await nodeTable.rows()
      if (edge.hasElsewhere()) moving.ask(performance.now())
      else if (!cancelled) break // the others stop as well: there is nothing to wait for
      await sleep(tickEveryMs)
      report.add(moving.takeDeparted())
      report.look()
      if (performance.now() - reportedMs < reportEveryMs) continue
      reportedMs = performance.now()
      await this.#report(plan, startedAtMs, report, moving, false)
    }
    // An operator's drain ends nobody who has nowhere to go.
    if (!cancelled || (!cancelled.aborted && edge.hasElsewhere())) await moving.end()
    await sleep(tickEveryMs)
    report.add(moving.takeDeparted())
    moving.stop()
    const settleEndMs = performance.now() + (cancelled ? settleMsMax.operator : settleMsMax.node)
    // Where all stop, nobody is seen again.
    while (!report.isSettled && performance.now() < settleEndMs && !cancelled?.aborted && edge.hasElsewhere()) {
      report.look()
      await sleep(tickEveryMs)
    }
    await report.end()
    const goesOn = plan.percent < 100 || cancelled?.aborted
    if (goesOn && !this.#stopped.signal.aborted) await this.#announce(0, 0)
    await this.#report(plan, startedAtMs, report, moving, true)
    const { left, closed, resumed, uplinksLost, downlinksLost } = report
    const tookMs = Math.round(performance.now() - startedMs)
    logger.info({
      nodeId: identity.nodeId, ...plan, total: moving.total, left, closed, resumed, uplinksLost, downlinksLost, tookMs,
    }, 'drained')
  }

  async #announce (percent: number, withinMs: number): Promise<void> {
    const { log, identity, edge, counters } = this.#deps
    edge.draining = percent
    counters.percent = percent
    await tellOfSelf(log, identity, { type: 'NodeDraining', percent, withinMs })
  }

  /** Waits until the table says that this node drains, and until every ip-config has read it since. */
  async #announced (withinMs: number): Promise<void> {
    const { log, tables, identity: { nodeId } } = this.#deps
    const partition = partitionOf(nodeId, log.partitions(nodes))
    for (const endMs = performance.now() + withinMs; performance.now() < endMs; await sleep(tickEveryMs)) {
      const fields = await tables.get('nodes', partition, nodeId).catch(() => new Map())
      if (nodeRow(nodeId, fields, 0)?.state === 'draining') {
        await sleep(Math.min(freshMs + tickEveryMs, endMs - performance.now()))
        return
      }
    }
  }

  /** Tells the `nodes` stream how far the drain is. A report that can't be stored is not worth stopping for. */
  async #report (
    { drainId, percent, withinMs }: Plan, startedAtMs: number, report: DrainReport, moving: EdgeDrain | undefined,
    done: boolean
  ): Promise<void> {
    const { log, identity, counters, logger } = this.#deps
    const { left, closed, resumed, uplinksLost, downlinksLost, members, membersResumed } = report
    const { total = 0, asked = 0 } = moving ?? {}
    const remaining = done ? 0 : Math.max(0, total - left)
    Object.assign(counters, { remaining, asked, left, closed, resumed, uplinksLost, downlinksLost })
    let moves = report.take(movesPerFact)
    try {
      do {
        const next = report.take(movesPerFact)
        const fact: NodeDrainReported = {
          type: 'NodeDrainReported',
          drainId,
          startedAtMs,
          percent,
          withinMs,
          done: done && next.length === 0,
          total,
          asked,
          left,
          closed,
          resumed,
          uplinksLost,
          downlinksLost,
          members,
          membersResumed,
          moves,
        }
        await tellOfSelf(log, identity, fact)
        moves = next
      } while (moves.length > 0)
    } catch (err) {
      logger.error({ err, drainId }, 'the drain could not be reported')
    }
  }
}

async function sleep (ms: number): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, Math.max(0, ms)))
}
