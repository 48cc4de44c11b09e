import type { Hole, LogReader } from '../ledger/log.js'
import { appOf } from '../schemas/apps.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { HistoryRow } from './history/row.js'
import type { HistoryStream } from './history/streams.js'

/** Blocks of one partition of a stream, from `from` up to but without `to`. */
export interface HistoryRange {
  readonly partition: number
  readonly from: bigint
  readonly to: bigint
}

/** Which records are asked for: those of what happened from `sinceMs` on and before `untilMs`. */
export interface HistoryFilter {
  /** Of this app's users alone: empty for the default one, undefined for those of all. */
  readonly app?: string | undefined
  /** The user's key. */
  readonly userId?: string | undefined
  /** Of what ended so. */
  readonly code?: string | undefined
  readonly sinceMs?: number | undefined
  readonly untilMs?: number | undefined
}

/** What one block has of it; often nothing. */
export interface HistoryBlock<Row extends HistoryRow = any> {
  readonly partition: number
  readonly offset: bigint
  readonly rows: readonly Row[]
  /** Rows that were left out because they had come before. */
  readonly repeats: number
}

/**
 * How many records of a partition back a repeat of one is known. Repeats come where one node takes over from
 * another, each of which writes at most the records of one step of its table.
 */
export const repeatsKnownMax = 10_000

/**
 * A record comes into the stream after what it tells of, by other clocks and at times late: where a time is asked
 * for, blocks from so long before it are looked into, and up to so long behind it.
 */
export const earlyMs = 60_000
export const lateMs = 3_600_000

/** The blocks in which rows of the filter can stand. */
export async function historyRanges (
  log: LogReader, { stream }: HistoryStream, { userId, sinceMs, untilMs }: HistoryFilter
): Promise<HistoryRange[]> {
  const count = log.partitions(stream)
  const partitions = userId === undefined ? Array.from({ length: count }, (_, i) => i) : [partitionOf(userId, count)]
  const ranges = await Promise.all(partitions.map(async partition => {
    const [{ first, next }, since, until] = await Promise.all([
      log.bounds(stream, partition),
      sinceMs === undefined ? undefined : log.offsetAt(stream, partition, sinceMs - earlyMs),
      untilMs === undefined ? undefined : log.offsetAt(stream, partition, untilMs + lateMs),
    ])
    const from = since === undefined || since < first ? first : since
    const to = until === undefined || until > next ? next : until
    return { partition, from, to }
  }))
  return ranges.filter(({ from, to }) => from < to)
}

/**
 * The rows of a range, in the order of the stream, each once as far as `repeatsKnownMax` goes. Also a repeat of
 * what stands shortly before the range is left out, so that ranges that join give each row once.
 *
 * @param passed told of blocks of the range that retention deletes before they are read
 */
export async function * historyOf<Row extends HistoryRow> (
  log: LogReader, { stream, rowOf, atMs, codeOf }: HistoryStream<any, Row>, { partition, from, to }: HistoryRange,
  filter: HistoryFilter,
  { signal, passed = () => {} }: { readonly signal?: AbortSignal, readonly passed?: (hole: Hole) => void } = {}
): AsyncGenerator<HistoryBlock<Row>> {
  const { app, userId, code, sinceMs = -Infinity, untilMs = Infinity } = filter
  const known = new KnownRecords()
  const key = userId === undefined ? {} : { key: userId }
  const before = from - BigInt(repeatsKnownMax) // each block has a row at least
  const start = before > 0n ? before : 0n
  const inRange = (hole: Hole) => { // what is before it was only to be known as a repeat
    if (hole.to > from) passed({ from: hole.from > from ? hole.from : from, to: hole.to })
  }
  const read = { from: start, to, ...key, passed: inRange }
  for await (const { offset, items } of log.read(stream, partition, read)) {
    if (signal?.aborted) return
    const rows: Row[] = []
    let repeats = 0
    for (const record of items) {
      if (userId !== undefined && record.userId !== userId) continue
      if (app !== undefined && appOf(record.userId) !== app) continue
      const isNew = known.add(stream.messageId!(record))
      if (code !== undefined && codeOf?.(record) !== code) continue
      if (offset < from || atMs(record) < sinceMs || atMs(record) >= untilMs) continue
      if (isNew) rows.push(rowOf(record))
      else repeats++
    }
    if (offset >= from) yield { partition, offset, rows, repeats }
  }
}

/** The ids of the last records, as a ring. */
class KnownRecords {
  readonly #ids = new Set<string>()
  readonly #ring: string[] = []
  #count = 0

  /** @returns false for one that it knows */
  add (id: string): boolean {
    const before = this.#ids.size
    if (this.#ids.add(id).size === before) return false
    const slot = this.#count++ % repeatsKnownMax
    if (this.#ring.length > slot) this.#ids.delete(this.#ring[slot]!)
    this.#ring[slot] = id
    return true
  }
}
