import type { NodeRow } from '../../projections/nodes.js'

/** What a node counts a second, by `what` and `what code` (`uplinks`, `ended slow-consumer`). */
export type NodeRates = ReadonlyMap<string, number>

interface Known {
  reportedAtMs: number
  counts: ReadonlyMap<string, number>
  rates: NodeRates
}

const none: NodeRates = new Map()

/**
 * Makes rates of what nodes have counted since they started: between one report and the next one, whenever it is looked.
 * A count that went back is of a process that has started again.
 */
export class ReportRates {
  readonly #nodes = new Map<string, Known>()

  /** @returns those of the node's last report; none before its second one */
  take ({ nodeId, reportedAtMs, reported }: NodeRow): NodeRates {
    const known = this.#nodes.get(nodeId)
    if (known?.reportedAtMs === reportedAtMs) return known.rates
    const counts = new Map(reported.counted.map(({ what, code, count }) => [code === '' ? what : `${what} ${code}`, count]))
    const rates = known ? ratesBetween(known, counts, reportedAtMs) : none
    this.#nodes.set(nodeId, { reportedAtMs, counts, rates })
    return rates
  }

  forget (nodeId: string): void { this.#nodes.delete(nodeId) }
}

function ratesBetween ({ reportedAtMs: beforeMs, counts: before }: Known, counts: Known['counts'], atMs: number): NodeRates {
  const seconds = Math.max(0.001, (atMs - beforeMs) / 1_000)
  return new Map([...counts].map(([name, count]) => {
    const last = before.get(name) ?? 0
    return [name, (count < last ? count : count - last) / seconds]
  }))
}
