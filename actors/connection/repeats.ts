import type { Connection } from './connection.js'
import { askUser } from './questions.js'
import { tallyOf } from './tally.js'

/** Acked uplinks that came again: the user actor knows the numbers that they got, and is asked for them. */
export interface Repeats {
  fromSeq: number
  toSeq: number
  /** What the user actor was asked from; Infinity until it is. */
  askedSeq: number
  /** Answers that will come to earlier questions, which did not reach down to `fromSeq`. */
  earlier: number
}

/** An uplink that the ledger was given before. The ack of one that is under way covers its repeat. */
export function repeated (connection: Connection, seq: number): void {
  const { window: { ackedSeq }, edge } = connection
  if (seq > ackedSeq) return
  if (seq <= ackedSeq - edge.limits.uplinkWindow) { // nobody has to remember its number
    answer(connection, seq, [])
    return
  }
  const tally = tallyOf(connection)
  const { repeats } = tally
  if (!repeats) {
    tally.repeats = { fromSeq: seq, toSeq: seq, askedSeq: Infinity, earlier: 0 }
    return
  }
  repeats.fromSeq = Math.min(repeats.fromSeq, seq)
  repeats.toSeq = Math.max(repeats.toSeq, seq)
}

/** At the end of a turn: asks for the numbers, unless an answer is on its way that has them. */
export function askForAnswers (connection: Connection): void {
  const repeats = connection.tally?.repeats
  if (!repeats || repeats.fromSeq >= repeats.askedSeq) return
  if (repeats.askedSeq !== Infinity) repeats.earlier++
  askAgain(connection, repeats)
}

/** Where answers do not come: they may be lost. */
export function askAgain (connection: Connection, repeats: Repeats): void {
  repeats.askedSeq = repeats.fromSeq
  askUser(connection, { welcomed: true, uplinkSeq: repeats.fromSeq - 1, bytesMax: 0 })
}

/**
 * The user actor has told the numbers of uplinks up to `seq`, none of which is new.
 *
 * @returns false where nothing came again that they answer
 */
export function answerRepeats (connection: Connection, seq: number, userSeqs: readonly number[]): boolean {
  const { tally } = connection
  const repeats = tally?.repeats
  if (!repeats || repeats.askedSeq === Infinity || seq < repeats.toSeq) return false
  const firstSeq = seq - userSeqs.length + 1
  if (firstSeq > repeats.fromSeq && repeats.earlier > 0) {
    repeats.earlier--
    return true
  }
  tally.repeats = undefined
  const from = Math.max(0, repeats.fromSeq - firstSeq)
  answer(connection, repeats.toSeq, userSeqs.slice(from, Math.max(0, repeats.toSeq - firstSeq + 1)))
  return true
}

/** An ack of new uplinks, which names the numbers of the last ones up to `seq`, answers the repeats of those, too. */
export function repeatsAcked ({ tally }: Connection, seq: number, userSeqs: readonly number[]): void {
  if (tally?.repeats && seq - userSeqs.length < tally.repeats.fromSeq) tally.repeats = undefined
}

function answer (connection: Connection, seq: number, userSeqs: readonly number[]): void {
  connection.write({ op: 'uplinkAck', seq, userSeqs })
}
