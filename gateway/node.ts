import { performance } from 'node:perf_hooks'
import type { EventLog } from '../ledger/log.js'
import { nodeRow, type NodeRow } from '../projections/nodes.js'
import type { Tables } from '../projections/tables/tables.js'
import type { ConditionName, Health } from '../schemas/conditions.js'
import { partitionOf } from '../schemas/partitioning.js'
import { type NodeFact, type NodeReported, type NodeStarted, reportsPerLease } from '../schemas/node-facts.js'
import { nodes } from '../schemas/streams.js'

/** The start is told again long before retention takes it from the stream: without it a rebuild has no address. */
const repeatStartEveryMs = 3_600_000

const lookEveryMs = 1_000

/** This process as others know it. The epoch is new at every start, and when others took the node for lost. */
export interface NodeIdentity {
  readonly nodeId: string
  /** Increasing; ms since 1970 of the start. */
  epoch: number
  /** Time of the last fact that this process has told of itself for the table. */
  toldAtMs?: number
}

export interface NodeDeps {
  readonly log: EventLog
  readonly tables: Tables
  readonly started: Omit<NodeStarted, 'type'>
  /** Of the time since the last call. */
  load (): Promise<Omit<NodeReported, 'type'>>
  /** Others have taken this node for lost, and closed its connections in the ledger: its sockets must follow. */
  lost (): void
  /** A younger process goes by this node's id: this one must end. */
  replaced (): void
  /** What an operator last asked of this epoch of the node; told again and again. */
  drainRequested (request: NonNullable<NodeRow['drainRequest']>): void
  readonly health: Health
}

/**
 * @returns an epoch above every one that the table knows of this node, and that the stream has behind the table: the
 *   process before may have ended when its start was in the stream alone
 */
export async function identify (nodeId: string, log: EventLog, tables: Tables): Promise<NodeIdentity> {
  const partition = partitionOf(nodeId, log.partitions(nodes))
  const { next: from } = await tables.position('nodes', partition) // first, or what the table takes meanwhile is missed
  let known = nodeRow(nodeId, await tables.get('nodes', partition, nodeId), 0)?.epoch ?? 0
  for await (const { items } of log.read(nodes, partition, { from, key: nodeId })) {
    for (const { nodeId: of, epoch } of items) if (of === nodeId) known = Math.max(known, epoch)
  }
  return { nodeId, epoch: Math.max(Date.now(), known + 1) }
}

/** Adds a fact about a node to the `nodes` stream, whatever its clients have waiting there. */
export async function tellOfNode (
  log: EventLog, { nodeId, epoch }: NodeIdentity, fact: NodeFact, atMs = Date.now()
): Promise<void> {
  const partition = partitionOf(nodeId, log.partitions(nodes))
  await log.append(nodes, partition, [{ nodeId, epoch, atMs, fact }], { reserved: true })
}

/**
 * Adds a fact about this process for the table of nodes, which goes by time: where the time of day is set back, each is
 * still later than the one before it.
 */
export async function tellOfSelf (log: EventLog, identity: NodeIdentity, fact: NodeFact): Promise<void> {
  identity.toldAtMs = Math.max(Date.now(), (identity.toldAtMs ?? 0) + 1)
  await tellOfNode(log, identity, fact, identity.toldAtMs)
}

/**
 * Announces this node on the `nodes` stream and renews its lease with a load report every third of it. Where the table
 * says that the node was lost, as after a long pause of the process, it begins a new epoch.
 */
export class NodeReporter {
  readonly #identity: NodeIdentity
  readonly #deps: NodeDeps
  readonly #partition: number
  readonly #timers: NodeJS.Timeout[]
  #looking = false
  /** This epoch's start is in the log. */
  #startTold = false
  /** When the start was told last, by a clock that nobody sets. */
  #startedMs = -Infinity

  static async start (identity: NodeIdentity, deps: NodeDeps): Promise<NodeReporter> {
    const reporter = new NodeReporter(identity, deps)
    try {
      await reporter.#start()
      return reporter
    } catch (err) {
      reporter.#clear()
      throw err
    }
  }

  private constructor (identity: NodeIdentity, deps: NodeDeps) {
    this.#identity = identity
    this.#deps = deps
    this.#partition = partitionOf(identity.nodeId, deps.log.partitions(nodes))
    const attempt = (name: ConditionName, what: string, work: () => Promise<void>) => () => {
      work().then(() => { deps.health.end(name, what) }, (err: Error) => { deps.health.begin(name, err.message, what) })
    }
    this.#timers = [
      setInterval(attempt('reports', 'load', () => this.#report()),
        Math.ceil(deps.started.leaseMs / reportsPerLease)),
      setInterval(attempt('reports', 'start', () => this.#start()), repeatStartEveryMs),
      setInterval(attempt('node-table', 'own row', () => this.#look()), lookEveryMs),
    ]
  }

  /** Tells the others that this node is gone for good. */
  async stop (): Promise<void> {
    this.#clear()
    await tellOfSelf(this.#deps.log, this.#identity, { type: 'NodeStopped' })
  }

  async #start (): Promise<void> {
    this.#startedMs = performance.now()
    await tellOfSelf(this.#deps.log, this.#identity, { type: 'NodeStarted', ...this.#deps.started })
    this.#startTold = true
  }

  async #report (): Promise<void> {
    if (!this.#startTold) await this.#start()
    await tellOfSelf(this.#deps.log, this.#identity, { type: 'NodeReported', ...await this.#deps.load() })
  }

  /**
   * The table does not know this node: it has lost the start, and so may the stream have, where its retention is short.
   * Not at once, for the table may be about to take it.
   */
  async #startAgain (): Promise<void> {
    if (performance.now() - this.#startedMs >= this.#deps.started.leaseMs) await this.#start()
  }

  /** What others say of this node. */
  async #look (): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const { nodeId, epoch } = this.#identity
      const row = nodeRow(nodeId, await this.#deps.tables.get('nodes', this.#partition, nodeId), Date.now())
      if (!row || row.epoch < epoch) return await this.#startAgain()
      if (row.epoch > epoch) this.#deps.replaced()
      else if (row.state === 'lost') {
        this.#identity.epoch = Math.max(Date.now(), epoch + 1)
        this.#startTold = false
        this.#deps.lost()
        await this.#start()
      } else if (row.drainRequest) this.#deps.drainRequested(row.drainRequest)
    } finally {
      this.#looking = false
    }
  }

  #clear (): void {
    for (const timer of this.#timers) clearInterval(timer)
  }
}
