import { contentOf } from '../../actors/digest.js'
import type { NodeRow } from '../../projections/nodes.js'
import { userKey } from '../../schemas/apps.js'
import type { BroadcastCancelled, BroadcastReported, BroadcastRequested, NodeEntry } from '../../schemas/node-facts.js'

/** A request that is to be carried out. */
export interface Broadcast extends Omit<BroadcastRequested, 'type'> {
  /** Of its app and `messageId`, as that of a user. */
  readonly key: string
  /** Time of the entry: of the clock of the node that was asked, so nothing goes by it. Ms since 1970. */
  readonly requestedAtMs: number
  /** Nobody gets it later, by `performance.now()` of this process. */
  readonly endsAtMs: number
}

/** When an entry was read. */
export interface ReadAt {
  /** By `performance.now()`. */
  readonly nowMs: number
  /**
   * How long it had been in the stream: 0 for one that was read as it came. Of an older one only the time of day of the
   * node that wrote it tells, which may be another one than here.
   */
  readonly ageMs: number
}

/** What an entry of the stream `nodes` has an edge do. */
export type BroadcastOrder =
  | { readonly type: 'begin', readonly broadcast: Broadcast } | { readonly type: 'cancel', readonly key: string }

export interface BroadcastInfo extends Omit<Broadcast, 'key' | 'payload' | 'endsAtMs'> {
  /** Absent where nobody cancelled it. */
  readonly cancelled?: Cancelled
  /** `refused` where every edge refused it: nobody got it, and its id may be used again. */
  readonly state: 'running' | 'done' | 'cancelled' | 'expired' | 'refused'
  /** Sums of the nodes. */
  readonly sent: number
  readonly slow: number
  readonly left: number
  readonly nodes: readonly NodeProgress[]
}

export interface NodeProgress extends Omit<BroadcastReported, 'type' | 'app' | 'messageId'> {
  readonly nodeId: string
  /** What the node reported last; `waiting` where it has not yet, `gone` where it never will again. */
  readonly state: string
}

/** Who did, by the id of the API key, which is empty for one of the environment; and why. */
export interface Cancelled extends Pick<BroadcastCancelled, 'by' | 'reason'> {
  readonly atMs: number
}

interface Known {
  request?: Omit<Broadcast, 'key' | 'payload'> & {
    readonly content: number
    /** Which one of the entries that were read it is. */
    readonly place: number
  }
  cancelled?: Cancelled
  /** By node id: its last report, and the epoch that it was made in. */
  reports: Map<string, BroadcastReported & { readonly epoch: number }>
}

/** The start of a process, and which one of the entries that were read that is. */
interface Start {
  readonly epoch: number
  readonly place: number
}

/** Of one that is forgotten nobody can tell a repeat: the oldest is, of those that no node runs. */
const knownMax = 256

/**
 * The fold of what the stream `nodes` says of broadcasts. Each node has its own, and all are alike: of requests with
 * one id the first one counts, and the next one where all refused that. A cancel or a report may come before its
 * request, for nodes may have partitions apart.
 */
export class KnownBroadcasts {
  readonly #known = new Map<string, Known>()
  /** By node: its last start. */
  readonly #starts = new Map<string, Start>()
  /** Entries that were read. */
  #read = 0

