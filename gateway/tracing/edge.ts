import type { Connection } from '../../actors/connection/connection.js'
import type { EdgeTracer } from '../../actors/connection/tracer.js'
import type { Entry } from '../../schemas/facts.js'
import type { RoomTracer } from '../../actors/edge-rooms/tracer.js'
import type { BroadcastTracer } from '../edge/broadcasts.js'
import type { SpanContext } from './context.js'
import { TracedBroadcasts } from './edge-broadcasts.js'
import { TracedRooms } from './edge-rooms.js'
import { now, type Tracing } from './tracing.js'

/** Of all that an edge delivers. */
export interface EdgeTracers {
  readonly connections: EdgeTracer
  readonly rooms: RoomTracer
  readonly broadcasts: BroadcastTracer
}

export function tracersOf (tracing: Tracing): EdgeTracers {
  return {
    connections: new TracedEdge(tracing), rooms: new TracedRooms(tracing), broadcasts: new TracedBroadcasts(tracing),
  }
}

/** Uplinks of one append. */
interface Appended { readonly lastSeq: number, readonly atMs: number, storedMs: number }

interface Written {
  readonly seq: number
  readonly messageId: string
  readonly context: SpanContext
  readonly atMs: number
}

/** What a connection has under way. */
interface UnderWay { appended: Appended[], written: Written[] }

/** Of one connection: past it nothing more is traced until some is acked. */
const writtenMax = 64

/**
 * The spans of connections. Whether an uplink is traced is known with its number, which comes with its ack; until then
 * the times of each append are kept, as many as the window of uplinks allows.
 */
class TracedEdge implements EdgeTracer {
  readonly #tracing: Tracing
  readonly #underWay = new WeakMap<Connection, UnderWay>()

  constructor (tracing: Tracing) { this.#tracing = tracing }

  appended (connection: Connection, entries: readonly Entry[]): void {
    const lastSeq = lastUplinkOf(entries)
    if (lastSeq > 0) this.#of(connection).appended.push({ lastSeq, atMs: now(), storedMs: 0 })
  }

  stored (connection: Connection, entries: readonly Entry[]): void {
    const lastSeq = lastUplinkOf(entries)
    const appended = this.#underWay.get(connection)?.appended.findLast(each => each.lastSeq === lastSeq)
    if (appended) appended.storedMs = now()
  }

  uplinksAcked (connection: Connection, seq: number, userSeqs: readonly number[]): void {
    const underWay = this.#underWay.get(connection)
    if (!underWay) return
    const ackedMs = now()
    for (const [i, userSeq] of userSeqs.entries()) {
      const one = seq - userSeqs.length + 1 + i
      const appended = underWay.appended.find(({ lastSeq }) => lastSeq >= one)
      if (appended && userSeq > 0) this.#uplink(connection, one, userSeq, appended, ackedMs)
    }
    underWay.appended = underWay.appended.filter(({ lastSeq }) => lastSeq > seq)
  }

  downlinkWritten (connection: Connection, seq: number, messageId: string, requestedAtMs: number): void {
    const tracing = this.#tracing
    const context = tracing.contextOf(messageId, connection.userId)
    if (!context) return
    const atMs = now()
    tracing.add(context, 'downlink deliver', 'producer', requestedAtMs, Math.max(atMs, requestedAtMs),
      { ...attributesOf(connection, seq), 'messaging.message.id': messageId })
    const { written } = this.#of(connection)
    if (written.length < writtenMax) written.push({ seq, context, atMs, messageId })
  }

  downlinksAcked (connection: Connection, ackedSeq: number): void {
    const underWay = this.#underWay.get(connection)
    if (!underWay || underWay.written.length === 0) return
    const ackedMs = now()
    for (const { seq, context, atMs, messageId } of underWay.written) {
      if (seq > ackedSeq) continue
      this.#tracing.add(context, 'downlink ack', 'consumer', atMs, ackedMs,
        { ...attributesOf(connection, seq), 'messaging.message.id': messageId })
    }
    underWay.written = underWay.written.filter(({ seq }) => seq > ackedSeq)
  }

  #uplink (connection: Connection, seq: number, userSeq: number, { atMs, storedMs }: Appended, ackedMs: number): void {
    const tracing = this.#tracing
    const messageId = `${connection.userId}/${userSeq}`
    const context = tracing.contextOfUplink(messageId, connection.userId)
    if (!context) return
    const attributes = { ...attributesOf(connection, seq), 'messaging.message.id': messageId }
    tracing.addRoot(context, 'uplink', 'server', atMs, ackedMs, attributes)
    // An ack may come before this node hears that its append is durable.
    tracing.add(context, 'ledger append', 'client', atMs, storedMs || ackedMs, attributes)
  }

  #of (connection: Connection): UnderWay {
    let underWay = this.#underWay.get(connection)
    if (!underWay) this.#underWay.set(connection, underWay = { appended: [], written: [] })
    return underWay
  }
}

/** 0 for none. */
function lastUplinkOf (entries: readonly Entry[]): number {
  for (let i = entries.length - 1; i >= 0; i--) {
    const { fact } = entries[i]!
    if (fact.type === 'UplinkReceived') return fact.seq
  }
  return 0
}

function attributesOf ({ connectionId, deviceId, userId }: Connection, seq: number) {
  return {
    'enduser.id': userId, 'ledgerline.device': deviceId, 'ledgerline.connection': connectionId, 'ledgerline.seq': seq,
  }
}
