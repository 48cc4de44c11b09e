import { contentOf } from '../../actors/digest.js'
import type { NodeRow } from '../../projections/nodes.js'
import { userKey } from '../../schemas/apps.js'
import type { BroadcastReported, BroadcastRequested, NodeEntry } from '../../schemas/records.js'

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
  readonly state: 'running' | 'done' | 'cancelled' | 'expired'
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
  readonly reports: Map<string, BroadcastReported & { readonly epoch: number }>
}

/** Those requested last. Of one that is forgotten nobody can tell a repeat. */
const knownMax = 256

/**
 * The fold of what the stream `nodes` says of broadcasts. Each node has its own, and all are alike: of requests with
 * one id the first one counts. A cancel or a report may come before its request, for nodes may have partitions apart.
 */
export class KnownBroadcasts {
  readonly #known = new Map<string, Known>()

  take ({ nodeId, epoch, atMs, fact }: NodeEntry): BroadcastOrder | undefined {
    switch (fact.type) {
      case 'BroadcastRequested': {
        const key = userKey(fact.app, fact.messageId)
        const known = this.#of(key)
        if (known.request) return undefined
        const { type, by, payload, ...request } = fact
        const endsAtMs = atMs + fact.ttlMs
        known.request = { ...request, content: contentOf(fact.service, payload), endsAtMs, requestedAtMs: atMs }
        return known.isCancelled ? undefined : { type: 'begin', broadcast: { ...request, payload, key, endsAtMs } }
      }
      case 'BroadcastCancelled': {
        const key = userKey(fact.app, fact.messageId)
        this.#of(key).isCancelled = true
        return { type: 'cancel', key }
      }
      case 'BroadcastReported':
        this.#of(userKey(fact.app, fact.messageId)).reports.set(nodeId, { ...fact, epoch })
        return undefined
      default: return undefined
    }
  }

  /** Whether the id was had before, and for the same thing. */
  compare (key: string, service: string, payload: Uint8Array): 'first' | 'duplicate' | 'conflict' {
    const request = this.#known.get(key)?.request
    if (!request) return 'first'
    return request.content === contentOf(service, payload) ? 'duplicate' : 'conflict'
  }

  isCancelled (key: string): boolean { return this.#known.get(key)?.isCancelled === true }

  /** How many are being carried out somewhere. */
  running (rows: readonly NodeRow[], nowMs: number): number {
    let running = 0
    for (const key of this.#known.keys()) if (this.describe(key, rows, nowMs)?.state === 'running') running++
    return running
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

  #of (key: string): Known {
    let known = this.#known.get(key)
    if (known) return known
    if (this.#known.size >= knownMax) this.#known.delete(this.#known.keys().next().value!)
    this.#known.set(key, known = { isCancelled: false, reports: new Map() })
    return known
  }
}

function * progressOf ({ reports }: Known, rows: readonly NodeRow[]): Generator<NodeProgress> {
  for (const [nodeId, { state, sent, slow, left, epoch }] of reports) {
    const row = rows.find(row => row.nodeId === nodeId)
    const isGone = state === 'running' && !(row?.alive && row.epoch === epoch)
    yield { nodeId, state: isGone ? 'gone' : state, sent, slow, left }
  }
}

/** Edges that were there when it was requested, and have not said that they have read that. */
function * waiting ({ request, reports }: Known, rows: readonly NodeRow[], isOver: boolean): Generator<NodeProgress> {
  const { regions, requestedAtMs } = request!
  for (const { nodeId, epoch, region, wsUrl, tcpUrl, alive, reported: { connections } } of rows) {
    const isEdge = wsUrl !== '' || tcpUrl !== ''
    if (!alive || !isEdge || epoch > requestedAtMs || reports.has(nodeId)) continue
    if (regions.length > 0 && !regions.includes(region)) continue
    yield { nodeId, state: isOver ? 'expired' : 'waiting', sent: 0, slow: 0, left: connections }
  }
}

function stateOf (nodes: readonly NodeProgress[], isOver: boolean): BroadcastInfo['state'] {
  if (nodes.some(({ state }) => state === 'running' || state === 'waiting')) return isOver ? 'expired' : 'running'
  return nodes.some(({ state }) => state === 'expired') ? 'expired' : 'done'
}