  take ({ nodeId, epoch, atMs, fact }: NodeEntry, { nowMs, ageMs }: ReadAt): BroadcastOrder | undefined {
    const place = ++this.#read
    switch (fact.type) {
      case 'NodeStarted':
        if (this.#starts.get(nodeId)?.epoch !== epoch) this.#starts.set(nodeId, { epoch, place }) // or it is read again
        return undefined
      case 'BroadcastRequested': {
        const key = userKey(fact.app, fact.messageId)
        const known = this.#of(key, nowMs)
        if (known.request && !isRefused(known)) return undefined
        known.reports = known.request ? new Map() : known.reports
        const { type, payload, ...fields } = fact
        const request = { ...fields, requestedAtMs: atMs, endsAtMs: nowMs + fact.ttlMs - ageMs }
        known.request = { ...request, content: contentOf(fact.service, payload), place }
        return known.cancelled ? undefined : { type: 'begin', broadcast: { ...request, payload, key } }
      }
      case 'BroadcastCancelled': {
        const key = userKey(fact.app, fact.messageId)
        this.#of(key, nowMs).cancelled ??= { by: fact.by, reason: fact.reason, atMs }
        return { type: 'cancel', key }
      }
      case 'BroadcastReported':
        this.#of(userKey(fact.app, fact.messageId), nowMs).reports.set(nodeId, { ...fact, epoch })
        return undefined
      default: return undefined
    }
  }

  /** Whether the id was had before, and for the same thing. One that every edge refused was not had. */
  compare (
    { key, service, payload }: Pick<Broadcast, 'key' | 'service' | 'payload'>, rows: readonly NodeRow[], nowMs: number
  ): 'first' | 'duplicate' | 'conflict' {
    const request = this.#known.get(key)?.request
    if (!request || this.describe(key, rows, nowMs)?.state === 'refused') return 'first'
    return request.content === contentOf(service, payload) ? 'duplicate' : 'conflict'
  }

  isCancelled (key: string): boolean { return this.#known.get(key)?.cancelled !== undefined }

  /** Keys of those that are being carried out somewhere. */
  running (rows: readonly NodeRow[], nowMs: number): string[] {
    return [...this.#known.keys()].filter(key => this.describe(key, rows, nowMs)?.state === 'running')
  }

  /**
   * @param rows the node table: who has to report, and who never will again
   * @param nowMs by `performance.now()`
   * @returns undefined where nobody asked for it, or that is forgotten
   */
  describe (key: string, rows: readonly NodeRow[], nowMs: number): BroadcastInfo | undefined {
    const known = this.#known.get(key)
    if (!known?.request) return undefined
    const { content, endsAtMs, place, ...request } = known.request
    const isOver = nowMs >= endsAtMs
    const nodes = [...progressOf(known, rows), ...waiting(known, rows, this.#starts, isOver)]
      .sort((a, b) => a.nodeId < b.nodeId ? -1 : 1)
    const sum = (count: (node: NodeProgress) => number) => nodes.reduce((sum, node) => sum + count(node), 0)
    return {
      ...request,
      ...known.cancelled ? { cancelled: known.cancelled } : {},
      state: known.cancelled ? 'cancelled' : stateOf(nodes, isOver),
      sent: sum(({ sent }) => sent),
      slow: sum(({ slow }) => slow),
      left: sum(({ left }) => left),
      nodes,
    }
  }

  #of (key: string, nowMs: number): Known {
    let known = this.#known.get(key)
    if (known) return known
    if (this.#known.size >= knownMax) this.#forget(nowMs)
    this.#known.set(key, known = { reports: new Map() })
    return known
  }

  /** The oldest that no node runs; where each is run, of which there are never so many, the oldest. */
  #forget (nowMs: number): void {
    for (const [key, known] of this.#known) {
      if (mayRun(known, nowMs)) continue
      this.#known.delete(key)
      return
    }
    this.#known.delete(this.#known.keys().next().value!)
  }
}

/** Nobody else knows who has died: what that one ran is over in its time. */
function mayRun ({ request, cancelled, reports }: Known, nowMs: number): boolean {
  if (cancelled || !request || nowMs >= request.endsAtMs) return false
  return [...reports.values()].some(({ state }) => state === 'running')
}

function isRefused ({ cancelled, reports }: Known): boolean {
  return !cancelled && reports.size > 0 && [...reports.values()].every(({ state }) => state === 'refused')
}

function * progressOf ({ reports }: Known, rows: readonly NodeRow[]): Generator<NodeProgress> {
  for (const [nodeId, { state, sent, slow, left, epoch }] of reports) {
    const row = rows.find(row => row.nodeId === nodeId)
    const isGone = state === 'running' && !(row?.alive && row.epoch === epoch)
    yield { nodeId, state: isGone ? 'gone' : state, sent, slow, left }
  }
}

/** Edges that were there when it was requested, and have not said that they have read that. What is left they count. */
function * waiting (
  { request, reports }: Known, rows: readonly NodeRow[], starts: ReadonlyMap<string, Start>, isOver: boolean
): Generator<NodeProgress> {
  const { regions, place } = request!
  for (const { nodeId, epoch, region, wsUrl, tcpUrl, alive } of rows) {
    const isEdge = wsUrl !== '' || tcpUrl !== ''
    if (!alive || !isEdge || reports.has(nodeId) || hasStartedBehind(starts.get(nodeId), epoch, place)) continue
    if (regions.length > 0 && !regions.includes(region)) continue
    yield { nodeId, state: isOver ? 'expired' : 'waiting', sent: 0, slow: 0, left: 0 }
  }
}

/** By the order of the stream, for the clocks of two nodes may differ. One whose start was not read began long ago. */
function hasStartedBehind (start: Start | undefined, epoch: number, place: number): boolean {
  return start !== undefined && (start.epoch < epoch || start.place > place)
}

function stateOf (nodes: readonly NodeProgress[], isOver: boolean): BroadcastInfo['state'] {
  if (nodes.some(({ state }) => state === 'running' || state === 'waiting')) return isOver ? 'expired' : 'running'
  if (nodes.length > 0 && nodes.every(({ state }) => state === 'refused')) return 'refused'
  return nodes.some(({ state }) => state === 'expired') ? 'expired' : 'done'
}
