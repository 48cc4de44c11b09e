import { closeConnection } from './close.js'
import { type Connection, never } from './connection.js'

/** Asks a client to go on elsewhere. */
export interface Move {
  readonly type: 'migrate'
  /** What the client spreads its going over. */
  readonly withinMs: number
  readonly reason: string
  /** When the connection is ended if it is still here, ticks. */
  readonly leavesAt: number
}

/** In `leavesAt`: it is being ended, and only what is under way is still finished. */
export const leaving = -1

/** Writes `migrate`. The client connects elsewhere, and the user actor or the client itself ends this connection. */
export function migrate (connection: Connection, { withinMs, reason, leavesAt }: Move): void {
  const { phase, wire, edge } = connection
  if (phase !== 'open' || connection.leavesAt === leaving) return
  connection.leavesAt = leavesAt
  wire.write({ op: 'migrate', withinMs, endpoints: edge.alternates(wire.transport), reason })
  connection.framesOut++
}

/** Reads no more from now on, and closes with `migrating` once what was read is stored and acked. */
export function leave (connection: Connection): void {
  if (connection.leavesAt === leaving) return
  connection.leavesAt = leaving
  connection.phaseAt = connection.edge.ticks()
}

/** Ends the connection in the turn that finishes its last work. @returns true where it did */
export function hasLeft (connection: Connection): boolean {
  if (connection.phase !== 'open' || connection.leavesAt !== leaving) return false
  const { forwardedSeq, ackedUplinkSeq, unstored, frames } = connection
  if (forwardedSeq > ackedUplinkSeq || unstored > 0 || frames.length > 0) return false
  closeConnection(connection, 'migrating', 'this node takes its leave')
  connection.leavesAt = never
  return true
}
