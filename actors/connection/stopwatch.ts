import type { Connection } from './connection.js'

/** A sample that has got no ack for as long was refused or lost. */
const giveUpMs = 60_000

/**
 * Times one uplink after another, on whichever connection one comes first: how long the ledger took to store it, and
 * how long all else took until its ack was there. So the cost of it does not grow with the load.
 */
export class Stopwatch {
  #connection: Connection | undefined
  #seq = 0
  #appendedAtMs = 0
  #storedAtMs = 0

  /**
   * @param observe both in ms; `accessMs` is 0 where the ack came before the log told of the append, because the owner
   *   of the partition had read it by then
   */
  constructor (readonly observe: (logMs: number, accessMs: number) => void) {}

  /** The connection's turn ends with an append. */
  appended (connection: Connection): void {
    if (this.#connection && performance.now() - this.#appendedAtMs < giveUpMs) return
    if (connection.forwardedSeq <= connection.ackedUplinkSeq) return
    this.#connection = connection
    this.#seq = connection.forwardedSeq
    this.#appendedAtMs = performance.now()
    this.#storedAtMs = 0
  }

  stored (connection: Connection): void {
    if (this.#connection === connection && this.#storedAtMs === 0) this.#storedAtMs = performance.now()
  }

  acked (connection: Connection): void {
    if (this.#connection !== connection || connection.ackedUplinkSeq < this.#seq) return
    this.#connection = undefined
    const nowMs = performance.now()
    const storedAtMs = this.#storedAtMs || nowMs
    this.observe(storedAtMs - this.#appendedAtMs, nowMs - storedAtMs)
  }
}
