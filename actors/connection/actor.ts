import type { Entry } from '../../schemas/facts.js'
import type { ClientFrame, Uplink } from '../../schemas/frames.js'
import { closeConnection, closeUnopened, recordCrash, sendAway, socketClosed } from './close.js'
import { Connection, wake } from './connection.js'
import type { EdgeContext } from './edge-context.js'
import type { ConnectionEvent, Incoming } from './events.js'
import { deliver, downlinkAcked, downlinkSkipped, fallenBehind, refill } from './downlinks.js'
import { connect, open, welcome } from './handshake.js'
import { ping } from './heartbeat.js'
import { finishLeaving, leave, migrate } from './move.js'
import { eventRules, frameRules, type Rule, turnEnds } from './phases.js'
import { take, wholeMs } from './rate.js'
import { placeTold, refusedByUser, tellRefusal } from './refusals.js'
import { askForAnswers } from './repeats.js'
import { join, leave as leaveRoom, membershipsTold } from './rooms.js'
import { takeRefusals } from './tally.js'
import { freshToken, tokenRefused, tokenVerified, tryAgain } from './token.js'
import { acknowledge, mayBeEarly, notStored, uplink, uplinksLost } from './uplinks.js'
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

/** One turn: handles all that has collected, then makes one append and one write. */
function receive (connection: Connection): Connection {
  connection.wokeUp()
  if (connection.hasEvents) {
    for (const event of connection.takeEvents()) handleEvent(connection, event)
  }
  if (connection.hasFrames) handleFrames(connection)
  const { life } = connection
  const { answers, letsGo } = turnEnds[life.at]!
  if (connection.hasEntries) append(connection)
  else if (letsGo && !connection.hasFrames) connection.reading.handled(connection)
  if (answers) answer(connection)
  connection.wire.flush()
  if (!life.isOver && fallenBehind(connection)) {
    closeConnection(connection, 'slow-consumer', 'the write queue passed its bound')
  }
  if (turnEnds[life.at]!.finishes) finishLeaving(connection)
  if (connection.hasEntries) append(connection)
  readOn(connection)
  return connection
}

function answer (connection: Connection): void {
  connection.cursor.greet()
  if (connection.tally) {
    tellRefusal(connection)
    askForAnswers(connection)
  }
  refill(connection)
  if (connection.rooms?.isBehind) connection.edge.rooms.drained(connection)
}

/** Handles frames. Those that must wait stay, and no more are read until they are handled. */
function readOn (connection: Connection): void {
  const { window, edge, life } = connection
  const { reads } = turnEnds[life.at]!
  if (reads === 'no' || (reads === 'room' && window.isFull(edge.limits.uplinkWindow))) connection.hold()
  else if (!connection.hasFrames) connection.release()
}

function handleFrames (connection: Connection): void {
  const { life, edge } = connection
  const atMs = Date.now()
  const nowMs = wholeMs()
  life.heard(edge.ticks())
  const frames = connection.takeFrames()
  let op = ''
  let at = -1
  let rule: Rule = 'ignore'
  for (let i = 0; i < frames.length; i++) {
    const frame = frames[i]!
    // Most frames of a read are of one kind.
    if (frame.op !== op || life.at !== at) {
      op = frame.op
      at = life.at
      rule = frameRules[frame.op][at]!
    }
    if (rule === 'ignore') return
    if (rule === 'wait' || (rule === 'early' && !mayBeEarly(connection, frame as Uplink))) {
      connection.putBack(frames, i)
      return
    }
    if (typeof rule === 'object') {
      connection.countFrame()
      closeConnection(connection, rule.code, rule.reason)
    } else handleFrame(connection, frame as Handled, atMs, nowMs)
  }
}

/** Handles a frame that the table of phases lets through. */
type Handled = Extract<Incoming, ClientFrame | { op: 'unreadable' }>

