import { GatewayError } from '../../schemas/errors.js'
import type { Entry } from '../../schemas/facts.js'
import type { Uplink } from '../../schemas/frames.js'
import { serviceBytesMax, textWanted, utf8Fits } from '../../schemas/text.js'
import { closeConnection, closeUnopened } from './close.js'
import type { Connection } from './connection.js'
import { refusedByLedger, refuseHere } from './refusals.js'
import { answerRepeats, repeated, repeatsAcked } from './repeats.js'
import { tallyOf } from './tally.js'

/** How long a client waits before it resends what the ledger could not take. */
const unavailableRetryMs = 1_000

/** What a client waits whose uplinks the node can't bear: not all as long, for there are many. */
function overloadedRetryMs (): number { return Math.ceil(2_000 * (1 + Math.random())) }

/**
 * Gives an uplink to the ledger, with the others of this turn. Whether it is accepted, the user actor says. What will
 * not be accepted, or was before, is not stored: it is refused or answered here.
 */
export function uplink (connection: Connection, frame: Uplink, atMs: number, inRate: boolean): void {
  const { seq, service, payload, priority } = frame
  if (seq < 1) {
    closeConnection(connection, 'protocol', `uplink seq ${seq} is below 1`)
    return
  }
  if (!utf8Fits(service, serviceBytesMax)) {
    closeConnection(connection, 'bad-frame', `service: ${textWanted(serviceBytesMax)}`)
    return
  }
  if (!inRate) {
    refuseHere(connection, seq, 'throttled')
    return
  }
  if (seq <= connection.forwardedSeq) {
    repeated(connection, seq)
    return
  }
  if (!isNext(connection, seq)) {
    refuseHere(connection, seq, 'gap')
    return
  }
  if (priority < connection.edge.priorityMin()) {
    refuseHere(connection, seq, 'overloaded', overloadedRetryMs())
    return
  }
  const { connectionId } = connection
  connection.record(atMs, { type: 'UplinkReceived', connectionId, seq, service, payload, priority })
  connection.edge.count.uplinks++
  connection.forwardedSeq = seq
}

/** True for the uplink behind the last one. Before `connected` nobody knows which one is the first. */
export function isNext ({ phase, forwardedSeq }: Connection, seq: number): boolean {
  return seq === forwardedSeq + 1 || (phase === 'opening' && forwardedSeq === 0)
}

/** The user actor has accepted everything up to `seq`. Where its `welcome` was lost, the next one will say so. */
export function acknowledge (connection: Connection, seq: number, userSeqs: readonly number[]): void {
  if (connection.phase !== 'open') return
  if (seq > connection.ackedUplinkSeq) {
    tallyOf(connection).uplinks += seq - connection.ackedUplinkSeq
    connection.ackedUplinkSeq = seq
    // An append that had failed for all that we knew.
    if (seq > connection.forwardedSeq) connection.forwardedSeq = seq
    connection.reading.settle(connection)
    repeatsAcked(connection, seq, userSeqs)
  } else if (answerRepeats(connection, seq, userSeqs)) return
  connection.edge.stopwatch.acked(connection)
  connection.wire.write({ op: 'uplinkAck', seq, userSeqs })
  connection.framesOut++
}

/** An append failed: nothing of it was written. A connection can't go on without its own opening. */
export function notStored (connection: Connection, entries: readonly Entry[], error: Error): void {
  for (const { fact } of entries) {
    if (fact.type === 'ConnectionOpened') {
      closeUnopened(connection)
      return
    }
    if (fact.type === 'UplinkReceived') {
      const code = uplinksLost(connection, entries, error)
      connection.edge.reportSoon(connection)
      refusedByLedger(connection, fact.seq, code, unavailableRetryMs)
      return
    }
  }
}

/** Notes that uplinks of a failed append were refused, for the ledger to know it one day. @returns why */
export function uplinksLost (connection: Connection, entries: readonly Entry[], error: Error): string {
  const code = error instanceof GatewayError ? error.code : 'ledger-unavailable'
  for (const { fact } of entries) {
    if (fact.type === 'UplinkReceived') tallyOf(connection).refused(code, fact.seq, fact.seq, 1)
  }
  return code
}

/** True where as many uplinks as the client was told are unacknowledged: it is not read until acks come. */
export function windowFull (connection: Connection): boolean {
  const { uplinkWindow } = connection.edge.limits
  return connection.forwardedSeq - connection.ackedUplinkSeq >= uplinkWindow || connection.unstored >= uplinkWindow
}
