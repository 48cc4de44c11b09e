import { fold as productionFold } from '../actors/user/fold.js'
import { withUsersInWords } from '../schemas/apps.js'
import { ledger, rooms, type Stream } from '../schemas/streams.js'
import { type Books, newBooks } from './audit/books.js'
import type { AuditedLog } from './audit/derived.js'
import { NodeLives } from './audit/node-lives.js'
import { auditPartition } from './audit/partition.js'
import { type JudgedLedger, PostedUplinks } from './audit/posted-uplinks.js'
import { auditRooms } from './audit/rooms-partition.js'
import { namesOf, type Violation } from './audit/violation.js'
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
  /** The same of the stream `rooms`; what uplinks posted is judged for all that is read of both. */
  readonly roomRanges?: readonly AuditRange[]
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
 * design.md 1, 4 and 5, judged from the streams `ledger`, `uplinks`, `connections`, `rooms`, `posts` and `nodes` alone.
 *
 * Memory goes with the users or rooms of one partition and with what is open or due, not with the length of the ledger.
 *
 * @throws BlocksGone when retention passes it: the books of what is left would not balance
 */
export async function audit (log: AuditedLog, options: AuditOptions): Promise<Books> {
  const { ranges = wholeOf(log, ledger), roomRanges = wholeOf(log, rooms), fold = productionFold, exact } = options
  const { violation, nowMs = Date.now(), blocks = () => {} } = options
  const books = newBooks()
  const report: Parameters<typeof NodeLives.read>[1] = (code, subject, text, positions) => {
    books.violations[code] = (books.violations[code] ?? 0) + 1
    violation?.({ code, text: withUsersInWords(text), positions, ...namesOf(subject) })
  }
  const whole: AuditedLog = {
    partitions: stream => log.partitions(stream),
    bounds: (stream, partition) => log.bounds(stream, partition),
    read: (stream, partition, range) => readWhole(log, stream, partition, range),
  }
  const lives = await NodeLives.read(whole, report)
  books.nodes = lives.counts()
  const common = { log: whole, books, report, exact, lives, nowMs, blocks }
  // The stream rooms first: what it has of uplinks the ledger has, and what the ledger has behind that is due.
  const posted = new PostedUplinks(log.partitions(rooms), await judgedOf(log, ranges), books)
  for (const range of roomRanges) await auditRooms({ ...common, posted, to: undefined, ...range })
  for (const range of ranges) await auditPartition({ ...common, fold, posted, to: undefined, ...range })
  posted.finish(report)
  return books
}

/** Partitions of the ledger that are read from their very beginning, and up to where. */
async function judgedOf (log: AuditedLog, ranges: readonly AuditRange[]): Promise<JudgedLedger> {
  const judged = new Map<number, bigint | undefined>()
  for (const { partition, to } of ranges) {
    const { first } = await log.bounds(ledger, partition)
    if (first === 0n) judged.set(partition, to)
  }
  return judged
}

function wholeOf (log: AuditedLog, stream: Stream<any>): AuditRange[] {
  return Array.from({ length: log.partitions(stream) }, (_, partition) => ({ partition, from: 0n }))
}
