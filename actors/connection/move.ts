import { closeConnection } from './close.js'
import type { Connection } from './connection.js'

/** Asks a client to go on elsewhere. */
export interface Move {
  readonly type: 'migrate'
  /** What the client spreads its going over. */
  readonly withinMs: number
  readonly reason: string
  /** When the connection is ended if it is still here, ticks. */
  readonly leavesAt: number
}

/** Writes `migrate`. The client connects elsewhere, and the user actor or the client itself ends this connection. */
export function migrate (connection: Connection, { withinMs, reason, leavesAt }: Move): void {
  const { wire, edge, life } = connection
  life.ask(leavesAt)
  connection.write({ op: 'migrate', withinMs, endpoints: edge.alternates(wire.transport), reason })
}

/** Reads no more from now on, and closes with `migrating` once what was read is stored and acked. */
export function leave ({ life, edge }: Connection): void { life.leave(edge.ticks()) }

/** Ends the connection in the turn that finishes its last work. */
export function finishLeaving (connection: Connection): void {
  const { window, hasFrames } = connection
  if (window.awaitsAck || !window.isStored || hasFrames) return
  closeConnection(connection, 'migrating', 'this node takes its leave')
}
