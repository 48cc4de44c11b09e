import type { EffectList } from './effect-list.js'
import { isFor, type OutboxMessage } from './messages.js'
import { type Connection, headSeq, outboxesFactor, outboxMax, type Session, type UserState } from './state.js'

/*
  A session's outbox: downlinks from their request until they are acked, expired or dropped, oldest first. Nobody else
  changes it, nor the waiting list.

  While a connection is open a downlink gets its seq at once. While the device is offline it waits without one, so that
  what expires meanwhile, wherever it stands, leaves no hole in the numbers. Once it has a seq it may have been written
  to a socket: the number stays with it, and it leaves at the head only. So a hole in the numbers is always one range
  right after the last ack, which is all that `connected` can announce (protocol.md 3, Connected).

  Bounds in bytes come with the entry that adds a downlink (docs/decisions/0002-rules-travel-in-facts.md); 0 is none.
*/

/**
 * Adds a downlink, numbered where a connection is open. Past a bound expired ones go first, then the oldest. A downlink
 * that is larger than the whole bound stays, alone.
 */
export function enqueue (
  state: UserState, session: Session, message: OutboxMessage, bytesMax: number, effects: EffectList
): void {
  if (isFull(session, message, bytesMax)) {
    expire(state, session, message.requestedAtMs, effects)
    while (isFull(session, message, bytesMax)) loseHead(state, session, 'dropped', 'outbox-full', effects)
  }
  session.outbox.push(message)
  session.outboxBytes += message.bytes
  session.outboxChanged = true
  state.messages.hold(message)
  if (session.connectionId !== '') number(session)
}

function isFull ({ outbox, outboxBytes }: Session, message: OutboxMessage, bytesMax: number): boolean {
  if (outbox.length >= outboxMax) return true
  return bytesMax > 0 && outbox.length > 0 && outboxBytes + message.bytes > bytesMax
}

/**
 * Keeps all outboxes of the user together within their bound, once `added` is in every outbox that it is for. While
 * they are over it the session with the most bytes, of equals the one that began first, loses what has expired, then
 * its oldest.
 */
export function fitAll (state: UserState, added: OutboxMessage, bytesMax: number, effects: EffectList): void {
  if (bytesMax === 0) return
  while (state.messages.bytes > outboxesFactor * bytesMax) {
    let largest: Session | undefined
    for (const session of state.sessions.values()) {
      if (session.outbox.length === 0 || session.outbox[0] === added) continue
      if (!largest || session.outboxBytes > largest.outboxBytes) largest = session
    }
    if (!largest) return
    const before = effects.length
    expire(state, largest, added.requestedAtMs, effects)
    if (effects.length === before) loseHead(state, largest, 'dropped', 'outbox-full', effects)
  }
}

/**
 * Removes everything up to `ackedSeq`; a repeat, or more than was ever numbered, changes nothing.
 *
 * @param skippedSeq the one that the client's application could not process; 0 for none
 */
export function acknowledge (
  state: UserState, session: Session, ackedSeq: number, effects: EffectList, skippedSeq = 0
): void {
  if (ackedSeq <= session.ackedSeq || ackedSeq >= session.nextSeq) return
  const first = headSeq(session)
  const count = Math.max(0, ackedSeq - first + 1)
  for (let i = 0; i < count; i++) {
    const message = session.outbox[i]!
    const isSkipped = first + i === skippedSeq && skippedSeq > 0
    effects.settle(message, session.deviceId, first + i, isSkipped ? 'skipped' : 'acked', isSkipped ? 'skipped' : '')
    left(state, session, message)
  }
  session.outbox.splice(0, count)
  session.numbered -= count
  session.ackedSeq = ackedSeq
  session.changed = true
}

/** Drops what has expired: from the head, and anywhere among those without a number. */
export function expire (state: UserState, session: Session, nowMs: number, effects: EffectList): void {
  while (session.numbered > 0 && session.outbox[0]!.expiresAtMs <= nowMs) {
    loseHead(state, session, 'expired', 'ttl', effects)
  }
  const { outbox, numbered } = session
  let to = numbered
  for (let from = numbered; from < outbox.length; from++) {
    const message = outbox[from]!
    if (message.expiresAtMs > nowMs) {
      outbox[to++] = message
      continue
    }
    session.missed++
    session.changed = true
    effects.settle(message, session.deviceId, 0, 'expired', 'ttl')
    left(state, session, message)
  }
  outbox.length = to
}

/** Takes chosen downlinks out that have no number: this leaves no hole, and the client misses nothing. */
export function takeUnnumbered (
  state: UserState, session: Session, isChosen: (message: OutboxMessage) => boolean,
  taken: (message: OutboxMessage) => void
): void {
  session.outbox = session.outbox.filter((message, i) => {
    if (i < session.numbered || !isChosen(message)) return true
    taken(message)
    left(state, session, message)
    return false
  })
}

