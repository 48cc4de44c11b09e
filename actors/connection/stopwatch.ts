import type { Connection } from './connection.js'

/** Uplinks that are timed at once: so many, whatever the load, and a stall of all of them counts that often. */
const samplesMax = 64

interface Sample { readonly seq: number, readonly appendedAtMs: number, storedAtMs: number }

/**
 * Times uplinks, at most one of a connection and `samplesMax` of a node at any time: how long the ledger took to store
 * one, and how long all else took until its ack was there.
 */
export class Stopwatch {
  readonly #samples = new Map<Connection, Sample>()

  /**
   * @param observe both in ms; `accessMs` is 0 where the ack came before the log told of the append, because the owner
   *   of the partition had read it by then
   */
  constructor (readonly observe: (logMs: number, accessMs: number) => void) {}

  /** The connection's turn ends with an append. */
  appended (connection: Connection): void {
    if (this.#samples.size >= samplesMax || this.#samples.has(connection)) return
    if (connection.forwardedSeq <= connection.ackedUplinkSeq) return
    this.#samples.set(connection, { seq: connection.forwardedSeq, appendedAtMs: performance.now(), storedAtMs: 0 })
  }

  stored (connection: Connection): void {
    const sample = this.#samples.get(connection)
    if (sample?.storedAtMs === 0) sample.storedAtMs = performance.now()
  }

  acked (connection: Connection): void {
    const sample = this.#samples.get(connection)
    if (!sample || connection.ackedUplinkSeq < sample.seq) return
    this.#samples.delete(connection)
    const nowMs = performance.now()
    const storedAtMs = sample.storedAtMs || nowMs
    this.observe(storedAtMs - sample.appendedAtMs, nowMs - storedAtMs)
  }

  /** What the connection was waiting for will not come to it: it was refused, or the connection has ended. */
  letGo (connection: Connection): void { this.#samples.delete(connection) }
}
