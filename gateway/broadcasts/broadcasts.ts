import { setTimeout as wait } from 'node:timers/promises'
import { endingOfMany } from '../../ledger/ending.js'
import type { EventLog } from '../../ledger/log.js'
import { appOf, userKey } from '../../schemas/apps.js'
import type { Health } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import type { BroadcastRequested, NodeEntry } from '../../schemas/node-facts.js'
import { nodes } from '../../schemas/streams.js'
import type { EdgeBroadcasts } from '../edge/broadcasts.js'
import { type NodeIdentity, tellOfNode } from '../node.js'
import type { NodeRow } from '../../projections/nodes.js'
import type { NodeTable } from '../node-table.js'
import { type BroadcastInfo, type BroadcastOrder, KnownBroadcasts, type ReadAt } from './known.js'

export const broadcastTtlMsMax = 3_600_000

/** Of one app, being carried out in all nodes together, as far as the node that is asked knows. */
const appMax = 8
/** Of all apps together; one that has none may have one all the same. */
const runningMax = 32
/** A request that meets so many waits at least this long. */
const busyMs = 1_000
const retryMs = 1_000
const shownWithinMs = 1_000

export interface BroadcastsDeps {
  readonly log: EventLog
  readonly identity: NodeIdentity
  readonly nodeTable: Pick<NodeTable, 'rows'>
  /** Absent on a node that holds no connections. */
  readonly edge: Pick<EdgeBroadcasts, 'take'> | undefined
  readonly health: Health
}

export interface BroadcastCommand extends Omit<BroadcastRequested, 'type'> {
  /** W3C trace context of whoever asks; see tracing/. */
  readonly traceparent?: string
}

export interface BroadcastAnswer {
  readonly messageId: string
  /** The id was had before: `duplicate` for the same payload and service, `conflict` for others; nothing is sent. */
  readonly status: 'queued' | 'duplicate' | 'conflict'
}

export interface CancelCommand {
  readonly app: string
  readonly messageId: string
  readonly reason: string
  readonly by: string
}

/**
 * Broadcasts, as facts of the stream `nodes`: each node reads them once, from its start on, and its edge carries them
 * out. What was asked before the start of this process is read too, as far back as it matters, and carried out by
 * nobody here: the connections that it was for are gone.
 */
export class Broadcasts {
  readonly #deps: BroadcastsDeps
  readonly #known = new KnownBroadcasts()
  /** By key: those requested here that were not read back yet; the promise never rejects. */
  readonly #asked = new Map<string, Promise<unknown>>()
  readonly #ending = endingOfMany()
  readonly #following: Array<Promise<void>> = []

  constructor (deps: BroadcastsDeps) {
    this.#deps = deps
  }

