import { GatewayError } from '../../schemas/errors.js'
import {
  bansCodec, connectionCodec, forgottenCodec, headCodec, membershipsCodec, messageCodec, sessionCodec, type StoredHead,
  type StoredSessionOutbox, wholeCodec,
} from '../../schemas/user-state.js'
import type { LoadedState, PartId, SavedState, StateChanges } from '../snapshots.js'
import { bytesOfAll, inlineBytesMax, type OutboxMessage, messagePart, payloadPart } from './messages.js'
import { endedSince } from './rebuilt.js'
import { requestParts, requestsMax } from '../requests.js'
import {
  bansPart, type Connection, connectionPart, connectionsMax, forgottenPart, membershipsPart, newUser, outboxMax,
  type Session, sessionPart, sessionsMax, type UserState,
} from './state.js'
import { differences, stateOfWhole, sums } from './whole-state.js'

/*
  A state in parts (docs/decisions/0016-states-in-parts.md), so that a save writes what has changed since the last one:

    head           numbers, and which of the other parts there are; written by every save
    s<ordinal>     a session, without the messages of its outbox
    c<ordinal>     a connection
    m<number>      a downlink, with its payload where that is small
    p<number>      the payload of a downlink otherwise, as it is
    r<chunk>       32 remembered requests
    f0             sessions that were forgotten
    b0             bans
    o0             rooms that business has the user in, once there were any

  All numbers are given by the fold, from entries alone: two owners of a user give the same ones to the same things.
*/

/** Runs of one session in the head; past it they stand in the part of the session. */
const headRunsMax = 16

const messagesMax = (sessionsMax + 1) * outboxMax

/** What is to be saved since the last call: the state takes it as saved. @throws what can not be encoded */
export function changesOf (state: UserState): StateChanges & { readonly head: Buffer } {
  const parts = encoded(state, false)
  const ended = state.gone.splice(0)
  if (state.rebuiltFrom) ended.push(...endedSince(state, state.rebuiltFrom))
  state.rebuiltFrom = undefined
  // What an earlier owner had begun to save may have the number of what is saved now.
  const gone = [...new Set(ended)].filter(id => !parts.added.has(id) && !parts.changed.has(id))
  if (state.forgottenChanged && state.forgotten.size === 0) gone.push(forgottenPart)
  if (state.bansChanged && state.bans.size === 0) gone.push(bansPart)
  state.forgottenChanged = state.bansChanged = state.membershipsChanged = false
  state.requests.saved()
  for (const session of state.sessions.values()) {
    session.changed = session.outboxChanged = false
    session.saved = true
  }
  for (const connection of state.connections.values()) {
    connection.changed = false
    connection.saved = true
  }
  for (const message of state.messages) message.saved = true
  return { ...parts, gone }
}

/**
 * The whole state in parts, whatever is saved of it already.
 *
 * @throws GatewayError `internal` where payloads were left out when the state was loaded
 */
export function savedStateOf (state: UserState): SavedState {
  const { head, added, changed } = encoded(state, true)
  const parts = new Map<PartId, Buffer>()
  for (const [id, bytes] of changed) parts.set(id, inBuffer(bytes))
  for (const [id, bytes] of added) parts.set(id, inBuffer(bytes))
  return { head, parts }
}

/**
 * The parts that `stateOf` wants beside this head: all but the payloads that are parts of their own.
 *
 * @throws GatewayError `bad-record`
 */
export function partsOf (head: Buffer): PartId[] {
  if (isUnsavable(head) || wholeCodec.reads(head)) return []
  const { sessions, connections, messages, requestsFirst, requestsEnd, forgotten, bans, memberships } = headOf(head)
  const parts = sessions.map(({ ordinal }) => sessionPart(ordinal))
  for (const ordinal of readRuns(connections, connectionsMax)) parts.push(connectionPart(ordinal))
  for (const number of readRuns(messages, messagesMax)) parts.push(messagePart(number))
  parts.push(...requestParts(requestsFirst, requestsEnd))
  if (forgotten) parts.push(forgottenPart)
  if (bans) parts.push(bansPart)
  if (memberships) parts.push(membershipsPart)
  return parts
}

