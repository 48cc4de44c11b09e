import type { WholeDownlink, WholeState } from '../../schemas/user-state.js'
import { bytesOfAll, type OutboxMessage } from './messages.js'
import { nameOf, noContent } from '../requests.js'
import { newUser, type UserState } from './state.js'

/** A state that an earlier version saved whole. Nothing of it is saved in parts yet: the next save writes all of it. */
export function stateOfWhole (whole: WholeState): UserState {
  const state = newUser()
  state.offset = BigInt(whole.offset)
  state.userSeq = whole.userSeq
  state.sessionsBegun = whole.sessionsBegun
  const known = new Map<string, OutboxMessage>()
  for (const session of whole.sessions) {
    const outbox = held(state, session.outbox, known)
    const outboxBytes = bytesOfAll(outbox)
    state.sessions.set(session.deviceId, {
      ...session,
      answers: sums(session.answers),
      outbox,
      outboxBytes,
      toldOnline: false,
      changed: true,
      outboxChanged: true,
      saved: false,
    })
  }
  state.waiting = held(state, whole.waiting, known)
  state.waitingBytes = bytesOfAll(state.waiting)
  for (const { connectionId, ...connection } of whole.connections) {
    const ordinal = ++state.connectionsBegun
    const since = { takesOver: false, tokenId: '', renewals: 0, endCode: '', endReason: '', endBy: '' } as const
    state.connections.set(connectionId, { ordinal, ...connection, ...since, changed: true, saved: false })
  }
  for (const { deviceId, ...lost } of whole.forgotten) state.forgotten.set(deviceId, lost)
  state.forgottenChanged = state.forgotten.size > 0
  restoreRequests(state, whole)
  return state
}

/** A downlink to many sessions stood in each of their outboxes. From here on it is one. */
function held (
  { messages }: UserState, downlinks: readonly WholeDownlink[], known: Map<string, OutboxMessage>
): OutboxMessage[] {
  const here = new Set<OutboxMessage>()
  return downlinks.map(downlink => {
    const key = keyOf(downlink)
    let message = known.get(key)
    // One that was redelivered in the millisecond of its request stands there twice.
    if (!message || here.has(message) || !Buffer.from(message.payload!).equals(downlink.payload)) {
      known.set(key, message = messages.begin({ ...downlink, payloadBytes: downlink.payload.length, receipts: false }))
    }
    here.add(message)
    messages.hold(message)
    return message
  })
}

function keyOf ({ payload: _, ...fields }: WholeDownlink): string {
  return JSON.stringify(fields)
}

/**
 * The first versions remember the ids themselves, of all kinds alike and without their times. Each counts as whatever
 * it may have been, and as requested when something last happened that the state has a time of.
 */
function restoreRequests (state: UserState, { requests: ids, remembered, sessions, waiting }: WholeState): void {
  const { requests } = state
  requests.restore(remembered, 0, false)
  if (ids.length === 0) return
  const times = sessions.flatMap(({ touchedAtMs, outbox }) => [touchedAtMs, outbox.at(-1)?.requestedAtMs ?? 0])
  const atMs = Math.max(0, ...times, waiting.at(-1)?.requestedAtMs ?? 0)
  for (const id of ids) {
    requests.add(nameOf.downlink(id), noContent, atMs)
    requests.add(nameOf.kick(id), noContent, atMs)
    for (let slash = id.indexOf('/'); slash >= 0; slash = id.indexOf('/', slash + 1)) {
      requests.add(nameOf.redelivery(id.slice(0, slash), id.slice(slash + 1)), noContent, atMs)
    }
  }
}

/** Answers follow each other closely, so their differences take a byte each. */
export function differences (numbers: readonly number[]): number[] {
  let last = 0
  return numbers.map(number => {
    const difference = number - last
    last = number
    return difference
  })
}

export function sums (differences: readonly number[]): number[] {
  let last = 0
  return differences.map(difference => { last += difference; return last })
}
