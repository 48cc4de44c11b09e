import type { Entry } from '../../schemas/facts.js'
import type { Connection } from './connection.js'

/** Told of the way of messages over a connection, where some of them are traced. */
export interface EdgeTracer {
  /** The turn of a connection gives these to the ledger. */
  appended (connection: Connection, entries: readonly Entry[]): void
  /** They are durable. */
  stored (connection: Connection, entries: readonly Entry[]): void
  /** The ack of all uplinks up to `seq` is written; `userSeqs` are the numbers of the last ones, ending there. */
  uplinksAcked (connection: Connection, seq: number, userSeqs: readonly number[]): void
  downlinkWritten (connection: Connection, seq: number, messageId: string, requestedAtMs: number): void
  /** The client has processed everything up to `seq`. */
  downlinksAcked (connection: Connection, seq: number): void
}