/** The payloads of a loaded state that are parts of their own. */
export function payloadParts (state: UserState): PartId[] {
  const parts = []
  for (const { number, payload } of state.messages) if (payload === undefined) parts.push(payloadPart(number))
  return parts
}

/**
 * What folds on as if nothing had been in between. Payloads that are parts of their own and are not among those given
 * stay where they are. A state that an earlier version saved whole is one of which nothing is saved in parts.
 *
 * @throws GatewayError `bad-record` with the reason in words
 */
export function stateOf ({ head, parts }: SavedState): UserState {
  if (isUnsavable(head)) throw new GatewayError('bad-record', head.toString())
  if (wholeCodec.reads(head)) return stateOfWhole(wholeCodec.decode(head))
  const stored = headOf(head)
  const state = newUser()
  state.offset = BigInt(stored.offset)
  state.userSeq = stored.userSeq
  state.sessionsBegun = stored.sessionsBegun
  state.connectionsBegun = stored.connectionsBegun
  state.messages.begun = stored.messagesBegun
  state.presenceSeq = stored.presenceSeq
  state.receiptSeq = stored.receiptSeq
  state.offlineSeq = stored.offlineSeq
  const part = (id: PartId): Buffer => {
    const bytes = parts.get(id)
    if (!bytes) throw new GatewayError('bad-record', `part ${id} of a user state is missing`)
    return bytes
  }
  for (const number of readRuns(stored.messages, messagesMax)) {
    const message = messageCodec.decode(part(messagePart(number)))
    const payload = message.payload.length === message.payloadBytes ? message.payload : parts.get(payloadPart(number))
    state.messages.restore(number, { ...message, payload })
  }
  for (const message of messagesIn(state, stored.acked)) message.acked = true
  for (const message of messagesIn(state, stored.handedOver)) message.handedOver = true
  for (const outbox of stored.sessions) restoreSession(state, outbox, part(sessionPart(outbox.ordinal)))
  for (const ordinal of readRuns(stored.connections, connectionsMax)) {
    const { connectionId, ...connection } = connectionCodec.decode(part(connectionPart(ordinal)))
    const endCode = connection.endCode as Connection['endCode']
    state.connections.set(connectionId, { ordinal, ...connection, endCode, changed: false, saved: true })
  }
  state.waiting = held(state, stored.waiting)
  state.waitingBytes = bytesOfAll(state.waiting)
  const wrong = state.requests.restoreParts(parts, stored.requestsFirst, stored.requestsEnd)
  if (wrong !== undefined) throw new GatewayError('bad-record', `part ${wrong} of a user state is missing or too short`)
  if (stored.forgotten) {
    const { sessions } = forgottenCodec.decode(part(forgottenPart))
    for (const { deviceId, ...lost } of sessions) state.forgotten.set(deviceId, lost)
  }
  if (stored.bans) for (const ban of bansCodec.decode(part(bansPart)).bans) state.bans.set(ban.banId, { ...ban })
  if (stored.memberships) {
    const { version, rooms } = membershipsCodec.decode(part(membershipsPart))
    state.membershipsVersion = version
    for (const room of rooms) state.memberships.set(room.roomId, { ...room })
  }
  return state
}

/** In parts, what an earlier version saved whole; undefined for any other head, and for one that can not be read. */
export function wholeInParts (head: Buffer): SavedState | undefined {
  if (isUnsavable(head) || !wholeCodec.reads(head)) return undefined
  try {
    return savedStateOf(stateOf({ head, parts: new Map() }))
  } catch {
    return undefined
  }
}

/** As `stateOf`; what else is stored of the user, and nothing names, goes with the next save. */
export function loadedState (loaded: LoadedState): UserState {
  const state = stateOf(loaded)
  const named = new Set(payloadParts(state))
  for (const id of loaded.others) if (!named.has(id)) state.gone.push(id)
  return state
}

/** The head of a state that can not be saved: read as a state, it says why there is none. */
export function unsavable (reason: string): Buffer {
  return Buffer.from(unsavableMark + reason.slice(0, reasonCharsMax))
}

const unsavableMark = 'This state could not be saved: '
const reasonCharsMax = 500

