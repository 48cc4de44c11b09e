import type {
  NodeDrainReported, NodeDrainRequested, NodeEntry, NodeFact, NodeReported, NodeStarted,
} from '../schemas/node-facts.js'
import type { Memory, Projection, TableReader } from './projection.js'
import { put, remove } from './tables/tables.js'
import type { TableWrite } from './tables/tables.js'

export interface NodeRow extends Omit<NodeStarted, 'type'> {
  readonly nodeId: string
  readonly epoch: number
  readonly state: 'up' | 'draining' | 'lost' | 'stopped'
  /** Share of its connections that a draining node asks to leave. */
  readonly percent?: number
  /** What an operator asked of it last, done or not. */
  readonly drainRequest?: Omit<NodeDrainRequested, 'type'> & { readonly atMs: number }
  /** All 0 until the first report. */
  readonly reported: Omit<NodeReported, 'type'>
  readonly startedAtMs: number
  /** Time of the last report; of the start until there is one. */
  readonly reportedAtMs: number
  /** End of the lease, on the node's own clock, or on its reader's (node-silence.ts); 0 when it is lost or stopped. */
  readonly aliveUntilMs: number
  /** The lease had not run out at the time that the view was made for. */
  readonly alive: boolean
}

/** How many lost and stopped nodes each partition remembers; past it the one that ended first is forgotten. */
export const endedNodesMax = 256

const fieldOf = {
  NodeStarted: 'started',
  NodeReported: 'reported',
  NodeDraining: 'draining',
  NodeLost: 'ended',
  NodeStopped: 'ended',
  NodeDrainRequested: 'drainRequest',
  NodeDrainReported: 'drained',
} as const

type Field = typeof fieldOf[keyof typeof fieldOf]
/** What the table shows: of broadcasts it knows nothing. */
type Shown = Extract<NodeFact, { type: keyof typeof fieldOf }>
interface Version { readonly epoch: number, readonly atMs: number }

/**
 * Table `nodes`: node id -> `started`, `reported`, `draining`, `ended`, `drainRequest`, `drained`, each the newest fact
 * of its kind and its epoch; of a drain's report the numbers alone, for the moves may be many.
 *
 * The epoch stands in the value, not in the field's name: a reader takes the highest epoch of the row and ignores
 * values of any other, so an old epoch's fact changes nothing, and a row has six fields however often its node
 * restarts. `NewestFacts` keeps a late repeat from overwriting a newer value.
 */
export const nodes: Projection<NodeEntry> = {
  table: 'nodes',
  concerns: ({ fact }) => isShown(fact),
  * project ({ nodeId, epoch, atMs, fact }) {
    if (!isShown(fact)) return
    const { type, ...values } = fact.type === 'NodeDrainReported' ? withoutMoves(fact) : fact
    const state = type === 'NodeLost' ? { state: 'lost' } : type === 'NodeStopped' ? { state: 'stopped' } : {}
    yield put(nodeId, fieldOf[type], { epoch, atMs, ...values, ...state })
  },
  memory: (tables, partition) => NewestFacts.load(tables, partition),
}

/** Epoch and time of the newest fact of each kind of each node. The rows hold them, so it needs no rows of its own. */
export class NewestFacts implements Memory<NodeEntry> {
  readonly #nodes = new Map<string, Map<Field, Version>>()
  readonly #endedMax: number

  constructor (endedMax = endedNodesMax) {
    this.#endedMax = endedMax
  }

  static async load (tables: TableReader, partition: number, endedMax = endedNodesMax) {
    const newest = new NewestFacts(endedMax)
    for await (const row of tables.scan('nodes', partition)) {
      const kinds = new Map<Field, Version>()
      for (const [field, { epoch, atMs }] of row.fields) kinds.set(field as Field, { epoch, atMs })
      newest.#nodes.set(row.key, kinds)
    }
    return newest
  }

  admit ({ nodeId, epoch, atMs, fact }: NodeEntry): readonly TableWrite[] | undefined {
    if (!isShown(fact)) return undefined
    const field = fieldOf[fact.type]
    const kinds = this.#nodes.get(nodeId) ?? new Map<Field, Version>()
    const newest = kinds.get(field)
    if (newest && !supersedes(field, { epoch, atMs }, newest)) return undefined
    kinds.set(field, { epoch, atMs })
    this.#nodes.set(nodeId, kinds)
    return field === 'ended' ? this.#forgetOldest() : []
  }

