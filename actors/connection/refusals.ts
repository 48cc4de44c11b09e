import type { Connection } from './connection.js'
import { waitMs } from './rate.js'
import { tallyOf } from './tally.js'

/**
 * The uplinks from one hole on, none of which is accepted. Their client is told once and not once for each: until it
 * has mended the hole, or has begun again, it knows.
 */
export interface RefusedRun {
  /** The hole: nothing from it on was accepted. It is mended once this one is given to the ledger. */
  readonly expectedSeq: number
  readonly code: string
  readonly retryAfterMs: number
  /** Highest seq of the attempt. One that is not above it is from the next attempt. */
  upToSeq: number
  /** The client is to be told at the end of the turn. */
  due: boolean
  /** Until when the client was told to wait, ms of the process. */
  waitsUntilMs: number
}

/** What a client was told to wait may turn out to be too short by so much. */
const slackMs = 100

/** True for an uplink that the user actor would refuse, as it did with those before it. */
export function isBehindHole ({ tally, forwardedSeq }: Connection, seq: number): boolean {
  const run = tally?.run
  return run !== undefined && forwardedSeq < run.expectedSeq && seq > run.expectedSeq
}

/** Refuses an uplink that was not given to the ledger. */
export function refuseHere (connection: Connection, seq: number, code: 'throttled' | 'gap'): void {
  const tally = tallyOf(connection)
  // Not `seq`: an earlier one may be refused already, or this one be a repeat of what is accepted.
  const expectedSeq = connection.forwardedSeq + 1
  tally.refused(code, Math.min(expectedSeq, seq), seq, 1)
  connection.edge.reportSoon(connection)
  const { run } = tally
  if (!run || run.expectedSeq !== expectedSeq || seq <= run.upToSeq) {
    tally.run = runOf(expectedSeq, code, 0, seq)
    return
  }
  run.upToSeq = seq
  // What is over its rate has to wait longer with each.
  if (code === 'throttled' && run.code === code) run.due = true
}

/** The user actor refused an uplink. It does so for each behind a hole. */
export function refusedByUser (connection: Connection, expectedSeq: number, code: string): void {
  // From before the hole was mended, or one that the client was told of.
  if (expectedSeq <= connection.ackedUplinkSeq || connection.tally?.run?.expectedSeq === expectedSeq) return
  refuse(connection, expectedSeq, code, 0)
}

/** The ledger took nothing from `expectedSeq` on. */
export function refusedByLedger (
  connection: Connection, expectedSeq: number, code: string, retryAfterMs: number
): void {
  const run = connection.tally?.run
  // The append behind one that failed.
  if (run && connection.forwardedSeq < run.expectedSeq && expectedSeq >= run.expectedSeq) return
  refuse(connection, expectedSeq, code, retryAfterMs)
}

/** Nothing from `expectedSeq` on was accepted, so nothing of it is under way any more. */
function refuse (connection: Connection, expectedSeq: number, code: string, retryAfterMs: number): void {
  tallyOf(connection).run = runOf(expectedSeq, code, retryAfterMs, Math.max(connection.forwardedSeq, expectedSeq))
  connection.forwardedSeq = expectedSeq - 1
  connection.reading.settle(connection)
  connection.edge.stopwatch.letGo(connection)
}

function runOf (expectedSeq: number, code: string, retryAfterMs: number, upToSeq: number): RefusedRun {
  return { expectedSeq, code, retryAfterMs, upToSeq, due: true, waitsUntilMs: -Infinity }
}

/** At the end of a turn: tells what was refused in it, or before `connected`, unless the client knows. */
export function tellRefusal (connection: Connection): void {
  const run = connection.tally?.run
  if (!run?.due || connection.phase !== 'open') return
  run.due = false
  const { expectedSeq, code } = run
  if (connection.forwardedSeq >= expectedSeq) return // mended in the same turn
  const retryAfterMs = code === 'throttled' ? waitMs(connection) : run.retryAfterMs
  const untilMs = performance.now() + retryAfterMs
  if (untilMs <= run.waitsUntilMs + slackMs) return
  run.waitsUntilMs = untilMs
  connection.edge.count.uplinksRefused++
  connection.wire.write({ op: 'uplinkRefused', expectedSeq, code, retryAfterMs })
  connection.framesOut++
}
