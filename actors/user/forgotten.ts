import { type Forgotten, forgottenMax, type Session, type UserState } from './state.js'

/*
  Sessions that had to make room for another device. What is lost with one is kept in mind, in some tens of bytes, so
  that its device is told should it come back (protocol.md 3, Connected).
*/

/** How long a device may be away and is told. */
const keptMs = 30 * 86_400_000

/**
 * Which session makes room for one more device: an offline one whose client never acked a downlink, as a page leaves
 * behind that draws a new device id each time it loads; else an offline one; else one that is online, which has to be
 * closed. Among equals the one that was touched longest ago.
 */
export function leastMissed (sessions: Iterable<Session>): Session | undefined {
  let least: Session | undefined
  for (const session of sessions) {
    if (!least || isLess(session, least)) least = session
  }
  return least
}

function isLess (a: Session, b: Session): boolean {
  return worth(a) === worth(b) ? a.touchedAtMs < b.touchedAtMs : worth(a) < worth(b)
}

function worth ({ connectionId, ackedSeq }: Session): number {
  return (connectionId === '' ? 0 : 2) + (ackedSeq > 0 ? 1 : 0)
}

/** Keeps in mind what is lost with a session, which is still as it was. */
export function rememberLost (state: UserState, session: Session, atMs: number): void {
  const { forgotten } = state
  const lost: Forgotten = {
    atMs,
    knownSeq: Math.max(session.ackedSeq, Math.min(session.toldSeq, session.nextSeq - 1)),
    lastSeq: session.nextSeq - 1,
    unnumbered: session.missed + session.outbox.length - session.numbered,
  }
  if (dropOld(forgotten, atMs)) state.forgottenChanged = true
  if (lostIn(lost, 0) === 0) return
  state.forgottenChanged = true
  forgotten.delete(session.deviceId)
  forgotten.set(session.deviceId, lost)
  if (forgotten.size > forgottenMax) forgotten.delete(leastOwed(forgotten))
}

/**
 * How many downlinks went with the device's session that was forgotten, and forgets that.
 *
 * @param downlinkSeq highest seq that the device says it has processed
 */
export function recallLost (state: UserState, deviceId: string, downlinkSeq: number): number {
  const lost = state.forgotten.get(deviceId)
  if (!lost) return 0
  state.forgotten.delete(deviceId)
  state.forgottenChanged = true
  return lostIn(lost, downlinkSeq)
}

function lostIn ({ knownSeq, lastSeq, unnumbered }: Forgotten, downlinkSeq: number): number {
  return unnumbered + Math.max(0, lastSeq - Math.max(knownSeq, downlinkSeq))
}

/** One at a time: an entry that is dated a year ahead must not take them all. */
function dropOld (forgotten: Map<string, Forgotten>, atMs: number): boolean {
  const [oldest] = forgotten
  return oldest !== undefined && oldest[1].atMs < atMs - keptMs && forgotten.delete(oldest[0])
}

/** The oldest whose client never knew of a downlink, or else the oldest. */
function leastOwed (forgotten: ReadonlyMap<string, Forgotten>): string {
  for (const [deviceId, { knownSeq }] of forgotten) if (knownSeq === 0) return deviceId
  return forgotten.keys().next().value!
}
