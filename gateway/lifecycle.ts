import type { Following } from '../ledger/log.js'
import { nodeRows, type NodeRow } from '../projections/nodes.js'
import type { TablePosition } from '../projections/tables/tables.js'
import type { Health } from '../schemas/conditions.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger, nodes } from '../schemas/streams.js'
import { Leases } from './leases.js'
import type { NodeIdentity } from './node.js'
import { endConnections, isLiving, Orphans, type OrphansDeps, type Unknown, unknownForMs } from './orphans.js'

const sweepEveryMs = 500
const lateMsDefault = 30_000

export interface LifecycleDeps extends OrphansDeps {
  readonly identity: NodeIdentity
  readonly leaseMs: number
  readonly health: Health
  /** How long an append may be under way, ms; 30 s by default. */
  readonly lateMs?: number
}

/** What the log held of a partition of `nodes` at a time: once the table has it, it is whole as of that time. */
interface Asked { readonly end: bigint, readonly atMs: number }

/**
 * Watches the leases of all nodes: one whose report has not changed for its lease is declared lost, once, and the
 * connections of every ended node or epoch are closed in the ledger, so that presence, routing and user actors learn of
 * it alike (design.md 5). One process of the cluster does it, the owner of partition 0 of `nodes`; it keeps nothing, so
 * the next owner just begins.
 *
 * Silence of the whole way (the log or the tables are away, or being rebuilt) says nothing about nodes: see `Leases`.
 * And no sweep declares more than half of the nodes lost; the next one waits a lease.
 */
export class Lifecycle {
  readonly #deps: LifecycleDeps
  readonly #leases: Leases
  readonly #lateMs: number
  readonly #asked = new Map<number, Asked>()
  readonly #unknown: Unknown = new Map()
  #following: Following | undefined
  #timer: NodeJS.Timeout | undefined
  #sweeping: Promise<void> | undefined
  /** Node ids and epochs that can have connections, as of the last time that others' were closed. */
  #closedFor = ''
  /** When that is done once more, by this process's own clock. */
  #againAtMs = Infinity
  /** By ledger partition, of those that are yet to be judged for `key`: what the routing table must have before. */
  #wanted: { readonly key: string, readonly ends: Map<number, bigint> } | undefined

