import { decodeUserState, encodeUserState } from '../../schemas/user-state.js'
import type { Connection, Kept, Session, UserState } from './state.js'

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
    requests: [...state.requests],
    waiting: inBuffers(state.waiting),
  })
}

/** avsc takes bytes in a Buffer only, and a payload is whatever view its reader made. */
function inBuffers (downlinks: Kept[]): Kept[] {
  if (downlinks.every(({ payload }) => Buffer.isBuffer(payload))) return downlinks
  return downlinks.map(kept => {
    const { buffer, byteOffset, byteLength } = kept.payload
    return { ...kept, payload: Buffer.from(buffer, byteOffset, byteLength) }
  })
}

/** @throws GatewayError `bad-record` */
export function decodeSnapshot (bytes: Buffer): UserState {
  const stored = decodeUserState(bytes)
  const sessions = new Map<string, Session>()
  for (const session of stored.sessions) sessions.set(session.deviceId, { ...session, answers: sums(session.answers) })
  const connections = new Map<string, Connection>()
  for (const { connectionId, ...connection } of stored.connections) connections.set(connectionId, connection)
  return {
    offset: BigInt(stored.offset),
    userSeq: stored.userSeq,
    sessionsBegun: stored.sessionsBegun,
    sessions,
    connections,
    requests: new Set(stored.requests),
    waiting: stored.waiting,
  }
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