function isUnsavable (head: Buffer): boolean {
  return head.toString('latin1', 0, unsavableMark.length) === unsavableMark
}

/** @param all whether they have changed or not */
function encoded (state: UserState, all: boolean): Omit<StateChanges, 'gone'> & { readonly head: Buffer } {
  const added = new Map<PartId, Uint8Array>()
  const changed = new Map<PartId, Uint8Array>()
  const sessions: StoredSessionOutbox[] = []
  for (const session of state.sessions.values()) {
    const runs = runsOf(session.outbox)
    const inSession = runs.length > 2 * headRunsMax
    sessions.push({ ordinal: session.ordinal, inSession, outbox: inSession ? [] : runs })
    if (!all && session.saved && !session.changed && !(inSession && session.outboxChanged)) continue
    changed.set(sessionPart(session.ordinal), encodedSession(session, inSession ? runs : []))
  }
  for (const [connectionId, connection] of state.connections) {
    if (!all && connection.saved && !connection.changed) continue
    changed.set(connectionPart(connection.ordinal), connectionCodec.encode({ ...connection, connectionId }))
  }
  for (const message of state.messages) if (all || !message.saved) addMessage(added, message)
  state.requests.collect(changed, all)
  const forgotten = state.forgotten.size > 0
  if (forgotten && (all || state.forgottenChanged)) changed.set(forgottenPart, encodedForgotten(state))
  const bans = state.bans.size > 0
  if (bans && (all || state.bansChanged)) changed.set(bansPart, bansCodec.encode({ bans: [...state.bans.values()] }))
  const memberships = state.membershipsVersion > 0
  if (memberships && (all || state.membershipsChanged)) changed.set(membershipsPart, encodedMemberships(state))
  const head = headCodec.encode({
    offset: Number(state.offset),
    userSeq: state.userSeq,
    sessionsBegun: state.sessionsBegun,
    connectionsBegun: state.connectionsBegun,
    messagesBegun: state.messages.begun,
    requestsFirst: state.requests.first,
    requestsEnd: state.requests.end,
    sessions,
    connections: writeRuns(state.connections.values(), ({ ordinal }) => ordinal),
    messages: runsOf(state.messages),
    waiting: runsOf(state.waiting),
    forgotten,
    bans,
    memberships,
    presenceSeq: state.presenceSeq,
    receiptSeq: state.receiptSeq,
    offlineSeq: state.offlineSeq,
    acked: runsOf(chosen(state.messages, ({ acked }) => acked)),
    handedOver: runsOf(chosen(state.messages, ({ handedOver }) => handedOver)),
  })
  return { head, added, changed }
}

function encodedSession (session: Session, outbox: number[]): Buffer {
  return sessionCodec.encode({ ...session, answers: differences(session.answers), outbox })
}

function encodedForgotten ({ forgotten }: UserState): Buffer {
  return forgottenCodec.encode({ sessions: Array.from(forgotten, ([deviceId, lost]) => ({ deviceId, ...lost })) })
}

function encodedMemberships ({ membershipsVersion, memberships }: UserState): Buffer {
  return membershipsCodec.encode({ version: membershipsVersion, rooms: [...memberships.values()] })
}

function addMessage (added: Map<PartId, Uint8Array>, message: OutboxMessage): void {
  const { number, payload, payloadBytes } = message
  if (payload === undefined) throw new GatewayError('internal', `the payload of ${message.messageId} is not at hand`)
  const isInline = payloadBytes <= inlineBytesMax
  added.set(messagePart(number), messageCodec.encode({ ...message, payload: isInline ? inBuffer(payload) : nothing }))
  if (!isInline) added.set(payloadPart(number), payload)
}

const nothing = Buffer.alloc(0)