  /**
   * Begins to read: on a node that has connections, or is asked for broadcasts. Resolves once it knows what was asked
   * before; from then on it misses nothing, so nobody should know of this node earlier.
   *
   * @throws GatewayError `ledger-unavailable`
   */
  async start (): Promise<void> {
    const partitions = Array.from({ length: this.#deps.log.partitions(nodes) }, (_, partition) => partition)
    await Promise.all(partitions.map(async partition => {
      const from = await this.#readHistory(partition)
      this.#following.push(this.#follow(partition, from))
    }))
  }

  /**
   * Resolves once it is durable; every edge has it a little later.
   *
   * @throws GatewayError `overloaded` where as many are being carried out as may be; `ledger-unavailable`
   */
  async request (command: BroadcastCommand): Promise<BroadcastAnswer> {
    const { app, messageId } = command
    const key = userKey(app, messageId)
    const { rows } = await this.#deps.nodeTable.rows()
    while (this.#asked.has(key)) await this.#asked.get(key)
    const status = this.#known.compare({ key, ...command }, rows, performance.now())
    if (status !== 'first') return { messageId, status }
    this.#checkRoom(app, rows)
    const told = this.#tell(key, command, rows)
    this.#asked.set(key, told.catch(() => {}).then(() => { this.#asked.delete(key) }))
    await told
    return { messageId, status: 'queued' }
  }

  async #tell (key: string, command: BroadcastCommand, rows: readonly NodeRow[]): Promise<void> {
    await tellOfNode(this.#deps.log, this.#deps.identity, { type: 'BroadcastRequested', ...command })
    await shown(() => this.#known.compare({ key, ...command }, rows, performance.now()) !== 'first')
  }

  /** @throws GatewayError `overloaded` */
  #checkRoom (app: string, rows: readonly NodeRow[]): void {
    const keys = new Set([...this.#known.running(rows, performance.now()), ...this.#asked.keys()])
    const ofApp = [...keys].filter(key => appOf(key) === app).length
    if (ofApp < appMax && (ofApp === 0 || keys.size < runningMax)) return
    const reason = ofApp >= appMax
      ? `${appMax} broadcasts are under way, the most that there may be`
      : `${runningMax} broadcasts of all apps are under way, the most that there may be for one that has its own`
    throw new GatewayError('overloaded', reason, { retryAfterMs: busyMs })
  }

  /** @throws GatewayError `not-found` */
  async describe (app: string, messageId: string): Promise<BroadcastInfo> {
    const { rows } = await this.#deps.nodeTable.rows()
    const info = this.#known.describe(userKey(app, messageId), rows, performance.now())
    if (!info) throw new GatewayError('not-found', `nobody asked for a broadcast ${messageId}, or that is long ago`)
    return info
  }

  /**
   * Resolves once it is durable. One that is over stays as it is.
   *
   * @throws GatewayError `not-found`; `ledger-unavailable`
   */
  async cancel (command: CancelCommand): Promise<void> {
    const { app, messageId } = command
    const { state } = await this.describe(app, messageId)
    if (state !== 'running') return
    await tellOfNode(this.#deps.log, this.#deps.identity, { type: 'BroadcastCancelled', ...command })
    await shown(() => this.#known.isCancelled(userKey(app, messageId)))
  }

  async stop (): Promise<void> {
    this.#ending.abort()
    await Promise.all(this.#following)
  }

  /** A read that fails goes on where it was. Where the log was cut back to before that it goes on at the end. */
  async #follow (partition: number, next: bigint): Promise<void> {
    const { log, health } = this.#deps
    const { signal } = this.#ending
    const what = `broadcasts ${partition}`
    for (let from = next; !signal.aborted;) {
      try {
        const { next: end } = await log.bounds(nodes, partition)
        if (from > end) from = await this.#readHistory(partition)
        health.end('followers', what)
        for await (const { offset, items } of log.read(nodes, partition, { from, signal })) {
          for (const item of items) this.#carryOut(this.#known.take(item, readAt(item, offset < end)))
          from = offset + 1n
        }
      } catch (err) {
        if (signal.aborted) return
        health.begin('followers', (err as Error).message, what)
        await wait(retryMs, undefined, { signal }).catch(() => {})
      }
    }
  }

  /**
   * What was asked, the edge does not begin; what it has begun, it ends.
   *
   * @returns the first offset that is no history
   */
  async #readHistory (partition: number): Promise<bigint> {
    const { log } = this.#deps
    const { next } = await log.bounds(nodes, partition)
    const from = await log.offsetAt(nodes, partition, Date.now() - broadcastTtlMsMax)
    for await (const { items } of log.read(nodes, partition, { from, to: next })) {
      for (const item of items) {
        const order = this.#known.take(item, readAt(item, true))
        if (order?.type === 'cancel') this.#carryOut(order)
      }
    }
    return next
  }

  #carryOut (order: BroadcastOrder | undefined): void {
    if (order) this.#deps.edge?.take(order)
  }
}

/** @param isOld it was there before this read began, so its time goes by the clock of whoever wrote it, and by ours */
function readAt ({ atMs }: NodeEntry, isOld: boolean): ReadAt {
  return { nowMs: performance.now(), ageMs: isOld ? Math.max(0, Date.now() - atMs) : 0 }
}

/** Whoever asked looks next: what is in the log is read here within moments. */
async function shown (isKnown: () => boolean): Promise<void> {
  for (const end = Date.now() + shownWithinMs; Date.now() < end && !isKnown();) await wait(10)
}
