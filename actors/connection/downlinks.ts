import { cutText, skipReasonBytesMax } from '../../schemas/text.js'
import type { Downlink } from '../user/effects.js'
import { closeConnection } from './close.js'
import type { Connection } from './connection.js'
import { askUser } from './questions.js'
import { tallyOf } from './tally.js'

/** Acks after which a report does not wait for its time: the outbox that they free is bounded. */
const unreportedMax = 200

/**
 * Writes a downlink if it is the next one. One that came too early is asked for again once the gap is known; one before
 * `connected`, whose `welcome` was lost, comes again with that.
 */
export function deliver (connection: Connection, seq: number, downlink: Downlink): void {
  if (connection.phase !== 'open') return
  if (seq > connection.knownSeq) connection.knownSeq = seq
  if (seq !== connection.writtenSeq + 1) return
  const { messageId, service, payload, requestedAtMs } = downlink
  connection.resyncAt = -1
  connection.writtenSeq = seq
  connection.wire.write({ op: 'downlink', seq, messageId, service, payload, requestedAtMs })
  connection.framesOut++
  connection.edge.count.downlinks++
  tallyOf(connection).wrote(seq)
  connection.edge.reportSoon(connection)
}

/** The client has processed everything up to `seq`. */
export function downlinkAcked (connection: Connection, seq: number): void {
  if (seq > connection.writtenSeq) {
    closeConnection(connection, 'protocol', `ack of ${seq} is ahead of ${connection.writtenSeq}, the last one sent`)
    return
  }
  if (seq < 0) {
    closeConnection(connection, 'protocol', `ack of ${seq} is below 0`)
    return
  }
  if (seq <= connection.ackedSeq) return
  tallyOf(connection).acked(seq, seq - connection.ackedSeq)
  connection.ackedSeq = seq
  connection.answersConnected()
  connection.edge.reportSoon(connection)
}

/** As an ack up to `seq`, which itself the client's application could not process: the ledger is told that, too. */
export function downlinkSkipped (connection: Connection, seq: number, reason: string): void {
  if (seq < 1) {
    closeConnection(connection, 'protocol', `downlink ${seq} was skipped, and the first one is 1`)
    return
  }
  if (seq > connection.ackedSeq && seq <= connection.writtenSeq) {
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
  const { edge, wire, writtenSeq } = connection
  if (writtenSeq >= connection.knownSeq || connection.resyncAt >= 0) return
  if (wire.queuedBytes > edge.limits.resumeBytesMax) return
  resync(connection)
}

/** Asks the user actor for whatever this connection has not seen. */
export function resync (connection: Connection): void {
  const { edge } = connection
  connection.resyncAt = edge.ticks()
  const welcomed = connection.phase === 'open'
  askUser(connection, { welcomed, uplinkSeq: connection.ackedUplinkSeq, bytesMax: edge.limits.resumeBytesMax })
}

/** True where the client reads too slowly for what it is sent. */
export function fallenBehind ({ wire, edge }: Connection): boolean {
  return wire.queuedBytes > edge.limits.writeQueueBytesMax
}

/** True where so many acks are unreported that the report must not wait. */
export function reportIsDue (connection: Connection): boolean {
  return connection.ackedSeq - connection.reportedAckedSeq >= unreportedMax
}
