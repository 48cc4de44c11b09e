import { unknownCount } from '../../schemas/counts.js'
import { type ErrorCode, errors } from '../../schemas/errors.js'
import type { Connection } from './connection.js'
import { leaveAll } from './rooms.js'
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
  /** Id of the API key that asked for it; empty where none did. */
  readonly by?: string
}

/** Ends the connection from our side: tells the ledger, tells the client why, closes once that is sent. */
export function closeConnection (
  connection: Connection, code: ErrorCode, reason: string, { endSession = false, retryAfterMs = 0, by = '' }: CloseOptions = {}
): void {
  // A goodbye is an answer too.
  if (code === 'disconnected') connection.cursor.answered()
  recordClosed(connection, code, reason, { endSession, by })
  if (code === 'kicked' || code === 'banned' || code === 'superseded') connection.write({ op: 'kick', code, reason })
  else if (code !== 'disconnected') connection.write({ op: 'error', code, message: reason, retryAfterMs })
  finish(connection, errors[code].close ?? normalClosure, code)
}

/** Its opening was refused by the ledger, which has nothing to be told of it then. */
export function closeUnopened (connection: Connection): void {
  const code = 'ledger-unavailable'
  connection.edge.count.closed(code)
  connection.write({ op: 'error', code, message: 'the ledger can not be written', retryAfterMs: ledgerRetryMs() })
  finish(connection, errors[code].close ?? normalClosure, code)
}

/** Answers `connect` with other endpoints, once those are known that have just come. */
export function sendAwaySoon (connection: Connection): void {
  connection.hold()
  connection.edge.lookAround(connection.wire.transport).catch(() => {}).then(() => { connection.tell({ type: 'sendAway' }) })
}

export function sendAway (connection: Connection): void {
  const { wire, edge } = connection
  edge.count.closed('redirected')
  connection.write({
    op: 'redirect', endpoints: edge.alternates(wire.transport), retryAfterMs: edge.sentAwayMs(), code: 'redirected',
  })
  finish(connection, errors.redirected.close ?? normalClosure, 'redirected')
}

function finish ({ life, edge, wire }: Connection, closeCode: number, code: string): void {
  life.close(edge.ticks())
  wire.flush()
  wire.end(closeCode, code)
}

/** The socket is gone, whoever began it. */
export function socketClosed (connection: Connection, clean: boolean): void {
  const { life } = connection
  // That it closed cleanly does not say that it has read what we wrote.
  if (!life.isOver) recordClosed(connection, clean ? 'disconnected' : 'connection-lost', '')
  life.end()
  connection.reading.end(connection)
  leaveAll(connection)
  connection.edge.apps?.left(connection)
  connection.edge.stopwatch.letGo(connection)
  connection.actor.stop()
}

/** Its actor has stopped, so no turn will record the end of this connection: the edge does. */
export function recordCrash (connection: Connection): void {
  const { edge, partition } = connection
  connection.cursor.doubt()
  recordClosed(connection, 'internal', 'the connection actor crashed')
  connection.life.end()
  connection.reading.end(connection)
  connection.reading.handled(connection)
  leaveAll(connection)
  edge.apps?.left(connection)
  edge.stopwatch.letGo(connection)
  for (const entry of connection.takeEntries()) {
    const { type } = entry.fact
    if (type === 'ConnectionClosed' || type === 'UplinksRefused' || type === 'DownlinkSkipped') edge.appendLater(partition, entry)
  }
}

/** Adds `ConnectionClosed` to this turn, behind what the client sent in it, if its opening is in the ledger. */
function recordClosed (
  connection: Connection, code: ErrorCode, reason: string, { endSession = false, by = '' }: CloseOptions = {}
): void {
  const { edge, life, cursor, tally } = connection
  edge.count.closed(code)
  if (!life.isInLedger) return
  const atMs = Date.now()
  for (const refused of takeRefusals(connection)) connection.record(atMs, refused)
  for (const skipped of takeSkipped(connection)) connection.record(atMs, skipped)
  connection.record(atMs, {
    type: 'ConnectionClosed',
    connectionId: connection.connectionId,
    code,
    reason,
    endSession,
    told: cursor.isRead,
    writtenSeq: cursor.writtenSeq,
    ackedSeq: cursor.isRead ? cursor.ackedSeq : unreadAckedSeq(connection),
    framesIn: connection.framesIn,
    framesOut: connection.framesOut,
    bytesIn: connection.wire.bytesIn,
    bytesOut: connection.wire.bytesOut,
    uplinks: tally?.uplinks ?? 0,
    downlinksWritten: tally?.downlinksWritten ?? 0,
    downlinksAcked: tally?.downlinksAcked ?? 0,
    roundTripMs: tally?.roundTripMs ?? -1,
    presenceGraceMs: isFinal(code) || endSession ? 0 : edge.limits.presenceGraceMs,
    by,
  })
}

/** Its client does not come back by itself. */
function isFinal (code: ErrorCode): boolean { return code === 'kicked' || code === 'banned' }

/**
 * The acked seq began with what `connected` said, so it is no ack of a client that may not have read that. Only a crash
 * makes acks doubtful that came.
 */
function unreadAckedSeq ({ tally }: Connection): number {
  return tally && tally.downlinksAcked > 0 ? unknownCount : 0
}
