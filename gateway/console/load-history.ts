import type { NodeRow } from '../../projections/nodes.js'
import { type Counts, ReportRates } from './report-rates.js'

export const sampleEveryMs = 5_000

/** An hour. */
export const samplesMax = 720

/** More nodes than these are not shown: each takes 87 KB. */
export const nodesMax = 128

/** More codes than these are not shown: each takes 6 KB. */
export const codesMax = 200

/** More followers of streams than these are not shown: each takes 6 KB. */
export const followersMax = 64

/** What is kept of the reports of each node, as it stands there. */
const reportFields = [
  'connections', 'cpuCores', 'eventLoopUtilization', 'rssBytes', 'loopDelayP99Ms', 'ackP50Ms', 'ackP99Ms', 'waitMs',
  'admissionLevel',
] as const

/** And what each has counted, a second: `refusals` and `ends` of all codes. */
const rateFields = ['uplinks', 'downlinks', 'signals', 'posts', 'refusals', 'ends'] as const

export const nodeFields = [...reportFields, ...rateFields] as const
export type NodeField = typeof nodeFields[number]

/** What is counted by code. */
export const codeKinds = ['refused', 'ended', 'settled'] as const
export type CodeKind = typeof codeKinds[number]

/** One number for each sample; null where there is none. */
export type Values = Array<number | null>

export type NodeValues = { readonly nodeId: string } & Record<NodeField, Values>

export interface LoadAnswer extends Record<CodeKind, Readonly<Record<string, Values>>> {
  readonly everyMs: number
  /** When the samples were taken, oldest first. */
  readonly atMs: number[]
  readonly nodes: NodeValues[]
  /** By follower of a stream: how old the oldest entry was that it had not done, ms. */
  readonly lag: Readonly<Record<string, Values>>
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

/** The load of the last hour, made of the reports of all nodes. */
export class LoadHistory {
  #next = 0
  #lastMs = 0
  readonly #atMs = new Column()
  readonly #nodes = new Map<string, Record<NodeField, Column>>()
  /** Of all nodes together, by `kind code`. */
  readonly #codes = new Map<string, Column>()
  readonly #followers = new Map<string, Column>()
  readonly #rates = new ReportRates()

  /** @param lags by follower, ms; one that is left out is not known */
  sample (nowMs: number, rows: readonly NodeRow[], lags: ReadonlyMap<string, number> = new Map()): void {
    const seconds = Math.max(0.001, (nowMs - this.#lastMs) / 1_000)
    this.#lastMs = nowMs
    const at = this.#next++
    this.#atMs.set(at, nowMs)
    const byCode = new Map<string, number>([...this.#codes.keys()].map(name => [name, 0]))
    for (const row of rows) {
      if (!row.alive) continue
      const columns = this.#columnsOf(row.nodeId)
      if (!columns) continue
      for (const field of reportFields) columns[field].set(at, row.reported[field])
      const { rates, counts } = this.#rates.take(row)
      for (const field of rateFields) columns[field].set(at, rateOf(rates, field))
      for (const [name, count] of counts) if (isByCode(name)) byCode.set(name, (byCode.get(name) ?? 0) + count)
    }
    // Each is counted once, so that their sum is how many there were.
    for (const [name, count] of byCode) columnOf(this.#codes, name, codesMax)?.set(at, count / seconds)
    for (const [name, ms] of lags) columnOf(this.#followers, name, followersMax)?.set(at, ms)
    this.#forgetBefore(at - samplesMax)
  }

  /** @param sinceMs samples taken later than this alone */
  since (sinceMs: number): LoadAnswer {
    const samples: number[] = []
    for (let at = Math.max(0, this.#next - samplesMax); at < this.#next; at++) {
      if (this.#atMs.get(at) > sinceMs) samples.push(at)
    }
    const values = (column: Column): Values => samples.map(at => known(column.get(at)))
    const byCode = (kind: CodeKind) => {
      const names = [...this.#codes.keys()].filter(name => name.startsWith(`${kind} `)).sort()
      return Object.fromEntries(names.map(name => [name.slice(kind.length + 1), values(this.#codes.get(name)!)]))
    }
    const nodes = [...this.#nodes].sort(([a], [b]) => a < b ? -1 : 1)
    return {
      everyMs: sampleEveryMs,
      atMs: samples.map(at => this.#atMs.get(at)),
      nodes: nodes.map(([nodeId, columns]) => ({ nodeId, ...mapped(nodeFields, field => values(columns[field])) })),
      lag: Object.fromEntries([...this.#followers].sort(([a], [b]) => a < b ? -1 : 1)
        .map(([name, column]) => [name, values(column)])),
      ...mapped(codeKinds, byCode),
    }
  }

  /** Nodes and followers that no sample is of after that one make room for others. */
  #forgetBefore (at: number): void {
    for (const [nodeId, { connections }] of this.#nodes) {
      if (connections.last > at) continue
      this.#nodes.delete(nodeId)
      this.#rates.forget(nodeId)
    }
    for (const [name, { last }] of this.#followers) {
      if (last <= at) this.#followers.delete(name)
    }
  }

  #columnsOf (nodeId: string): Record<NodeField, Column> | undefined {
    const known = this.#nodes.get(nodeId)
    if (known || this.#nodes.size >= nodesMax) return known
    const columns = mapped(nodeFields, () => new Column())
    this.#nodes.set(nodeId, columns)
    return columns
  }
}

/** @returns undefined where there are as many as there may be */
function columnOf (columns: Map<string, Column>, name: string, max: number): Column | undefined {
  const known = columns.get(name)
  if (known || columns.size >= max) return known
  const column = new Column()
  columns.set(name, column)
  return column
}

const kindOfSum: Readonly<Record<string, CodeKind>> = { refusals: 'refused', ends: 'ended' }

function rateOf (rates: Counts, field: typeof rateFields[number]): number {
  const kind = kindOfSum[field]
  if (kind === undefined) return rates.get(field) ?? 0
  return [...rates].reduce((sum, [name, rate]) => name.startsWith(`${kind} `) ? sum + rate : sum, 0)
}

function isByCode (name: string): boolean { return codeKinds.some(kind => name.startsWith(`${kind} `)) }

function known (value: number): number | null { return Number.isNaN(value) ? null : Math.round(1_000 * value) / 1_000 }

function mapped<K extends string, V> (keys: readonly K[], valueOf: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map(key => [key, valueOf(key)])) as Record<K, V>
}
