import type { NodeRow } from '../projections/nodes.js'

/** What the watcher has seen of a node, by its own clock: others' clocks may differ, and may be set. */
interface Seen { readonly epoch: number, readonly reportedAtMs: number, readonly atMs: number }

export interface LeasesOptions {
  /** This process: its own reports coming back show that the way of all reports is open. */
  readonly nodeId: string
  readonly leaseMs: number
  /** Where in the stream `nodes` a node's facts stand. */
  partitionOf (nodeId: string): number
}

/**
 * Whose lease has run out. No I/O and no clock: times are ms by the watcher's own one.
 *
 * A row that stands still is no proof of silence. The table may stand still itself: it was emptied and is read again
 * from the log, it is an old copy, or the process that keeps a part of it sleeps. So silence counts only up to the
 * time at which its part of the table was shown to hold all that the log held (`proven`). Where that could not be
 * shown for a while (`unproven`), every node of the part gets a whole lease to be heard again.
 */
export class Leases {
  readonly #options: LeasesOptions
  readonly #seen = new Map<string, Seen>()
  /** By partition: up to when the table is known to hold everything. */
  readonly #provenTo = new Map<number, number>()
  /** By partition: from when on silence counts. */
  readonly #openSince = new Map<number, number>()
  /** The same for all of them. */
  #allOpenSince = -Infinity
  #declaredAtMs = -Infinity

  constructor (options: LeasesOptions) {
    this.#options = options
  }

  /** This process watches from now on: what it sees first is as old as it likes, and everybody gets a lease. */
  begin (nowMs: number): void {
    this.#seen.clear()
    this.#provenTo.clear()
    this.#openSince.clear()
    this.#allOpenSince = nowMs
    this.#declaredAtMs = -Infinity
  }

  look (view: readonly NodeRow[], nowMs: number): void {
    const { nodeId: own, leaseMs } = this.#options
    for (const { nodeId, epoch, reportedAtMs } of view) {
      const seen = this.#seen.get(nodeId)
      if (seen?.epoch === epoch && seen.reportedAtMs === reportedAtMs) continue
      this.#seen.set(nodeId, { epoch, reportedAtMs, atMs: nowMs })
    }
    const heard = this.#seen.get(own)
    // After a gap the others get a lease more: their reports were refused, and the next ones wait for their turn.
    if (!heard || nowMs - heard.atMs > leaseMs / 2) this.#allOpenSince = nowMs + leaseMs
  }

  /** Partitions in which a node has been silent for half of its lease: whether they are whole must be known soon. */
  doubtful (view: readonly NodeRow[], nowMs: number): number[] {
    const { partitionOf } = this.#options
    const silent = this.#living(view).filter(row => nowMs - this.#heardAtMs(row) > row.leaseMs / 2)
    return [...new Set(silent.map(({ nodeId }) => partitionOf(nodeId)))]
  }

  /** The table held all that the log held of this partition at `asOfMs`, and the view shows it. */
  proven (partition: number, asOfMs: number): void {
    this.#provenTo.set(partition, asOfMs)
  }

  /** @see proven */
  unproven (partition: number, nowMs: number): void {
    this.#openSince.set(partition, nowMs + this.#options.leaseMs)
  }

  /** When the partition was last shown to be whole; -Infinity for never. */
  provenTo (partition: number): number {
    return this.#provenTo.get(partition) ?? -Infinity
  }

  /**
   * Nodes to be declared lost now: no more than half of those that live, and the next ones a lease later.
   *
   * @param proven partitions that were proven by this very view: an older one misses whom we declared
   */
  takeLost (view: readonly NodeRow[], proven: ReadonlySet<number>, nowMs: number): NodeRow[] {
    const { nodeId: own, leaseMs, partitionOf } = this.#options
    const living = this.#living(view)
    const silent = living.filter(row => row.nodeId !== own && proven.has(partitionOf(row.nodeId)) &&
      this.provenTo(partitionOf(row.nodeId)) - this.#heardAtMs(row) > row.leaseMs)
    if (silent.length === 0 || nowMs - this.#declaredAtMs < leaseMs) return []
    const lost = silent.slice(0, Math.max(1, Math.floor(living.length / 2)))
    this.#declaredAtMs = silent.length > lost.length ? nowMs : -Infinity
    return lost
  }

  #living (view: readonly NodeRow[]): NodeRow[] {
    return view.filter(({ nodeId, state }) => (state === 'up' || state === 'draining') && this.#seen.has(nodeId))
  }

  /** When the node was last heard, or when its silence began to count. */
  #heardAtMs ({ nodeId }: NodeRow): number {
    const openSince = this.#openSince.get(this.#options.partitionOf(nodeId)) ?? -Infinity
    return Math.max(this.#seen.get(nodeId)!.atMs, this.#allOpenSince, openSince)
  }
}
