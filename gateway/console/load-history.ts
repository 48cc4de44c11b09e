import type { NodeRow } from '../../projections/nodes.js'

export const sampleEveryMs = 5_000

/** An hour. */
export const samplesMax = 720

/** More nodes than these are not shown: each takes 52 KB. */
export const nodesMax = 128

/** What is kept of the reports of each node. */
export const reportFields = [
  'connections', 'cpuCores', 'eventLoopUtilization', 'rssBytes', 'loopDelayP99Ms', 'ackP50Ms', 'ackP99Ms', 'waitMs',
  'admissionLevel',
] as const
type ReportField = typeof reportFields[number]

/** What this node has counted since it started. */
export interface NodeCounts {
  readonly uplinks: number
  readonly downlinks: number
  readonly signals: number
  readonly posts: number
  /** Times that a client was told that an uplink was refused, by code. */
  readonly refused: ReadonlyMap<string, number>
  /** Connections that ended, by code. */
  readonly ended: ReadonlyMap<string, number>
}

const countFields = ['uplinks', 'downlinks', 'signals', 'posts'] as const
type CountField = typeof countFields[number]

/** One number for each sample; null where there is none. */
export type Values = Array<number | null>

/** What a node counts, a second. */
export interface Rates extends Record<CountField, Values> {
  readonly nodeId: string
  readonly refused: Readonly<Record<string, Values>>
  readonly ended: Readonly<Record<string, Values>>
}

export interface LoadAnswer {
  readonly everyMs: number
  /** When the samples were taken, oldest first. */
  readonly atMs: number[]
  readonly nodes: Array<{ readonly nodeId: string } & Record<ReportField, Values>>
  /** Of the node that was asked. */
  readonly rates: Rates
}

/** A ring of samples of one number. */
class Column {
  readonly #values = new Float64Array(samplesMax).fill(NaN)
  #last = -1

  /** @param at number of the sample; of those between it and the last one nothing is known */
  set (at: number, value: number): void {
    for (let gap = Math.max(this.#last + 1, at - samplesMax + 1); gap < at; gap++) this.#values[gap % samplesMax] = NaN
    this.#values[at % samplesMax] = value
    this.#last = at
  }

  get (at: number): number { return at > this.#last ? NaN : this.#values[at % samplesMax]! }

  get last (): number { return this.#last }
}

/** The load of the last hour: of all nodes what they report, and of this one what it counts. */
export class LoadHistory {
  #next = 0
  readonly #atMs = new Column()
  readonly #nodes = new Map<string, Record<ReportField, Column>>()
  readonly #counts = new Map<string, Column>()

  constructor (readonly nodeId: string) {}

  sample (nowMs: number, rows: readonly NodeRow[], counts: NodeCounts): void {
    const at = this.#next++
    this.#atMs.set(at, nowMs)
    for (const { nodeId, alive, reported } of rows) {
      if (!alive) continue
      const columns = this.#columnsOf(nodeId)
      if (columns) for (const field of reportFields) columns[field].set(at, reported[field])
    }
    for (const field of countFields) this.#count(field, at, counts[field])
    for (const [code, count] of counts.refused) this.#count(`refused ${code}`, at, count)
    for (const [code, count] of counts.ended) this.#count(`ended ${code}`, at, count)
    for (const [nodeId, { connections }] of this.#nodes) {
      if (connections.last <= at - samplesMax) this.#nodes.delete(nodeId)
    }
  }

  /** @param sinceMs samples taken later than this alone */
  since (sinceMs: number): LoadAnswer {
    const samples: number[] = []
    for (let at = Math.max(0, this.#next - samplesMax); at < this.#next; at++) {
      if (this.#atMs.get(at) > sinceMs) samples.push(at)
    }
    const values = (column: Column): Values => samples.map(at => known(column.get(at)))
    const rates = (name: string): Values => samples.map(at => known(this.#rate(this.#counts.get(name), at)))
    const byCode = (kind: string) => {
      const names = [...this.#counts.keys()].filter(name => name.startsWith(`${kind} `)).sort()
      return Object.fromEntries(names.map(name => [name.slice(kind.length + 1), rates(name)]))
    }
    const nodes = [...this.#nodes].sort(([a], [b]) => a < b ? -1 : 1)
    return {
      everyMs: sampleEveryMs,
      atMs: samples.map(at => this.#atMs.get(at)),
      nodes: nodes.map(([nodeId, columns]) => ({ nodeId, ...mapped(reportFields, field => values(columns[field])) })),
      rates: {
        nodeId: this.nodeId, ...mapped(countFields, rates), refused: byCode('refused'), ended: byCode('ended'),
      },
    }
  }

  #columnsOf (nodeId: string): Record<ReportField, Column> | undefined {
    const known = this.#nodes.get(nodeId)
    if (known || this.#nodes.size >= nodesMax) return known
    const columns = mapped(reportFields, () => new Column())
    this.#nodes.set(nodeId, columns)
    return columns
  }

  #count (name: string, at: number, count: number): void {
    let column = this.#counts.get(name)
    if (!column) {
      this.#counts.set(name, column = new Column())
      if (at > 0) column.set(at - 1, 0) // it was not counted before
    }
    column.set(at, count)
  }

  /** A second, since the sample before. */
  #rate (column: Column | undefined, at: number): number {
    if (!column || at === 0 || at <= this.#next - samplesMax) return NaN
    const seconds = (this.#atMs.get(at) - this.#atMs.get(at - 1)) / 1_000
    return Math.max(0, column.get(at) - column.get(at - 1)) / Math.max(0.001, seconds)
  }
}

function known (value: number): number | null { return Number.isNaN(value) ? null : Math.round(1_000 * value) / 1_000 }

function mapped<K extends string, V> (keys: readonly K[], valueOf: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map(key => [key, valueOf(key)])) as Record<K, V>
}
