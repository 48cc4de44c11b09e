import { GatewayError } from '../../schemas/errors.js'
import { decodeUserState, encodeUserState, type StoredUserState } from '../../schemas/user-state.js'
import { nameOf, noContent, Requests } from './requests.js'
import type { Connection, Forgotten, Kept, Session, UserState } from './state.js'

/** The state as bytes; what `decodeSnapshot` makes of them folds on as if nothing had been in between. */
export function encodeSnapshot (state: UserState): Buffer {
  const sessions = []
  for (const session of state.sessions.values()) {
    sessions.push({ ...session, answers: differences(session.answers), outbox: inBuffers(session.outbox) })
  }
  const connections = []
  for (const [connectionId, connection] of state.connections) connections.push({ ...connection, connectionId })
  return encodeUserState({
    offset: Number(state.offset),
    userSeq: state.userSeq,
    sessionsBegun: state.sessionsBegun,
    sessions,
    connections,
    requests: [],
    remembered: inBuffer(state.requests.bytes),
    waiting: inBuffers(state.waiting),
    forgotten: Array.from(state.forgotten, ([deviceId, lost]) => ({ deviceId, ...lost })),
  })
}

/** avsc takes bytes in a Buffer only, and a payload is whatever view its reader made. */
function inBuffers (downlinks: Kept[]): Kept[] {
  if (downlinks.every(({ payload }) => Buffer.isBuffer(payload))) return downlinks
  return downlinks.map(kept => ({ ...kept, payload: inBuffer(kept.payload) }))
}

function inBuffer ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

/** What stands in the place of a state that can not be saved: read as a state, it says why there is none. */
export function unsavable (reason: string): Buffer {
  return Buffer.from(unsavableMark + reason.slice(0, reasonCharsMax))
}

const unsavableMark = 'This state could not be saved: '
const reasonCharsMax = 500

/** @throws GatewayError `bad-record` with the reason in words */
export function decodeSnapshot (bytes: Buffer): UserState {
  if (bytes.toString('latin1', 0, unsavableMark.length) === unsavableMark) {
    throw new GatewayError('bad-record', bytes.toString())
  }
  const stored = decodeUserState(bytes)
  const sessions = new Map<string, Session>()
  for (const session of stored.sessions) sessions.set(session.deviceId, { ...session, answers: sums(session.answers) })
  const connections = new Map<string, Connection>()
  for (const { connectionId, ...connection } of stored.connections) connections.set(connectionId, connection)
  const forgotten = new Map<string, Forgotten>()
  for (const { deviceId, ...lost } of stored.forgotten) forgotten.set(deviceId, lost)
  return {
    offset: BigInt(stored.offset),
    userSeq: stored.userSeq,
    sessionsBegun: stored.sessionsBegun,
    sessions,
    connections,
    requests: requestsOf(stored),
    waiting: stored.waiting,
    forgotten,
  }
}

/**
 * Older states remember the ids themselves, of all kinds alike and without their times. Each counts as whatever it may
 * have been, and as requested when something last happened that the state has a time of.
 */
function requestsOf ({ requests: ids, remembered, sessions, waiting }: StoredUserState): Requests {
  const requests = Requests.from(remembered)
  if (ids.length === 0) return requests
  const times = sessions.flatMap(({ touchedAtMs, outbox }) => [touchedAtMs, outbox.at(-1)?.requestedAtMs ?? 0])
  const atMs = Math.max(0, ...times, waiting.at(-1)?.requestedAtMs ?? 0)
  for (const id of ids) {
    requests.add(nameOf.downlink(id), noContent, atMs)
    requests.add(nameOf.kick(id), noContent, atMs)
    for (let slash = id.indexOf('/'); slash >= 0; slash = id.indexOf('/', slash + 1)) {
      requests.add(nameOf.redelivery(id.slice(0, slash), id.slice(slash + 1)), noContent, atMs)
    }
  }
  return requests
}

/** Answers follow each other closely, so their differences take a byte each. */
function differences (numbers: readonly number[]): number[] {
  let last = 0
  return numbers.map(number => {
    const difference = number - last
    last = number
    return difference
  })
}

function sums (differences: readonly number[]): number[] {
  let last = 0
  return differences.map(difference => { last += difference; return last })
}
