import { GatewayError } from '../../schemas/errors.js'
import type { Entry } from '../../schemas/facts.js'
import type { Uplink } from '../../schemas/frames.js'
import { closeConnection } from './close.js'
import type { Connection } from './connection.js'
import { waitMs } from './rate.js'

/** How long a client waits before it resends what the ledger could not take. */
const unavailableRetryMs = 1_000

/** Gives an uplink to the ledger, with the others of this turn. Whether it is accepted, the user actor says. */
export function uplink (connection: Connection, frame: Uplink, atMs: number, inRate: boolean): void {
  const { seq, service, payload, priority } = frame
  if (seq < 1) {
    closeConnection(connection, 'protocol', `uplink seq ${seq} is below 1`)
    return
  }
  if (!inRate) {
    // Not `seq`: an earlier one may be refused already, or this one be a repeat of what is accepted.
    refuse(connection, connection.forwardedSeq + 1, 'throttled', waitMs(connection))
    return
  }
  const { connectionId } = connection
  connection.record(atMs, { type: 'UplinkReceived', connectionId, seq, service, payload, priority })
  connection.edge.count.uplinks++
  if (seq > connection.forwardedSeq) connection.forwardedSeq = seq
}

/** The user actor has accepted everything up to `seq`. */
export function acknowledge (connection: Connection, seq: number, userSeqs: readonly number[]): void {
  if (seq > connection.ackedUplinkSeq) connection.ackedUplinkSeq = seq
  connection.edge.stopwatch.acked(connection)
  connection.wire.write({ op: 'uplinkAck', seq, userSeqs })
  connection.framesOut++
}

/** Nothing from `expectedSeq` on was accepted, so nothing of it is under way any more. */
export function refuse (connection: Connection, expectedSeq: number, code: string, retryAfterMs: number): void {
  connection.forwardedSeq = expectedSeq - 1
  connection.edge.stopwatch.letGo(connection)
  connection.edge.count.uplinksRefused++
  connection.wire.write({ op: 'uplinkRefused', expectedSeq, code, retryAfterMs })
  connection.framesOut++
}

/** An append failed: nothing of it was written. A connection can't go on without its own opening. */
export function notStored (connection: Connection, entries: readonly Entry[], error: Error): void {
  for (const { fact } of entries) {
    if (fact.type === 'ConnectionOpened') {
      closeConnection(connection, 'internal', 'the ledger can not be written')
      return
    }
    if (fact.type === 'UplinkReceived') {
      const code = error instanceof GatewayError ? error.code : 'ledger-unavailable'
      refuse(connection, fact.seq, code, unavailableRetryMs)
      return
    }
  }
}

/** True where as many uplinks as the client was told are unacknowledged: it is not read until acks come. */
export function windowFull (connection: Connection): boolean {
  const { uplinkWindow } = connection.edge.limits
  return connection.forwardedSeq - connection.ackedUplinkSeq >= uplinkWindow || connection.unstored >= uplinkWindow
}
