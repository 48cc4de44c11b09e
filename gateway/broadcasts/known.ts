import { contentOf } from '../../actors/digest.js'
import type { NodeRow } from '../../projections/nodes.js'
import { userKey } from '../../schemas/apps.js'
import type { BroadcastReported, BroadcastRequested, NodeEntry } from '../../schemas/node-facts.js'

/** A request that is to be carried out. */
export interface Broadcast extends Omit<BroadcastRequested, 'type' | 'by'> {
  /** Of its app and `messageId`, as that of a user. */
  readonly key: string
  /** Nobody gets it later, ms since 1970. */
  readonly endsAtMs: number
}

/** What an entry of the stream `nodes` has an edge do. */
export type BroadcastOrder =
  | { readonly type: 'begin', readonly broadcast: Broadcast } | { readonly type: 'cancel', readonly key: string }

export interface BroadcastInfo extends Omit<Broadcast, 'key' | 'payload' | 'endsAtMs'> {
  readonly requestedAtMs: number
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

interface Known {
  request?: Omit<Broadcast, 'key' | 'payload'> & { readonly content: number, readonly requestedAtMs: number }
  isCancelled: boolean
  /** By node id: its last report, and the epoch that it was made in. */
  reports: Map<string, BroadcastReported & { readonly epoch: number }>
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

  take ({ nodeId, epoch, atMs, fact }: NodeEntry): BroadcastOrder | undefined {
    switch (fact.type) {
      case 'BroadcastRequested': {
        const key = userKey(fact.app, fact.messageId)
        const known = this.#of(key, atMs)
        if (known.request && !isRefused(known)) return undefined
        known.reports = known.request ? new Map() : known.reports
        const { type, by, payload, ...request } = fact
        const endsAtMs = atMs + fact.ttlMs
        known.request = { ...request, content: contentOf(fact.service, payload), endsAtMs, requestedAtMs: atMs }
        return known.isCancelled ? undefined : { type: 'begin', broadcast: { ...request, payload, key, endsAtMs } }
      }
      case 'BroadcastCancelled': {
        const key = userKey(fact.app, fact.messageId)
        this.#of(key, atMs).isCancelled = true
        return { type: 'cancel', key }
      }
      case 'BroadcastReported':
        this.#of(userKey(fact.app, fact.messageId), atMs).reports.set(nodeId, { ...fact, epoch })
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

  isCancelled (key: string): boolean { return this.#known.get(key)?.isCancelled === true }

  /** Keys of those that are being carried out somewhere. */
  running (rows: readonly NodeRow[], nowMs: number): string[] {
    return [...this.#known.keys()].filter(key => this.describe(key, rows, nowMs)?.state === 'running')
  }

  /**
   * @param rows the node table: who has to report, and who never will again
   * @returns undefined where nobody asked for it, or that is forgotten
   */
  describe (key: string, rows: readonly NodeRow[], nowMs: number): BroadcastInfo | undefined {
    const known = this.#known.get(key)
    if (!known?.request) return undefined
    const { content, endsAtMs, ...request } = known.request
    const isOver = nowMs >= endsAtMs
    const nodes = [...progressOf(known, rows), ...waiting(known, rows, isOver)]
      .sort((a, b) => a.nodeId < b.nodeId ? -1 : 1)
    const sum = (count: (node: NodeProgress) => number) => nodes.reduce((sum, node) => sum + count(node), 0)
    return {
      ...request,
      state: known.isCancelled ? 'cancelled' : stateOf(nodes, isOver),
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
    this.#known.set(key, known = { isCancelled: false, reports: new Map() })
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
function mayRun ({ request, isCancelled, reports }: Known, nowMs: number): boolean {
  if (isCancelled || !request || nowMs >= request.endsAtMs) return false
  return [...reports.values()].some(({ state }) => state === 'running')
}

function isRefused ({ isCancelled, reports }: Known): boolean {
  return !isCancelled && reports.size > 0 && [...reports.values()].every(({ state }) => state === 'refused')
}

function * progressOf ({ reports }: Known, rows: readonly NodeRow[]): Generator<NodeProgress> {
  for (const [nodeId, { state, sent, slow, left, epoch }] of reports) {
    const row = rows.find(row => row.nodeId === nodeId)
    const isGone = state === 'running' && !(row?.alive && row.epoch === epoch)
    yield { nodeId, state: isGone ? 'gone' : state, sent, slow, left }
  }
}

/** Edges that were there when it was requested, and have not said that they have read that. What is left they count. */
function * waiting ({ request, reports }: Known, rows: readonly NodeRow[], isOver: boolean): Generator<NodeProgress> {
  const { regions, requestedAtMs } = request!
  for (const { nodeId, epoch, region, wsUrl, tcpUrl, alive } of rows) {
    const isEdge = wsUrl !== '' || tcpUrl !== ''
    if (!alive || !isEdge || epoch > requestedAtMs || reports.has(nodeId)) continue
    if (regions.length > 0 && !regions.includes(region)) continue
    yield { nodeId, state: isOver ? 'expired' : 'waiting', sent: 0, slow: 0, left: 0 }
  }
}

function stateOf (nodes: readonly NodeProgress[], isOver: boolean): BroadcastInfo['state'] {
  if (nodes.some(({ state }) => state === 'running' || state === 'waiting')) return isOver ? 'expired' : 'running'
  if (nodes.length > 0 && nodes.every(({ state }) => state === 'refused')) return 'refused'
  return nodes.some(({ state }) => state === 'expired') ? 'expired' : 'done'
}