  #forgetOldest (): TableWrite[] {
    const ended = [...this.#nodes].filter(([, kinds]) => hasEnded(kinds))
    if (ended.length <= this.#endedMax) return []
    const [nodeId, kinds] = ended.reduce((a, b) => endedBefore(a, b) ? a : b)
    this.#nodes.delete(nodeId)
    return [...kinds.keys()].map(field => remove(nodeId, field))
  }
}

function isShown (fact: NodeFact): fact is Shown { return fact.type in fieldOf }

/** A node starts once and ends once in an epoch; the rest of an epoch is ordered by time. */
function supersedes (field: Field, a: Version, b: Version) {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch
  return field !== 'started' && field !== 'ended' && a.atMs > b.atMs
}

function hasEnded (kinds: ReadonlyMap<Field, { epoch: number }>) {
  return kinds.get('ended')?.epoch === highestEpoch(kinds)
}

function endedBefore ([idA, a]: [string, Map<Field, Version>], [idB, b]: [string, Map<Field, Version>]) {
  const byTime = a.get('ended')!.atMs - b.get('ended')!.atMs
  return byTime < 0 || (byTime === 0 && idA < idB)
}

function highestEpoch (fields: ReadonlyMap<string, { epoch: number }>) {
  let highest = -Infinity
  for (const { epoch } of fields.values()) highest = Math.max(highest, epoch)
  return highest
}

/** The node table as of `nowMs`, by node id. A node whose start is not known yet is left out: it has no address. */
export function nodeRows (rows: Iterable<{ key: string, fields: ReadonlyMap<string, any> }>, nowMs: number): NodeRow[] {
  const view: NodeRow[] = []
  for (const { key, fields } of rows) {
    const row = nodeRow(key, fields, nowMs)
    if (row) view.push(row)
  }
  return view.sort((a, b) => a.nodeId < b.nodeId ? -1 : 1)
}

/** @returns undefined when the newest epoch of the node has not told its start */
export function nodeRow (nodeId: string, fields: ReadonlyMap<string, any>, nowMs: number): NodeRow | undefined {
  const epoch = highestEpoch(fields)
  const { started, reported, draining, ended, drainRequest } = Object.fromEntries(
    [...fields].filter(([, value]) => value.epoch === epoch))
  if (!started) return undefined
  const { region, roles, version, wsUrl, tcpUrl, connectionsMax, leaseMs } = started as NodeStarted
  const reportedAtMs: number = reported?.atMs ?? started.atMs
  const aliveUntilMs = ended ? 0 : reportedAtMs + leaseMs
  const percent: number = draining?.percent ?? 0
  return {
    nodeId,
    epoch,
    region,
    roles,
    version,
    wsUrl,
    tcpUrl,
    connectionsMax,
    leaseMs,
    state: ended?.state ?? (percent > 0 ? 'draining' : 'up'),
    ...(percent > 0 ? { percent } : {}),
    ...(drainRequest ? { drainRequest: requestOf(drainRequest) } : {}),
    reported: reportOf(reported),
    startedAtMs: started.atMs,
    reportedAtMs,
    aliveUntilMs,
    alive: nowMs < aliveUntilMs,
  }
}

function requestOf ({ drainId, percent, withinMs, by = '', reason = '', atMs }: NodeDrainRequested & { atMs: number }) {
  // A row that an older version wrote says neither who nor why.
  return { drainId, percent, withinMs, by, reason, atMs }
}

function withoutMoves ({ moves, ...numbers }: NodeDrainReported) {
  return numbers
}

/** The numbers of a node's last drain, of whichever epoch; undefined where there was none. */
export function lastDrain (fields: ReadonlyMap<string, any>): DrainNumbers | undefined {
  return fields.get('drained')
}

export type DrainNumbers = Omit<NodeDrainReported, 'type' | 'moves'> & { readonly epoch: number, readonly atMs: number }

/** A row that an older version wrote says less. */
function reportOf (reported: Partial<NodeReported> = {}): NodeRow['reported'] {
  const known: Record<string, unknown> = { ...noReport }
  const names = Object.keys(noReport) as Array<keyof typeof noReport>
  for (const name of names) known[name] = reported[name] ?? noReport[name]
  return known as unknown as NodeRow['reported']
}

/** Of a node that has not reported yet. */
export const noReport: NodeRow['reported'] = {
  connections: 0,
  eventLoopUtilization: 0,
  rssBytes: 0,
  memoryBytesMax: 0,
  cpuCores: 0,
  loopDelayP50Ms: 0,
  loopDelayP90Ms: 0,
  loopDelayP99Ms: 0,
  ackP50Ms: 0,
  ackP90Ms: 0,
  ackP99Ms: 0,
  waitMs: 0,
  waitMsMax: 0,
  admissionLevel: 0,
  counted: [],
}