  static async start (deps: LifecycleDeps): Promise<Lifecycle> {
    const lifecycle = new Lifecycle(deps)
    lifecycle.#following = await deps.log.follow(nodes, 'lifecycle', {
      async assigned (partition) {
        if (partition === 0) lifecycle.#begin()
        return (await deps.log.bounds(nodes, partition)).next
      },
      received () {},
      async revoked (partition) {
        if (partition === 0) await lifecycle.#end()
      },
    })
    return lifecycle
  }

  private constructor (deps: LifecycleDeps) {
    this.#deps = deps
    const { log, identity: { nodeId }, leaseMs, lateMs = lateMsDefault } = deps
    this.#lateMs = lateMs
    const partitions = log.partitions(nodes)
    this.#leases = new Leases({ nodeId, leaseMs, partitionOf: nodeId => partitionOf(nodeId, partitions) })
  }

  async stop (): Promise<void> {
    await this.#following?.stop()
    await this.#end()
  }

  #begin (): void {
    this.#leases.begin(performance.now())
    this.#asked.clear()
    this.#unknown.clear()
    this.#closedFor = ''
    this.#againAtMs = Infinity
    this.#wanted = undefined
    this.#timer ??= setInterval(() => {
      this.#sweeping ??= this.#sweep()
        .then(() => { this.#deps.health.end('watch') })
        .catch((err: Error) => { this.#deps.health.begin('watch', err.message) })
        .finally(() => { this.#sweeping = undefined })
    }, sweepEveryMs)
  }

  async #end (): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#sweeping
    this.#deps.health.end('watch')
  }

  async #sweep (): Promise<void> {
    const { log } = this.#deps
    const view = await this.#view()
    const nowMs = performance.now()
    this.#leases.look(view, nowMs)
    const missed = [...this.#unknown].filter(([, sinceMs]) => nowMs - sinceMs > unknownForMs)
    const doubtful = new Set(this.#leases.doubtful(view, nowMs))
    for (const [nodeId] of missed) doubtful.add(partitionOf(nodeId, log.partitions(nodes)))
    if (doubtful.size > 0) await this.#prove([...doubtful])
    await this.#closeOrphans(view, missed.length > 0)
  }

  async #view (): Promise<NodeRow[]> {
    const rows = []
    for await (const row of this.#deps.tables.scan('nodes')) rows.push(row)
    return nodeRows(rows, Date.now())
  }

  /** Finds out whether the table is whole in these partitions, and judges by what it shows then. */
  async #prove (partitions: readonly number[]): Promise<void> {
    const { log, leaseMs } = this.#deps
    await Promise.all(partitions.map(partition => this.#ask(partition)))
    const before = await Promise.all(partitions.map(partition => this.#position(partition)))
    const view = await this.#view()
    const after = await Promise.all(partitions.map(partition => this.#position(partition)))
    const nowMs = performance.now()
    this.#leases.look(view, nowMs)
    const proven = new Set<number>()
    for (const [i, partition] of partitions.entries()) {
      const asked = this.#asked.get(partition)
      if (asked && isWhole(before[i]!, after[i]!, asked.end)) {
        this.#asked.delete(partition)
        this.#leases.proven(partition, asked.atMs)
        proven.add(partition)
      } else if (!asked || nowMs - asked.atMs > leaseMs / 2) {
        this.#leases.unproven(partition, nowMs)
      }
    }
    const lost = this.#leases.takeLost(view, proven, nowMs)
    await Promise.all(lost.map(({ nodeId, epoch }) =>
      log.append(nodes, partitionOf(nodeId, log.partitions(nodes)),
        [{ nodeId, epoch, atMs: Date.now(), fact: { type: 'NodeLost' } }], { reserved: true })))
  }

  /** Without an answer there is nothing to prove by: see `Leases.unproven`. */
  async #ask (partition: number): Promise<void> {
    if (this.#asked.has(partition)) return
    const atMs = performance.now()
    const bounds = await this.#deps.log.bounds(nodes, partition).catch(() => undefined)
    if (bounds) this.#asked.set(partition, { end: bounds.next, atMs })
  }

  #position (partition: number): Promise<TablePosition> {
    return this.#deps.tables.position('nodes', partition)
  }

  /**
   * Closes what the routing table shows open on nodes and epochs that are gone, whenever their set has changed and once
   * a node without a row has been missed for long enough.
   *
   * What a node appended before it was gone must be in the routing table, or its last connections would stay in it.
   * Each partition of it is judged once it is so far. An append that was under way when its node ended may be stored
   * later still, so all is done once more after the longest that one takes.
   */
  async #closeOrphans (view: readonly NodeRow[], missed: boolean): Promise<void> {
    const { log, tables } = this.#deps
    const key = JSON.stringify(view.map(({ nodeId, epoch, state }) => [nodeId, epoch, isLiving(state)]))
    const isDueAgain = performance.now() >= this.#againAtMs
    if (key === this.#closedFor && !missed && !isDueAgain) return
    if (this.#wanted?.key !== key) this.#wanted = { key, ends: await this.#ledgerEnds() }
    const { ends } = this.#wanted
    const ready = new Set<number>()
    await Promise.all([...ends].map(async ([partition, end]) => {
      if ((await tables.position('routing', partition)).next >= end) ready.add(partition)
    }))
    if (ready.size === 0) return // the next sweep looks again
    const provenTo = (nodeId: string) => this.#leases.provenTo(partitionOf(nodeId, log.partitions(nodes)))
    const orphans = new Orphans(view, this.#unknown, performance.now(), provenTo)
    await endConnections(this.#deps, [...ready], node => orphans.has(node), 'its node is gone')
    for (const partition of ready) ends.delete(partition)
    if (ends.size > 0) return
    orphans.forgetFound()
    if (key !== this.#closedFor) this.#againAtMs = performance.now() + this.#lateMs
    else if (isDueAgain) this.#againAtMs = Infinity
    this.#closedFor = key
    this.#wanted = undefined
  }

  async #ledgerEnds (): Promise<Map<number, bigint>> {
    const { log } = this.#deps
    const partitions = Array.from({ length: log.partitions(ledger) }, (_, partition) => partition)
    return new Map(await Promise.all(partitions.map(async partition =>
      [partition, (await log.bounds(ledger, partition)).next] as const)))
  }
}

/** Nothing was lost and put back between the two looks, and everything up to `end` is in it. */
function isWhole (before: TablePosition, after: TablePosition, end: bigint): boolean {
  return before.next >= end && after.next >= before.next && before.generation === after.generation
}