/** Takes chosen downlinks out that wait for a first session. */
export function takeWaiting (
  state: UserState, isChosen: (message: OutboxMessage) => boolean, taken: (message: OutboxMessage) => void
): void {
  state.waiting = state.waiting.filter(message => {
    if (!isChosen(message)) return true
    taken(message)
    state.waitingBytes -= message.bytes
    state.messages.release(message)
    return false
  })
}

/** Gives a seq to all that have none. */
export function numberAll (session: Session): void {
  session.nextSeq += session.outbox.length - session.numbered
  session.numbered = session.outbox.length
  session.changed = true
}

/** Drops everything, for a session that ends. */
export function dropAll (state: UserState, session: Session, reason: string, effects: EffectList): void {
  while (session.outbox.length > 0) loseHead(state, session, 'dropped', reason, effects)
}

/** The client has read the `connected` of this connection, so what that announced is not announced again. */
export function announce (state: UserState, session: Session, connection: Connection): void {
  if (connection.downlinkSeq > session.toldSeq) {
    session.toldSeq = connection.downlinkSeq
    session.changed = true
  }
  const { missed } = connection
  if (missed === 0) return
  session.missed = Math.max(0, session.missed - missed)
  session.changed = true
  // A connection that opened before this was known announced the same ones: they must not be taken off twice.
  for (const other of state.connections.values()) {
    if (other.sessionOrdinal !== connection.sessionOrdinal || other.missed === 0) continue
    other.missed = Math.max(0, other.missed - missed)
    other.changed = true
  }
}

/**
 * Keeps a downlink of a user who has no session yet; past a bound one that has expired goes, else the oldest. One
 * that is larger than all the room there is stays alone.
 */
export function wait (state: UserState, message: OutboxMessage, bytesMax: number, effects: EffectList): void {
  const { waiting } = state
  waiting.push(message)
  state.waitingBytes += message.bytes
  state.messages.hold(message)
  const isOver = () => waiting.length > outboxMax ||
    (bytesMax > 0 && waiting.length > 1 && state.waitingBytes > bytesMax)
  while (isOver()) {
    const expired = waiting.findIndex(({ expiresAtMs }) => expiresAtMs <= message.requestedAtMs)
    const [gone] = waiting.splice(Math.max(0, expired), 1)
    state.waitingBytes -= gone!.bytes
    state.messages.release(gone!)
    if (expired < 0) effects.settle(gone!, '', 0, 'dropped', 'waiting-full')
    else effects.settle(gone!, '', 0, 'expired', 'ttl')
  }
}

/** Gives the user's first session what waited for one. What is not for this session goes on waiting. */
export function adoptWaiting (state: UserState, session: Session): void {
  const { waiting } = state
  if (waiting.length === 0) return
  state.waiting = []
  for (const message of waiting) {
    if (isFor(message, session)) {
      session.outbox.push(message)
      session.outboxBytes += message.bytes
      state.waitingBytes -= message.bytes
    } else state.waiting.push(message)
  }
  session.outboxChanged = true
}

/**
 * Downlinks that a connection misses, oldest first.
 *
 * @param afterSeq highest seq that it has written
 * @param bytesMax payload bytes after which to stop; the first one comes whatever its size
 * @returns undefined where the one after `afterSeq` is gone: the connection can't go on without a new `connected`
 */
export function missing (
  session: Session, afterSeq: number, bytesMax: number
): Array<{ seq: number, message: OutboxMessage }> | undefined {
  const first = headSeq(session)
  if (afterSeq + 1 < first) return undefined
  const missed = []
  let bytes = 0
  for (let i = afterSeq + 1 - first; i < session.numbered; i++) {
    const message = session.outbox[i]!
    bytes += message.payloadBytes
    if (missed.length > 0 && bytes > bytesMax) break
    missed.push({ seq: first + i, message })
  }
  return missed
}

function number (session: Session): void {
  session.nextSeq++
  session.numbered++
  session.changed = true
}

function loseHead (
  state: UserState, session: Session, outcome: 'expired' | 'dropped', reason: string, effects: EffectList
): void {
  const numbered = session.numbered > 0
  const seq = numbered ? headSeq(session) : 0
  const message = session.outbox.shift()!
  if (numbered) session.numbered--
  else session.missed++
  session.changed = true
  effects.settle(message, session.deviceId, seq, outcome, reason)
  left(state, session, message)
}

/** Lets go of a message that is out of the outbox, or will be at the end of the caller's loop. */
function left (state: UserState, session: Session, message: OutboxMessage): void {
  session.outboxBytes -= message.bytes
  session.outboxChanged = true
  state.messages.release(message)
}
