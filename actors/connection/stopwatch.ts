import type { Connection } from './connection.js'

/** Uplinks that are timed at once: so many, whatever the load, and a stall of all of them counts that often. */
const samplesMax = 64

/**
 * Of so many appends of uplinks one may be timed, the first one among them: to look at the clock three times for each
 * would cost a twentieth.
 */
const oneOf = 16

export interface Sample {
  readonly seq: number
  /** Its connection was: see `Connection.isQuiet`. */
  readonly isQuiet: boolean
  readonly appendedAtMs: number
  /** Commits of the log that had ended when it was appended. */
  readonly commits: number
  storedAtMs: number
  queuedMs: number
}

/** Where the time of one uplink went. */
export interface Timed {
  /** From its append until it was stored. */
  readonly logMs: number
  /** Of that, what it waited because commits before it had no room for it. */
  readonly queuedMs: number
  /** From there until its ack; 0 where the ack came first, because the owner of the partition had read it by then. */
  readonly accessMs: number
  readonly isQuiet: boolean
}

/**
 * Times uplinks, at most one of a connection and `samplesMax` of a node at any time: how long the ledger took to store
 * one, and how long all else took until its ack was there.
 */
export class Stopwatch {
  #samples = 0
  #appends = 0

  /** @param commits how many commits of the log have ended; 0 for ever where it does not say */
  constructor (readonly observe: (timed: Timed) => void, readonly commits: () => number) {}

  /** The connection's turn ends with an append. */
  appended (connection: Connection): void {
    const { window } = connection
    if (!window.awaitsAck || this.#appends++ % oneOf !== 0) return
    if (connection.sample || this.#samples >= samplesMax) return
    this.#samples++
    connection.sample = {
      seq: window.givenSeq,
      isQuiet: connection.isQuiet,
      appendedAtMs: performance.now(),
      commits: this.commits(),
      storedAtMs: 0,
      queuedMs: 0,
    }
  }

  stored (connection: Connection): void {
    const { sample } = connection
    if (sample?.storedAtMs !== 0) return
    sample.storedAtMs = performance.now()
    // The one under way, half of it in the mean, and its own: however slow the disk is, these are no queue.
    const commits = this.commits() - sample.commits
    if (commits > 2) sample.queuedMs = (sample.storedAtMs - sample.appendedAtMs) * (commits - 2) / (commits - 0.5)
  }

  acked (connection: Connection): void {
    const { sample } = connection
    if (!sample || connection.window.ackedSeq < sample.seq) return
    this.letGo(connection)
    const nowMs = performance.now()
    const storedAtMs = sample.storedAtMs || nowMs
    const { appendedAtMs, queuedMs, isQuiet } = sample
    this.observe({ logMs: storedAtMs - appendedAtMs, queuedMs, accessMs: nowMs - storedAtMs, isQuiet })
  }

  /** What the connection was waiting for will not come to it: it was refused, or the connection has ended. */
  letGo (connection: Connection): void {
    if (!connection.sample) return
    connection.sample = undefined
    this.#samples--
  }
}