function handleFrame (connection: Connection, frame: Handled, atMs: number, nowMs: number): void {
  if (frame.op === 'unreadable') {
    closeConnection(connection, frame.error.code, frame.error.message)
    return
  }
  connection.countFrame()
  if (frame.op === 'connect') { // not of the rate, which is that of a client that was let in
    connect(connection, frame)
    return
  }
  const allowed = take(connection, nowMs)
  if (allowed === 'closed') return
  switch (frame.op) {
    case 'uplink': uplink(connection, frame, atMs, allowed === 'in'); return
    case 'downlinkAck': downlinkAcked(connection, frame.seq); return
    case 'downlinkSkipped': downlinkSkipped(connection, frame.seq, frame.reason); return
    case 'ping': ping(connection, frame); return
    case 'token': freshToken(connection, frame.token); return
    case 'join': join(connection, frame); return
    case 'leave': leaveRoom(connection, frame.roomId); return
    case 'disconnect': closeConnection(connection, 'disconnected', '', { endSession: frame.endSession })
  }
}

function handleEvent (connection: Connection, event: ConnectionEvent): void {
  const rule = eventRules[event.type][connection.life.at]
  if (rule === 'ignore') return
  switch (event.type) {
    case 'ackUplinks': acknowledge(connection, event.seq, event.userSeqs); return
    case 'deliver': deliver(connection, event.seq, event.downlink); return
    case 'signal':
      connection.writeSignal(event.signal)
      connection.edge.count.signals++
      return
    case 'memberships': membershipsTold(connection, event); return
    case 'stored': connection.window.settle(event.entries); return
    case 'notStored': notStored(connection, event.entries, event.error); return
    case 'notOpened': closeUnopened(connection); return
    case 'refuseUplink': refusedByUser(connection, event.expectedSeq, event.code); return
    case 'verified': open(connection, event.connect, event.identity); return
    case 'welcome':
      if (rule === 'again') placeTold(connection, event.uplinkSeq)
      else welcome(connection, event)
      return
    case 'tokenVerified': tokenVerified(connection, event.identity); return
    case 'tokenRefused': tokenRefused(connection, event.token, event.refusal); return
    case 'tokenDue': tryAgain(connection, event.token); return
    case 'closeConnection': closeConnection(connection, event.code, event.reason, { by: event.by }); return
    case 'sendAway': sendAway(connection); return
    case 'fail': closeConnection(connection, event.code, event.reason, { retryAfterMs: event.retryAfterMs ?? 0 }); return
    case 'migrate': migrate(connection, event); return
    case 'leave': leave(connection); return
    case 'stay': connection.life.stay(); return
    case 'gone': closeConnection(connection, 'slow-consumer', 'downlinks that it has not been sent are gone'); return
    case 'socketClosed':
      // What the client sent before it left counts.
      if (rule === 'after' && connection.hasFrames) handleFrames(connection)
      socketClosed(connection, event.clean)
  }
}

function append (connection: Connection): void {
  const { edge, partition } = connection
  const entries = connection.takeEntries()
  connection.window.append(entries.length)
  edge.stopwatch.appended(connection)
  edge.tracer?.appended(connection, entries)
  const bytes = connection.reading.appended(connection)
  edge.append(partition, entries).then(
    () => {
      edge.stopwatch.stored(connection)
      edge.tracer?.stored(connection, entries)
      stored(connection, entries.length)
      connection.reading.hasOutcome(connection, bytes)
    },
    error => {
      stored(connection, entries.length)
      connection.reading.hasOutcome(connection, bytes)
      const last = entries[entries.length - 1]!
      if (last.fact.type === 'ConnectionClosed') endLater(connection, entries, last, error)
      else if (entries[0]!.fact.type === 'ConnectionOpened') connection.tell({ type: 'notOpened' })
      else connection.tell({ type: 'notStored', entries, error })
    })
}

/** Keeps the end of a connection that could not be stored: nobody is left who would send it again. */
function endLater (connection: Connection, entries: readonly Entry[], closed: Entry, error: Error): void {
  const { edge, partition, userId } = connection
  if (entries.some(({ fact }) => fact.type === 'ConnectionOpened')) return // nor does the ledger know of its opening
  uplinksLost(connection, entries, error)
  for (const entry of entries) if (entry.fact.type === 'UplinksRefused') edge.appendLater(partition, entry)
  for (const fact of takeRefusals(connection)) edge.appendLater(partition, { userId, atMs: closed.atMs, fact })
  edge.appendLater(partition, closed)
}

/** Only a connection that is held needs a turn for this event. */
function stored (connection: Connection, entries: number): void {
  if (connection.reading.isHeld) connection.tell({ type: 'stored', entries })
  else connection.window.settle(entries)
}
