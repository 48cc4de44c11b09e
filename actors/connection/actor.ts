import type { Entry } from '../../schemas/facts.js'
import type { Frame } from '../../schemas/frames.js'
import { closeConnection, recordCrash, sendAway, socketClosed } from './close.js'
import { Connection, type ConnectionEvent, type EdgeContext, wake } from './connection.js'
import { deliver, downlinkAcked, downlinkSkipped, fallenBehind, refill } from './downlinks.js'
import { connect, open, welcome } from './handshake.js'
import { ping } from './heartbeat.js'
import { hasLeft, leave, leaving, migrate } from './move.js'
import { allowed, hasCredit } from './rate.js'
import { refusedByUser, tellRefusal } from './refusals.js'
import { askForAnswers } from './repeats.js'
import { takeRefusals } from './tally.js'
import { freshToken, tokenRefused, tokenVerified } from './token.js'
import { acknowledge, isNext, notStored, uplink, uplinksLost, windowFull } from './uplinks.js'
import type { ActorSystem, Behaviour } from '../system.js'
import type { Wire } from './wire.js'

/**
 * Starts the actor of a socket.
 *
 * @param acceptedAt when its client was accepted, ticks: its handshake began then; by default now
 */
export function startConnection (wire: Wire, edge: EdgeContext, system: ActorSystem, acceptedAt?: number): Connection {
  const connection = new Connection(wire, edge, acceptedAt)
  connection.actor = system.spawn(behaviour, connection)
  return connection
}

const behaviour: Behaviour<Connection, typeof wake> = {
  receive,
  crashed (connection, _message, error) {
    const { edge, wire, connectionId, userId } = connection
    edge.failed('connection actor crashed', error, { connectionId, userId })
    recordCrash(connection)
    wire.destroy()
  },
}

/** One turn: everything that has collected, then one append and one write. */
function receive (connection: Connection): Connection {
  connection.woken = false
  if (connection.events.length > 0) {
    for (const event of connection.takeEvents()) handleEvent(connection, event)
  }
  if (connection.phase !== 'verifying') handleFrames(connection)
  if (connection.entries.length > 0) append(connection)
  else if (connection.frames.length === 0 && connection.phase !== 'verifying') connection.reading.handled(connection)
  if (connection.phase === 'open') {
    connection.greeted = true
    tellRefusal(connection)
    askForAnswers(connection)
    refill(connection)
  }
  connection.wire.flush()
  if (connection.phase === 'open' && fallenBehind(connection)) {
    closeConnection(connection, 'slow-consumer', 'the write queue passed its bound')
    append(connection)
  }
  if (connection.leavesAt === leaving && hasLeft(connection)) append(connection)
  if (windowFull(connection) || (connection.leavesAt === leaving && connection.phase === 'open')) connection.hold()
  // Frames are left where they must wait: no more are read until they are handled.
  else if (connection.phase !== 'verifying' && !connection.frameError && connection.frames.length === 0) {
    connection.release()
  }
  return connection
}

function handleFrames (connection: Connection): void {
  if (connection.frames.length > 0) {
    const atMs = Date.now()
    connection.heardAt = connection.edge.ticks()
    const frames = connection.takeFrames()
    for (let i = 0; i < frames.length; i++) {
      if (connection.phase === 'closing' || connection.phase === 'closed') return
      if (mustWait(connection, frames[i]!)) {
        connection.frames = frames.slice(i)
        return
      }
      connection.framesIn++
      handleFrame(connection, frames[i]!, atMs)
    }
  }
  const { frameError } = connection
  if (frameError && connection.phase !== 'verifying') {
    closeConnection(connection, frameError.code, frameError.message)
  }
}

/**
 * Behind `connect` everything waits until the token is verified. After that uplinks go to the ledger with the opening,
 * for their acks can't overtake its `connected`; what we would answer ourselves waits for that.
 */
function mustWait (connection: Connection, frame: Frame): boolean {
  switch (connection.phase) {
    case 'verifying': return true
    case 'opening':
      return frame.op === 'uplink' ? !hasCredit(connection) || !isNext(connection, frame.seq) : !leaves(frame)
    default: return false
  }
}

/** Ends the connection, so it need not wait for `connected`: a goodbye, or a token that comes too early. */
function leaves ({ op }: Frame): boolean { return op === 'disconnect' || op === 'token' }

