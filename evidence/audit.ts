import { fold as productionFold } from '../actors/user/fold.js'
import { withUsersInWords } from '../schemas/apps.js'
import { ledger } from '../schemas/streams.js'
import { type Books, newBooks } from './audit/books.js'
import type { AuditedLog } from './audit/derived.js'
import { NodeLives } from './audit/node-lives.js'
import { auditPartition } from './audit/partition.js'
import type { Violation } from './audit/violation.js'
import { readWhole } from './whole.js'

export type { Books } from './audit/books.js'
export type { Violation, ViolationCode } from './audit/violation.js'

/** One partition of the ledger, or a part of it. What comes before is read for the state that it leaves. */
export interface AuditRange {
  readonly partition: number
  /** The first block that is judged. */
  readonly from: bigint
  /** The block after the last one that is judged; the end as it is then where it is left out. */
  readonly to?: bigint
}

export interface AuditOptions {
  /** All of every partition by default. */
  readonly ranges?: readonly AuditRange[]
  /** Records of derived streams stand there once, as on the embedded side; in Kafka identical repeats are allowed. */
  readonly exact: boolean
  /** Each as it is found. */
  readonly violation?: (violation: Violation) => void
  /** So many more blocks of the ledger are read. */
  readonly blocks?: (count: number) => void
  /** Another fold than the one that ran in production. */
  readonly fold?: typeof productionFold
  /** ms since 1970; the clock by default. */
  readonly nowMs?: number
}

/**
 * Replays the ledger through the production fold and balances the books: what must hold whatever happened, by
 * design.md 1, 4 and 5, judged from the streams `ledger`, `uplinks`, `connections` and `nodes` alone.
 *
 * Memory goes with the users of one partition and with what is open or due, and not with the length of the ledger.
 *
 * @throws BlocksGone when retention passes it: the books of what is left would not balance
 */
export async function audit (log: AuditedLog, options: AuditOptions): Promise<Books> {
  const { ranges = wholeOf(log), fold = productionFold, exact, violation, nowMs = Date.now() } = options
  const { blocks = () => {} } = options
  const books = newBooks()
  const report: Parameters<typeof NodeLives.read>[1] = (code, text, positions) => {
    books.violations[code] = (books.violations[code] ?? 0) + 1
    violation?.({ code, text: withUsersInWords(text), positions })
  }
  const whole: AuditedLog = {
    partitions: stream => log.partitions(stream),
    bounds: (stream, partition) => log.bounds(stream, partition),
    read: (stream, partition, range) => readWhole(log, stream, partition, range),
  }
  const lives = await NodeLives.read(whole, report)
  books.nodes = lives.counts()
  for (const { partition, from, to } of ranges) {
    await auditPartition({ partition, log: whole, fold, books, report, exact, lives, nowMs, from, to, blocks })
  }
  return books
}

function wholeOf (log: AuditedLog): AuditRange[] {
  return Array.from({ length: log.partitions(ledger) }, (_, partition) => ({ partition, from: 0n }))
}
