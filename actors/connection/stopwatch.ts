import type { Connection } from './connection.js'

/** Uplinks that are timed at once: so many, whatever the load, and a stall of all of them counts that often. */
const samplesMax = 64

/** Of so many appends one may be timed: to look at the clock three times for each would cost a twentieth. */
const oneOf = 16

export interface Sample { readonly seq: number, readonly appendedAtMs: number, storedAtMs: number }

/**
 * Times uplinks, at most one of a connection and `samplesMax` of a node at any time: how long the ledger took to store
 * one, and how long all else took until its ack was there.
 */
export class Stopwatch {
  #samples = 0
  #appends = 0

  /**
   * @param observe both in ms; `accessMs` is 0 where the ack came before the log told of the append, because the owner
   *   of the partition had read it by then
   */
  constructor (readonly observe: (logMs: number, accessMs: number) => void) {}

  /** The connection's turn ends with an append. */
  appended (connection: Connection): void {
    if (++this.#appends % oneOf !== 0 || connection.sample || this.#samples >= samplesMax) return
    const { window } = connection
    if (!window.awaitsAck) return
    this.#samples++
    connection.sample = { seq: window.givenSeq, appendedAtMs: performance.now(), storedAtMs: 0 }
  }

  stored (connection: Connection): void {
    const { sample } = connection
    if (sample?.storedAtMs === 0) sample.storedAtMs = performance.now()
  }

  acked (connection: Connection): void {
    const { sample } = connection
    if (!sample || connection.window.ackedSeq < sample.seq) return
    this.letGo(connection)
    const nowMs = performance.now()
    const storedAtMs = sample.storedAtMs || nowMs
    this.observe(storedAtMs - sample.appendedAtMs, nowMs - storedAtMs)
  }

  /** What the connection was waiting for will not come to it: it was refused, or the connection has ended. */
  letGo (connection: Connection): void {
    if (!connection.sample) return
    connection.sample = undefined
    this.#samples--
  }
}
