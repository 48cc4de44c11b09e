import type { DownlinkSkipped, UplinksRefused } from '../../schemas/facts.js'
import type { Connection } from './connection.js'
import type { RefusedRun } from './refusals.js'
import type { Repeats } from './repeats.js'

/** Uplinks that we refused ourselves for one reason and that the ledger does not know of yet. */
interface Refusal { readonly code: string, fromSeq: number, toSeq: number, count: number }

const none: never[] = []

/**
 * What a connection will tell of itself at its end. Made when there is first something to count, for most connections
 * are idle most of the time, and made once: nothing here is allocated for a message.
 */
export class Tally {
  /** Uplinks acked on it, downlinks written to its socket, and downlinks acked on it. */
  uplinks = 0
  downlinksWritten = 0
  downlinksAcked = 0
  /** Shortest time from writing a downlink to its ack; -1 for none. */
  roundTripMs = -1
  /** The downlink that is being timed, one at a time, 0 for none; and when it was written, ms of the process. */
  #timedSeq = 0
  #timedAtMs = 0
  /** One for each code. */
  refusals: Refusal[] = none
  /** What the client was told last of uplinks that were refused. */
  run: RefusedRun | undefined
  /** Acked uplinks that came again and are not answered yet. */
  repeats: Repeats | undefined
  /** Downlinks that the client skipped and that the ledger does not know of yet, in order. */
  skipped: DownlinkSkipped[] = none

  /** @returns whether this is the one that is timed */
  wrote (seq: number): boolean {
    this.downlinksWritten++
    if (this.#timedSeq !== 0) return false
    this.#timedSeq = seq
    this.#timedAtMs = Math.trunc(performance.now())
    return true
  }

  /** @returns ms from the write of the timed one to its ack; -1 where this is not the ack of that */
  acked (seq: number, count: number): number {
    this.downlinksAcked += count
    if (this.#timedSeq === 0 || seq < this.#timedSeq) return -1
    this.#timedSeq = 0
    const tookMs = Math.max(0, Math.trunc(performance.now()) - this.#timedAtMs)
    if (this.roundTripMs < 0 || tookMs < this.roundTripMs) this.roundTripMs = tookMs
    return tookMs
  }

  refused (code: string, fromSeq: number, toSeq: number, count: number): void {
    const known = this.refusals.find(refusal => refusal.code === code)
    if (!known) {
      this.refusals = [...this.refusals, { code, fromSeq, toSeq, count }]
      return
    }
    known.fromSeq = Math.min(known.fromSeq, fromSeq)
    known.toSeq = Math.max(known.toSeq, toSeq)
    known.count += count
  }
}

/** What the client skipped and the ledger does not know of yet; from now on it is taken to know it. */
export function takeSkipped ({ tally }: Connection): DownlinkSkipped[] {
  if (!tally || tally.skipped.length === 0) return none
  const { skipped } = tally
  tally.skipped = none
  return skipped
}

export function tallyOf (connection: Connection): Tally {
  connection.tally ??= new Tally()
  return connection.tally
}

/** The refusals that the ledger does not know of yet, as facts; from now on it is taken to know them. */
export function takeRefusals ({ connectionId, tally }: Connection): UplinksRefused[] {
  if (!tally || tally.refusals.length === 0) return none
  const { refusals } = tally
  tally.refusals = none
  return refusals.map(refusal => ({ type: 'UplinksRefused', connectionId, ...refusal }))
}
