import type { Connection } from './connection.js'
import { askForPlace, askUser } from './questions.js'
import { tallyOf } from './tally.js'

/**
 * The uplinks from one hole on, none of which is accepted. Their client is told once and not once for each: until it
 * has mended the hole, or has begun again, it knows.
 */
export interface RefusedRun {
  /** The hole: nothing from it on was accepted. It is mended once this one is given to the ledger. */
  expectedSeq: number
  readonly code: string
  readonly retryAfterMs: number
  /** Highest seq of the attempt. One that is not above it is from the next attempt. */
  upToSeq: number
  /** The client is to be told at the end of the turn. */
  due: boolean
  /** The user actor was asked whether there is a hole: what is missing here may have come by another connection. */
  asked: boolean
  /** Until when the client was told to wait, ms of the process. */
  waitsUntilMs: number
}

/** By how much a wait that a client was told may be too short. */
const slackMs = 100

/** Refuses an uplink that was not given to the ledger. */
export function refuseHere (
  connection: Connection, seq: number, code: 'throttled' | 'gap' | 'overloaded' | 'forbidden', retryAfterMs = 0
): void {
  const tally = tallyOf(connection)
  // Not always `seq`: an earlier one may be refused already, or this one be a repeat of what is accepted. Behind a hole
  // it is: what is missing never came, and whoever looks for it must not read that it was refused.
  const expectedSeq = connection.window.givenSeq + 1
  tally.refused(code, code === 'gap' ? seq : Math.min(expectedSeq, seq), seq, 1)
  connection.edge.reportSoon(connection)
  const { run } = tally
  if (!run || run.expectedSeq !== expectedSeq || seq <= run.upToSeq) {
    tally.run = runOf(expectedSeq, code, retryAfterMs, seq)
    if (code === 'gap') askFirst(connection, tally.run)
    return
  }
  run.upToSeq = seq
  // A sender over its rate has to wait longer with each uplink.
  if (code === 'throttled' && run.code === code) run.due = true
}

function askFirst (connection: Connection, run: RefusedRun): void {
  run.due = false
  run.asked = true
  askForPlace(connection)
}

/** From the user actor, that was asked: the last uplink that the session has. */
export function placeTold (connection: Connection, uplinkSeq: number): void {
  const run = connection.tally?.run
  if (!run?.asked) return
  run.asked = false
  run.due = true
  const { window } = connection
  // What was missing may have come by another connection.
  if (window.passOver(uplinkSeq)) askUser(connection, { welcomed: true, uplinkSeq: window.ackedSeq, bytesMax: 0 })
}

/** Whether the answer of the user actor is awaited. It may be lost. */
export function awaitsPlace ({ tally }: Connection): boolean { return tally?.run?.asked === true }

/** The user actor refused an uplink. It does so for each behind a hole. */
export function refusedByUser (connection: Connection, expectedSeq: number, code: string): void {
  // From before the hole was mended, or one that the client was told of.
  if (expectedSeq <= connection.window.ackedSeq || connection.tally?.run?.expectedSeq === expectedSeq) return
  refuse(connection, expectedSeq, code, 0)
}

/** The ledger took nothing from `expectedSeq` on. */
export function refusedByLedger (
  connection: Connection, expectedSeq: number, code: string, retryAfterMs: number
): void {
  const run = connection.tally?.run
  // The append behind one that failed.
  if (run && connection.window.givenSeq < run.expectedSeq && expectedSeq >= run.expectedSeq) return
  refuse(connection, expectedSeq, code, retryAfterMs)
}

/** Nothing from `expectedSeq` on was accepted, so nothing of it is under way any more. */
function refuse (connection: Connection, expectedSeq: number, code: string, retryAfterMs: number): void {
  const { window } = connection
  tallyOf(connection).run = runOf(expectedSeq, code, retryAfterMs, Math.max(window.givenSeq, expectedSeq))
  window.takeBack(expectedSeq)
  connection.reading.settle(connection)
  connection.edge.stopwatch.letGo(connection)
}

function runOf (expectedSeq: number, code: string, retryAfterMs: number, upToSeq: number): RefusedRun {
  return { expectedSeq, code, retryAfterMs, upToSeq, due: true, asked: false, waitsUntilMs: -Infinity }
}

/** At the end of a turn: tells what was refused in it, or before `connected`, unless the client knows. */
export function tellRefusal (connection: Connection): void {
  const run = connection.tally?.run
  if (!run?.due) return
  run.due = false
  const expectedSeq = connection.window.givenSeq + 1
  if (expectedSeq > Math.max(run.expectedSeq, run.upToSeq)) return // all of them came again in the same turn
  run.expectedSeq = expectedSeq
  const { code } = run
  const { edge } = connection
  const framesMs = code === 'throttled' ? connection.allowance.waitMs(edge.limits) : 0
  const retryAfterMs = Math.max(run.retryAfterMs, framesMs)
  const untilMs = performance.now() + retryAfterMs
  if (untilMs <= run.waitsUntilMs + slackMs) return
  run.waitsUntilMs = untilMs
  edge.count.refused(code)
  connection.write({ op: 'uplinkRefused', expectedSeq, code, retryAfterMs })
}
