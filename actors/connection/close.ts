import { unknownCount } from '../../schemas/counts.js'
import { type ErrorCode, errors } from '../../schemas/errors.js'
import type { Connection } from './connection.js'
import { takeRefusals, takeSkipped } from './tally.js'

/** WebSocket close code of a connection that ends as its client asked (RFC 6455, 7.4.1). */
const normalClosure = 1000

/** What a client whose `connect` could not be stored waits: not all as long, for there may be many. */
export function ledgerRetryMs (): number { return Math.ceil(1_000 * (1 + 4 * Math.random())) }

export interface CloseOptions {
  /** The client said that its session is over. */
  readonly endSession?: boolean
  /** How long the client is to wait; 0: as its backoff says. */
  readonly retryAfterMs?: number
}

/** Ends the connection from our side: tells the ledger, tells the client why, closes once that is sent. */
export function closeConnection (
  connection: Connection, code: ErrorCode, reason: string, { endSession = false, retryAfterMs = 0 }: CloseOptions = {}
): void {
  if (connection.phase === 'closing' || connection.phase === 'closed') return
  const { wire } = connection
  // A goodbye is an answer too.
  if (code === 'disconnected') connection.answersConnected()
  recordClosed(connection, code, reason, endSession)
  if (code === 'kicked' || code === 'superseded') wire.write({ op: 'kick', code, reason })
  else if (code !== 'disconnected') wire.write({ op: 'error', code, message: reason, retryAfterMs })
  finish(connection, errors[code].close ?? normalClosure, code)
}

/** Its opening was refused by the ledger, which has nothing to be told of it then. */
export function closeUnopened (connection: Connection): void {
  if (connection.phase !== 'opening') return
  const { wire, edge } = connection
  const code = 'ledger-unavailable'
  edge.count.closed(code)
  wire.write({ op: 'error', code, message: 'the ledger can not be written', retryAfterMs: ledgerRetryMs() })
  finish(connection, errors[code].close ?? normalClosure, code)
}

/** Answers `connect` with other endpoints, once those are known that have just come. */
export function sendAwaySoon (connection: Connection): void {
  connection.hold()
  connection.edge.lookAround(connection.wire.transport).catch(() => {}).then(() => { connection.tell({ type: 'sendAway' }) })
}

export function sendAway (connection: Connection): void {
  const { wire, edge } = connection
  if (connection.phase === 'closing' || connection.phase === 'closed') return
  edge.count.closed('redirected')
  wire.write({
    op: 'redirect', endpoints: edge.alternates(wire.transport), retryAfterMs: edge.sentAwayMs(), code: 'redirected',
  })
  finish(connection, errors.redirected.close ?? normalClosure, 'redirected')
}

function finish (connection: Connection, closeCode: number, code: string): void {
  connection.framesOut++
  connection.phase = 'closing'
  connection.phaseAt = connection.edge.ticks()
  connection.wire.flush()
  connection.wire.end(closeCode, code)
}

/** The socket is gone, whoever began it. */
export function socketClosed (connection: Connection, clean: boolean): void {
  const code = clean ? 'disconnected' : 'connection-lost'
  if (connection.phase !== 'closing' && connection.phase !== 'closed') {
    // That it closed cleanly does not say that it has read what we wrote.
    recordClosed(connection, code, '', false)
  }
  connection.phase = 'closed'
  connection.reading.end(connection)
  connection.edge.stopwatch.letGo(connection)
  connection.actor.stop()
}

/** Its actor has stopped, so no turn will record the end of this connection: the edge does. */
export function recordCrash (connection: Connection): void {
  const { edge, partition } = connection
  connection.hasReadConnected = false
  recordClosed(connection, 'internal', 'the connection actor crashed', false)
  connection.phase = 'closed'
  connection.reading.end(connection)
  connection.reading.handled(connection)
  edge.stopwatch.letGo(connection)
  for (const entry of connection.takeEntries()) {
    const { type } = entry.fact
    if (type === 'ConnectionClosed' || type === 'UplinksRefused' || type === 'DownlinkSkipped') edge.appendLater(partition, entry)
  }
}

/** Adds `ConnectionClosed` to this turn, behind what the client sent in it, if its opening is in the ledger. */
function recordClosed (connection: Connection, code: ErrorCode, reason: string, endSession: boolean): void {
  const { edge, phase, tally, hasReadConnected } = connection
  edge.count.closed(code)
  if (phase !== 'open' && phase !== 'opening') return
  const read = hasReadConnected && phase === 'open'
  const atMs = Date.now()
  for (const refused of takeRefusals(connection)) connection.record(atMs, refused)
  for (const skipped of takeSkipped(connection)) connection.record(atMs, skipped)
  connection.record(atMs, {
    type: 'ConnectionClosed',
    connectionId: connection.connectionId,
    code,
    reason,
    endSession,
    told: read,
    writtenSeq: connection.writtenSeq,
    ackedSeq: read ? connection.ackedSeq : unreadAckedSeq(connection),
    framesIn: connection.framesIn,
    framesOut: connection.framesOut,
    bytesIn: connection.wire.bytesIn,
    bytesOut: connection.wire.bytesOut,
    uplinks: tally?.uplinks ?? 0,
    downlinksWritten: tally?.downlinksWritten ?? 0,
    downlinksAcked: tally?.downlinksAcked ?? 0,
    roundTripMs: tally?.roundTripMs ?? -1,
  })
}

/**
 * The acked seq began with what `connected` said, so it is no ack of a client that may not have read that. Only a crash
 * makes acks doubtful that came.
 */
function unreadAckedSeq ({ tally }: Connection): number {
  return tally && tally.downlinksAcked > 0 ? unknownCount : 0
}
