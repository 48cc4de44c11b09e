import type { NodeRow } from '../projections/nodes.js'

/** The time of day, ms since 1970, and the same moment by a clock that nobody sets. */
export interface Moment { readonly nowMs: number, readonly steadyMs: number }

/** A report, by how its node dates it, and when it was first seen here. */
interface Heard { readonly epoch: number, readonly reportedAtMs: number, readonly steadyMs: number }

/**
 * How long nodes have been silent, by the clock of this process alone. A node dates its reports by its own clock, which
 * may be off by minutes or be set: so a lease counts from when a report is first seen here. What the first look finds
 * may be as old as it likes, and counts as heard then: whoever is silent is gone a lease later.
 */
export class NodeSilence {
  #heard = new Map<string, Heard>()

  /**
   * @returns the rows with their leases by the clock of this process, and up to when they can tell who is alive. Where
   *   nobody was heard for half of a lease, not even this node, the log is away: then silence says nothing of anybody,
   *   and the rows are as old as the last report.
   */
  judge (rows: readonly NodeRow[], { nowMs, steadyMs }: Moment): { rows: NodeRow[], asOfMs: number } {
    const before = this.#heard
    this.#heard = new Map(rows.map(row => [row.nodeId, heardOf(row, before.get(row.nodeId), steadyMs)]))
    const quietMs = this.#quietMs(rows, steadyMs)
    const judged = rows.map((row): NodeRow => {
      if (hasEnded(row)) return row
      const leftMs = row.leaseMs - (this.#silentMs(row, steadyMs) - quietMs)
      return { ...row, aliveUntilMs: nowMs - quietMs + leftMs, alive: leftMs > 0 }
    })
    return { rows: judged, asOfMs: nowMs - quietMs }
  }

  /** For how long nobody at all was heard; 0 where that is too short to mean anything. */
  #quietMs (rows: readonly NodeRow[], steadyMs: number): number {
    let quietMs = Infinity
    let leaseMs = 0
    for (const row of rows) {
      if (hasEnded(row) || this.#silentMs(row, steadyMs) >= quietMs) continue
      quietMs = this.#silentMs(row, steadyMs)
      leaseMs = row.leaseMs
    }
    return quietMs < Infinity && quietMs > leaseMs / 2 ? quietMs : 0
  }

  #silentMs ({ nodeId }: NodeRow, steadyMs: number): number { return steadyMs - this.#heard.get(nodeId)!.steadyMs }
}

function heardOf ({ epoch, reportedAtMs }: NodeRow, known: Heard | undefined, steadyMs: number): Heard {
  if (known?.epoch === epoch && known.reportedAtMs === reportedAtMs) return known
  return { epoch, reportedAtMs, steadyMs }
}

function hasEnded ({ state }: NodeRow): boolean { return state === 'lost' || state === 'stopped' }