function handleFrame (connection: Connection, frame: Frame, atMs: number): void {
  if (connection.phase === 'new') {
    if (frame.op === 'connect') connect(connection, frame)
    else closeConnection(connection, 'protocol', 'the first frame must be connect')
    return
  }
  const inRate = allowed(connection)
  if (connection.phase === 'closing') return
  switch (frame.op) {
    case 'uplink': uplink(connection, frame, atMs, inRate); return
    case 'downlinkAck': downlinkAcked(connection, frame.seq); return
    case 'downlinkSkipped': downlinkSkipped(connection, frame.seq, frame.reason); return
    case 'ping': ping(connection, frame); return
    case 'token': freshToken(connection, frame.token); return
    case 'disconnect': closeConnection(connection, 'disconnected', '', { endSession: frame.endSession }); return
    case 'connect': closeConnection(connection, 'protocol', 'a second connect'); return
    default: closeConnection(connection, 'protocol', `${frame.op} is not for clients to send`)
  }
}

function handleEvent (connection: Connection, event: ConnectionEvent): void {
  if (event.type === 'socketClosed') {
    // What it sent before it left counts.
    if (connection.phase === 'open' || connection.phase === 'opening') handleFrames(connection)
    socketClosed(connection, event.clean)
    return
  }
  if (connection.phase === 'closing' || connection.phase === 'closed') return
  switch (event.type) {
    case 'ackUplinks': acknowledge(connection, event.seq, event.userSeqs); return
    case 'deliver': deliver(connection, event.seq, event.downlink); return
    case 'signal':
      if (connection.phase !== 'open') return
      connection.wire.writeSignal(event.signal)
      connection.framesOut++
      connection.edge.count.signals++
      return
    case 'stored': connection.unstored -= event.entries; return
    case 'notStored': notStored(connection, event.entries, event.error); return
    case 'refuseUplink': refusedByUser(connection, event.expectedSeq, event.code); return
    case 'verified': open(connection, event.connect, event.identity); return
    case 'welcome': welcome(connection, event); return
    case 'tokenVerified': tokenVerified(connection, event.identity); return
    case 'tokenRefused': tokenRefused(connection, event.token, event.refusal); return
    case 'closeConnection': closeConnection(connection, event.code, event.reason); return
    case 'sendAway': sendAway(connection); return
    case 'fail': closeConnection(connection, event.code, event.reason, { retryAfterMs: event.retryAfterMs ?? 0 }); return
    case 'migrate': migrate(connection, event); return
    case 'leave': leave(connection); return
    case 'gone':
      if (connection.phase !== 'open') return
      closeConnection(connection, 'slow-consumer', 'downlinks that it has not been sent are gone')
      break
    case 'drained': // the turn itself asks for more
  }
}

function append (connection: Connection): void {
  const { edge, partition } = connection
  const entries = connection.takeEntries()
  connection.unstored += entries.length
  edge.stopwatch.appended(connection)
  const bytes = connection.reading.appended(connection)
  edge.append(partition, entries).then(
    () => {
      edge.stopwatch.stored(connection)
      stored(connection, entries.length)
      connection.reading.hasOutcome(connection, bytes)
    },
    error => {
      stored(connection, entries.length)
      connection.reading.hasOutcome(connection, bytes)
      const last = entries[entries.length - 1]!
      if (last.fact.type === 'ConnectionClosed') endLater(connection, entries, last, error)
      else connection.tell({ type: 'notStored', entries, error })
    })
}

/** The end of a connection could not be stored with what came before it. Nobody is left to send that again. */
function endLater (connection: Connection, entries: readonly Entry[], closed: Entry, error: Error): void {
  const { edge, partition, userId } = connection
  if (entries.some(({ fact }) => fact.type === 'ConnectionOpened')) return // nor does the ledger know of its opening
  uplinksLost(connection, entries, error)
  for (const entry of entries) if (entry.fact.type === 'UplinksRefused') edge.appendLater(partition, entry)
  for (const fact of takeRefusals(connection)) edge.appendLater(partition, { userId, atMs: closed.atMs, fact })
  edge.appendLater(partition, closed)
}

/** Only a connection that is held needs a turn for it. */
function stored (connection: Connection, entries: number): void {
  if (connection.reading.isHeld) connection.tell({ type: 'stored', entries })
  else connection.unstored -= entries
}
