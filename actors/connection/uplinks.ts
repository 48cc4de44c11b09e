import { GatewayError } from '../../schemas/errors.js'
import type { Entry } from '../../schemas/facts.js'
import type { Uplink } from '../../schemas/frames.js'
import { idWanted, isId, serviceBytesMax, textWanted, utf8Fits } from '../../schemas/text.js'
import { closeConnection } from './close.js'
import type { Connection } from './connection.js'
import { hasCredit } from './rate.js'
import { refusedByLedger, refuseHere } from './refusals.js'
import { answerRepeats, repeated, repeatsAcked } from './repeats.js'
import { mayPost } from './rooms.js'
import { tallyOf } from './tally.js'

/** How long a client waits before it resends what the ledger could not take. */
const unavailableRetryMs = 1_000

/** How long a client waits whose uplinks the node can't bear. Clients wait for different times, for there are many. */
function overloadedRetryMs (): number { return Math.ceil(2_000 * (1 + Math.random())) }

/**
 * Gives an uplink to the ledger, with the others of this turn; the user actor says whether it is accepted. An uplink
 * that will not be accepted is refused here, and a repeat is answered here: neither is stored.
 */
export function uplink (connection: Connection, frame: Uplink, atMs: number, inRate: boolean): void {
  const { seq, service, payload, priority, roomId } = frame
  const { window, edge } = connection
  if (seq < 1) {
    closeConnection(connection, 'protocol', `uplink seq ${seq} is below 1`)
    return
  }
  if (!utf8Fits(service, serviceBytesMax)) {
    closeConnection(connection, 'bad-frame', `service: ${textWanted(serviceBytesMax)}`)
    return
  }
  if (roomId !== '' && !isId(roomId)) {
    closeConnection(connection, 'bad-frame', `roomId: ${idWanted}`)
    return
  }
  if (!inRate) {
    refuseHere(connection, seq, 'throttled')
    return
  }
  if (seq <= window.givenSeq) {
    repeated(connection, seq)
    return
  }
  if (!window.isNext(seq)) {
    refuseHere(connection, seq, 'gap')
    return
  }
  if (roomId !== '' && !mayPost(connection, roomId)) {
    refuseHere(connection, seq, 'forbidden')
    return
  }
  if (!edge.bears(connection.userId, priority, connection.isQuiet)) {
    refuseHere(connection, seq, 'overloaded', overloadedRetryMs())
    return
  }
  const roomMs = roomId === '' ? 0 : newRoomMs(connection, roomId)
  if (roomMs > 0) {
    refuseHere(connection, seq, 'throttled', roomMs)
    return
  }
  if (roomId !== '') edge.flow.posts(connection, roomId, connection.rooms!.isNew(roomId))
  const { connectionId } = connection
  connection.record(atMs, { type: 'UplinkReceived', connectionId, seq, service, payload, priority, roomId })
  edge.count.uplinks++
  window.give(seq)
}

/** Whether an uplink goes to the ledger whatever `connected` will say, and needs no answer of ours. */
export function mayBeEarly (connection: Connection, { seq, roomId }: Uplink): boolean {
  return hasCredit(connection) && connection.window.isNext(seq) &&
    (roomId === '' || (mayPost(connection, roomId) && newRoomMs(connection, roomId) === 0))
}

/** Ms until its user may post there, where he would begin the room. */
function newRoomMs (connection: Connection, roomId: string): number {
  return connection.rooms!.isNew(roomId) ? connection.edge.flow.newRoomMs(connection, roomId) : 0
}

/** The user actor has accepted everything up to `seq`. Where its `welcome` was lost, the next `welcome` says so. */
export function acknowledge (connection: Connection, seq: number, userSeqs: readonly number[]): void {
  const { window, reading, edge } = connection
  const count = window.ack(seq)
  if (count > 0) {
    tallyOf(connection).uplinks += count
    reading.settle(connection)
    repeatsAcked(connection, seq, userSeqs)
  } else if (answerRepeats(connection, seq, userSeqs)) return
  edge.stopwatch.acked(connection)
  connection.write({ op: 'uplinkAck', seq, userSeqs })
  edge.tracer?.uplinksAcked(connection, seq, userSeqs)
}

/** An append failed, and the opening was not in it: nothing of it was written. */
export function notStored (connection: Connection, entries: readonly Entry[], error: Error): void {
  for (const { fact } of entries) {
    if (fact.type === 'UplinkReceived') {
      const code = uplinksLost(connection, entries, error)
      connection.edge.reportSoon(connection)
      refusedByLedger(connection, fact.seq, code, unavailableRetryMs)
      return
    }
  }
}

/** Notes the uplinks of a failed append as refused; the ledger is told later. @returns why */
export function uplinksLost (connection: Connection, entries: readonly Entry[], error: Error): string {
  const code = error instanceof GatewayError ? error.code : 'ledger-unavailable'
  for (const { fact } of entries) {
    if (fact.type === 'UplinkReceived') tallyOf(connection).refused(code, fact.seq, fact.seq, 1)
  }
  return code
}
