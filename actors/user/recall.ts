import type { DownlinkRecalled } from '../../schemas/facts.js'
import { recallService } from '../../schemas/text.js'
import { encodeUtf8 } from '../../schemas/utf8.js'
import { nameOf, noContent } from '../requests.js'
import type { EffectList } from './effect-list.js'
import { isFor, type OutboxMessage } from './messages.js'
import { fitAll, takeUnnumbered, takeWaiting } from './outbox.js'
import { keep, sendOrQueue, unfiltered } from './sending.js'
import type { Session, UserState } from './state.js'

/*
  A downlink that business takes back (docs/decisions/0045-recall-and-replace.md). What has a number may have been
  written to a socket, so it stays; devices that may have it are told by a downlink of its own, where that is asked for.
*/

/**
 * What has become of a downlink that was to be taken back.
 *
 * - `recalled`: it waits for no device any more, and none has acked it
 * - `written`: a device may have it, or gets it
 * - `ended`: it had ended before
 * - `unknown`: the user never had it, or so long ago that it is forgotten
 */
export type RecallOutcome = 'recalled' | 'written' | 'ended' | 'unknown'

/** Takes out what waits without a number, of this id: in the waiting list and in outboxes. */
export function takeBack (state: UserState, messageId: string, effects: EffectList): void {
  const taken = new Set<OutboxMessage>()
  const isIt = (message: OutboxMessage) => message.messageId === messageId
  const takenFrom = (deviceId: string) => (message: OutboxMessage) => {
    taken.add(message)
    effects.settle(message, deviceId, 0, 'dropped', 'recalled')
  }
  takeWaiting(state, isIt, takenFrom(''))
  for (const session of state.sessions.values()) takeUnnumbered(state, session, isIt, takenFrom(session.deviceId))
  let acked = false
  for (const message of taken) {
    acked ||= message.acked
    // One that a device may still get stays handed over.
    if (message.holders === 0 && message.handedOver) effects.withdraw(message, [], 'recalled')
  }
  const isOver = taken.size > 0 && !acked && !isKept(state, messageId)
  if (isOver) state.requests.take(nameOf.recalled(messageId), noContent, effects.entry.atMs)
}

/** Takes it back, and tells the devices that may have it. */
export function recallAndTell (state: UserState, fact: DownlinkRecalled, effects: EffectList): void {
  const { messageId, noticeId, noticeTtlMs, outboxBytesMax, receipts } = fact
  const targets = noticeId === '' ? [] : mayHave(state, messageId)
  takeBack(state, messageId, effects)
  if (targets.length === 0) return
  const payload = encodeUtf8(messageId)
  const content = { messageId: noticeId, service: recallService, payload, ttlMs: noticeTtlMs, receipts }
  const notice = keep(state, effects.entry, content, unfiltered)
  for (const session of targets) sendOrQueue(state, session, notice, outboxBytesMax, effects)
  fitAll(state, notice, outboxBytesMax, effects)
}

/**
 * Sessions that may have been given the downlink: not those where it waits without a number, nor those that it was
 * never for. Nobody remembers who acked it, so of one that is kept nowhere these are all.
 */
export function mayHave (state: UserState, messageId: string): Session[] {
  const kept = keptOf(state, messageId)
  const sessions = []
  for (const session of state.sessions.values()) {
    const places = session.outbox.flatMap((message, i) => message.messageId === messageId ? [i] : [])
    const mayBe = places.length > 0
      ? places[0]! < session.numbered
      : kept.length === 0 || kept.some(message => isFor(message, session))
    if (mayBe) sessions.push(session)
  }
  return sessions
}

/** As far as the state tells. */
export function outcomeOfRecall (state: UserState, messageId: string): RecallOutcome {
  if (isKept(state, messageId)) return 'written'
  const { requests } = state
  if (requests.look(nameOf.recalled(messageId), noContent) !== 'first') return 'recalled'
  return requests.look(nameOf.downlink(messageId), noContent) === 'first' ? 'unknown' : 'ended'
}

function isKept (state: UserState, messageId: string): boolean { return keptOf(state, messageId).length > 0 }

function keptOf ({ messages }: UserState, messageId: string): OutboxMessage[] {
  const kept = []
  for (const message of messages) if (message.messageId === messageId) kept.push(message)
  return kept
}