/** avsc takes bytes in a Buffer only, and a payload is whatever view its reader made. */
function inBuffer (bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function headOf (head: Buffer): StoredHead {
  const stored = headCodec.decode(head)
  const { sessions, requestsFirst, requestsEnd } = stored
  if (sessions.length > sessionsMax) throw new GatewayError('bad-record', `a user state with ${sessions.length} sessions`)
  if (requestsFirst < 0 || requestsEnd - requestsFirst > requestsMax) {
    throw new GatewayError('bad-record', `a user state with requests ${requestsFirst} to ${requestsEnd}`)
  }
  return stored
}

function restoreSession (
  state: UserState, { ordinal, inSession, outbox: runs }: StoredSessionOutbox, part: Buffer
): void {
  const stored = sessionCodec.decode(part)
  if (stored.ordinal !== ordinal) throw new GatewayError('bad-record', `session ${ordinal} of a user state is ${stored.ordinal}`)
  const outbox = held(state, inSession ? stored.outbox : runs)
  state.sessions.set(stored.deviceId, {
    ...stored,
    answers: sums(stored.answers),
    outbox,
    outboxBytes: bytesOfAll(outbox),
    changed: false,
    outboxChanged: false,
    saved: true,
  })
}

function held (state: UserState, runs: readonly number[]): OutboxMessage[] {
  const outbox = messagesIn(state, runs, outboxMax)
  for (const message of outbox) state.messages.hold(message)
  return outbox
}

function messagesIn ({ messages }: UserState, runs: readonly number[], max = messagesMax): OutboxMessage[] {
  return readRuns(runs, max).map(number => {
    const message = messages.get(number)
    if (!message) throw new GatewayError('bad-record', `message ${number} of a user state is nowhere`)
    return message
  })
}

function * chosen (messages: Iterable<OutboxMessage>, isChosen: (message: OutboxMessage) => boolean) {
  for (const message of messages) if (isChosen(message)) yield message
}

function runsOf (messages: Iterable<OutboxMessage>): number[] {
  return writeRuns(messages, ({ number }) => number)
}

/**
 * Numbers as runs: how far each begins behind the end of the one before, and how many follow each other then. Nearly
 * all lists grow, so few runs and small numbers are enough.
 */
function writeRuns<T> (items: Iterable<T>, numberOf: (item: T) => number): number[] {
  const runs: number[] = []
  let next = 0
  for (const item of items) {
    const number = numberOf(item)
    if (number === next && runs.length > 0) runs[runs.length - 1]!++
    else runs.push(number - next, 1)
    next = number + 1
  }
  return runs
}

/** @throws GatewayError `bad-record` where they are not numbers of parts, at most `max` of them */
function readRuns (runs: readonly number[], max: number): number[] {
  const numbers: number[] = []
  let next = 0
  for (let i = 0; i < runs.length; i += 2) {
    const count = runs[i + 1] ?? 0
    next += runs[i]!
    if (next < 0 || count < 1 || numbers.length + count > max) {
      throw new GatewayError('bad-record', 'a user state with runs of numbers that can not be')
    }
    for (let n = 0; n < count; n++) numbers.push(next++)
  }
  return numbers
}

/** A state without what may differ between two that fold on alike: marks, and the numbers of parts. */
export function comparable (state: UserState): unknown {
  const { offset, userSeq, sessionsBegun, sessions, connections, requests, waiting, forgotten, bans } = state
  const { memberships, membershipsVersion, presenceSeq, receiptSeq, offlineSeq } = state
  const messages = new Map<OutboxMessage, unknown>()
  const message = (each: OutboxMessage) => {
    let plain = messages.get(each)
    if (!plain) {
      const payload = each.payload && inBuffer(each.payload)
      messages.set(each, plain = { ...each, payload, number: undefined, holders: undefined, saved: undefined })
    }
    return plain
  }
  return {
    offset,
    userSeq,
    sessionsBegun,
    sessions: Array.from(sessions.values(), ({ outbox, ...rest }) =>
      ({ ...rest, outbox: outbox.map(message), changed: undefined, outboxChanged: undefined, saved: undefined })),
    connections: Array.from(connections, ([connectionId, connection]) =>
      ({ ...connection, connectionId, ordinal: undefined, changed: undefined, saved: undefined })),
    requests: inBuffer(requests.bytes),
    waiting: waiting.map(message),
    forgotten: [...forgotten],
    bans: [...bans.values()],
    memberships: [...memberships.values()],
    membershipsVersion,
    presenceSeq,
    receiptSeq,
    offlineSeq,
  }
}
