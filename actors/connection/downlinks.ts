import { cutText, skipReasonBytesMax } from '../../schemas/text.js'
import type { Downlink } from '../user/effects.js'
import { closeConnection } from './close.js'
import type { Connection } from './connection.js'
import { tickMs } from './lifetime.js'
import { askUser } from './questions.js'
import { tallyOf } from './tally.js'

/**
 * Writes a downlink if it is the next one. One that came too early is asked for again once the gap is known. One that
 * came before `connected`, because the `welcome` was lost, comes again with the next `welcome`.
 */
export function deliver (connection: Connection, seq: number, downlink: Downlink): void {
  const { cursor, edge } = connection
  if (!cursor.take(seq)) return
  const { messageId, service, payload, requestedAtMs } = downlink
  connection.write({ op: 'downlink', seq, messageId, service, payload, requestedAtMs })
  edge.count.downlinks++
  edge.tracer?.downlinkWritten(connection, seq, messageId, requestedAtMs)
  if (tallyOf(connection).wrote(seq)) written(connection, requestedAtMs)
  edge.reportSoon(connection)
}

/**
 * Counts how long a downlink was on its way, unless it was requested before the connection opened and waited for that.
 * Within a tick of the opening either may be taken for the case.
 */
function written ({ life, edge }: Connection, requestedAtMs: number): void {
  const nowMs = Date.now()
  const openMs = (edge.ticks() - life.acceptedAt) * tickMs
  if (requestedAtMs < nowMs - openMs) return
  edge.count.downlinkDelivered(Math.max(0, nowMs - requestedAtMs))
}

/** The client has processed everything up to `seq`. */
export function downlinkAcked (connection: Connection, seq: number): void {
  const { cursor } = connection
  if (seq > cursor.writtenSeq) {
    closeConnection(connection, 'protocol', `ack of ${seq} is ahead of ${cursor.writtenSeq}, the last one sent`)
    return
  }
  if (seq < 0) {
    closeConnection(connection, 'protocol', `ack of ${seq} is below 0`)
    return
  }
  const count = cursor.ack(seq)
  if (count === 0) return
  const tookMs = tallyOf(connection).acked(seq, count)
  if (tookMs >= 0) connection.edge.count.downlinkAcked(tookMs)
  connection.edge.tracer?.downlinksAcked(connection, seq)
  connection.edge.reportSoon(connection)
}

/** An ack up to `seq`, where the client's application could not process `seq` itself: the ledger is told that, too. */
export function downlinkSkipped (connection: Connection, seq: number, reason: string): void {
  if (seq < 1) {
    closeConnection(connection, 'protocol', `downlink ${seq} was skipped, and the first one is 1`)
    return
  }
  const { cursor } = connection
  if (seq > cursor.ackedSeq && seq <= cursor.writtenSeq) {
    const tally = tallyOf(connection)
    const { connectionId } = connection
    tally.skipped = [
      ...tally.skipped, { type: 'DownlinkSkipped', connectionId, seq, reason: cutText(reason, skipReasonBytesMax) },
    ]
    tally.downlinksAcked-- // what is acked here counts it
  }
  downlinkAcked(connection, seq)
}

/** Asks for downlinks that exist and were not written, once there is room for them. */
export function refill (connection: Connection): void {
  const { cursor, edge, wire } = connection
  if (!cursor.isBehind || cursor.isAsked || wire.queuedBytes > edge.limits.resumeBytesMax) return
  resync(connection)
}

/** Asks the user actor for whatever this connection has not seen. */
export function resync (connection: Connection): void {
  const { cursor, edge, life, window } = connection
  cursor.ask()
  askUser(connection, { welcomed: life.isOpen, uplinkSeq: window.ackedSeq, bytesMax: edge.limits.resumeBytesMax })
}

/** Whether the client reads too slowly for what it is sent. */
export function fallenBehind ({ wire, edge }: Connection): boolean {
  return wire.queuedBytes > edge.limits.writeQueueBytesMax
}
