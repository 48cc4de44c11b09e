import type { Effect } from './effects.js'
import { type Connection, headSeq, type Kept, outboxMax, type Session, type UserState } from './state.js'

/*
  A session's outbox: downlinks from their request until they are acked, expired or dropped, oldest first.

  While a connection is open a downlink gets its seq at once. While the device is offline it waits without one, so that
  what expires meanwhile, wherever it stands, leaves no hole in the numbers. Once it has a seq it may have been written
  to a socket: the number stays with it, and it leaves at the head only. So a hole in the numbers is always one range
  right after the last ack, which is all that `connected` can announce (protocol.md 3, Connected).
*/

/** Adds a downlink, numbered where a connection is open; past `outboxMax` the oldest is dropped. */
export function enqueue (session: Session, kept: Kept, effects: Effect[]): void {
  if (session.outbox.length >= outboxMax) {
    expire(session, kept.requestedAtMs, effects)
    while (session.outbox.length >= outboxMax) loseHead(session, 'dropped', 'outbox-full', effects)
  }
  session.outbox.push(kept)
  if (session.connectionId !== '') number(session)
}

/**
 * Removes everything up to `ackedSeq`; a repeat, or more than was ever numbered, changes nothing.
 *
 * @param skippedSeq the one that the client's application could not process; 0 for none
 */
export function acknowledge (session: Session, ackedSeq: number, effects: Effect[], skippedSeq = 0): void {
  if (ackedSeq <= session.ackedSeq || ackedSeq >= session.nextSeq) return
  const first = headSeq(session)
  const count = Math.max(0, ackedSeq - first + 1)
  for (let i = 0; i < count; i++) {
    const isSkipped = first + i === skippedSeq && skippedSeq > 0
    effects.push(settled(
      session, session.outbox[i]!, first + i, isSkipped ? 'skipped' : 'acked', isSkipped ? 'skipped' : ''))
  }
  session.outbox.splice(0, count)
  session.numbered -= count
  session.ackedSeq = ackedSeq
}

/** Drops what is past its time: at the head, and everywhere among those without a number. */
export function expire (session: Session, nowMs: number, effects: Effect[]): void {
  while (session.numbered > 0 && session.outbox[0]!.expiresAtMs <= nowMs) loseHead(session, 'expired', 'ttl', effects)
  const { outbox, numbered } = session
  let to = numbered
  for (let from = numbered; from < outbox.length; from++) {
    const kept = outbox[from]!
    if (kept.expiresAtMs > nowMs) {
      outbox[to++] = kept
      continue
    }
    session.missed++
    effects.push(settled(session, kept, 0, 'expired', 'ttl'))
  }
  outbox.length = to
}

/** Gives a seq to all that have none. */
export function numberAll (session: Session): void {
  session.nextSeq += session.outbox.length - session.numbered
  session.numbered = session.outbox.length
}

/** Drops everything, for a session that ends. */
export function dropAll (session: Session, reason: string, effects: Effect[]): void {
  while (session.outbox.length > 0) loseHead(session, 'dropped', reason, effects)
}

/** The client has read the `connected` of this connection: what that announced is not announced again. */
export function announce (state: UserState, session: Session, connection: Connection): void {
  if (connection.downlinkSeq > session.toldSeq) session.toldSeq = connection.downlinkSeq
  const { missed } = connection
  if (missed === 0) return
  session.missed = Math.max(0, session.missed - missed)
  // A connection that opened before this was known announced the same ones: they must not be taken off twice.
  for (const other of state.connections.values()) {
    if (other.sessionOrdinal === connection.sessionOrdinal) other.missed = Math.max(0, other.missed - missed)
  }
}

/** Keeps a downlink of a user who has no session yet; past `outboxMax` one that has expired goes, else the oldest. */
export function wait ({ waiting }: UserState, kept: Kept, effects: Effect[]): void {
  waiting.push(kept)
  if (waiting.length <= outboxMax) return
  const expired = waiting.findIndex(({ expiresAtMs }) => expiresAtMs <= kept.requestedAtMs)
  const [gone] = waiting.splice(Math.max(0, expired), 1)
  effects.push({
    type: 'settle',
    messageId: gone!.messageId,
    deviceId: '',
    seq: 0,
    ...(expired < 0 ? { outcome: 'dropped', reason: 'waiting-full' } : { outcome: 'expired', reason: 'ttl' }),
  })
}

/** The user's first session gets what waited for one; what is not for it waits on. */
export function adoptWaiting (
  state: UserState, session: Session, isFor: (kept: Kept, session: Session) => boolean
): void {
  session.outbox = state.waiting.filter(kept => isFor(kept, session))
  state.waiting = state.waiting.filter(kept => !isFor(kept, session))
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
): Array<{ seq: number, downlink: Kept }> | undefined {
  const first = headSeq(session)
  if (afterSeq + 1 < first) return undefined
  const downlinks = []
  let bytes = 0
  for (let i = afterSeq + 1 - first; i < session.numbered; i++) {
    const downlink = session.outbox[i]!
    bytes += downlink.payload.length
    if (downlinks.length > 0 && bytes > bytesMax) break
    downlinks.push({ seq: first + i, downlink })
  }
  return downlinks
}

function number (session: Session): void {
  session.nextSeq++
  session.numbered++
}

function loseHead (session: Session, outcome: 'expired' | 'dropped', reason: string, effects: Effect[]): void {
  const numbered = session.numbered > 0
  const seq = numbered ? headSeq(session) : 0
  const kept = session.outbox.shift()!
  if (numbered) session.numbered--
  else session.missed++
  effects.push(settled(session, kept, seq, outcome, reason))
}

function settled (
  { deviceId }: Session, { messageId }: Kept, seq: number, outcome: 'acked' | 'skipped' | 'expired' | 'dropped',
  reason: string
): Effect {
  return { type: 'settle', messageId, deviceId, seq, outcome, reason }
}
