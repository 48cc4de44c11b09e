import type { NodeRow } from '../../projections/nodes.js'

/** By `what`, or `what code`: `uplinks`, `ended slow-consumer`. */
export type Counts = ReadonlyMap<string, number>

/** What a node has counted between its last two reports that were looked at. */
export interface Reported {
  /** A second. As long as no newer report comes it goes on. */
  readonly rates: Counts
  /** None where no newer report has come. */
  readonly counts: Counts
}

interface Known {
  readonly reportedAtMs: number
  readonly totals: Counts
  readonly rates: Counts
}

const none: Counts = new Map()

/** Tells what is new in reports, which count from the start of their nodes. A count that went back began anew. */
export class ReportRates {
  readonly #nodes = new Map<string, Known>()

  /** Nothing is new in the first report of a node that is looked at. */
  take ({ nodeId, reportedAtMs, reported }: NodeRow): Reported {
    const known = this.#nodes.get(nodeId)
    if (known?.reportedAtMs === reportedAtMs) return { rates: known.rates, counts: none }
    const named = reported.counted.map(({ what, code, count }) => [code === '' ? what : `${what} ${code}`, count] as const)
    const totals = new Map(named)
    const counts = known ? since(known.totals, totals) : none
    const seconds = known ? Math.max(0.001, (reportedAtMs - known.reportedAtMs) / 1_000) : 1
    const rates = new Map([...counts].map(([name, count]) => [name, count / seconds]))
    this.#nodes.set(nodeId, { reportedAtMs, totals, rates })
    return { rates, counts }
  }

  forget (nodeId: string): void { this.#nodes.delete(nodeId) }
}

function since (before: Counts, now: Counts): Counts {
  return new Map([...now].map(([name, count]) => {
    const last = before.get(name) ?? 0
    return [name, count < last ? count : count - last]
  }))
}
