import type { LogReader } from '../../ledger/log.js'
import { ledger, rooms, type Stream } from '../../schemas/streams.js'
import type { AuditRange } from '../audit.js'

type Log = Pick<LogReader, 'partitions' | 'bounds' | 'offsetAt'>

/**
 * What is judged of the streams `ledger` and `rooms`: what came from then on, of all partitions, also of those where
 * nothing did: what uplinks posted is judged by what stands in all.
 *
 * @param sinceMs ms since 1970; undefined for all that is kept
 */
export async function rangesSince (
  log: Log, sinceMs: number | undefined
): Promise<{ ranges: AuditRange[], roomRanges: AuditRange[] }> {
  const of = async (stream: Stream<any>) => await Promise.all(
    Array.from({ length: log.partitions(stream) }, async (_, partition) => {
      const { first } = await log.bounds(stream, partition)
      const since = sinceMs === undefined ? first : await log.offsetAt(stream, partition, sinceMs)
      return { partition, from: since > first ? since : first }
    }))
  const [ranges, roomRanges] = await Promise.all([of(ledger), of(rooms)])
  return { ranges, roomRanges }
}

/** How many blocks an audit reads: also those before a range, for the state that they leave. */
export async function blocksToAudit (log: Log, stream: Stream<any>, ranges: readonly AuditRange[]): Promise<number> {
  const counts = await Promise.all(ranges.map(async ({ partition, to }) => {
    const { first, next } = await log.bounds(stream, partition)
    return Number((to ?? next) - first)
  }))
  return counts.reduce((sum, count) => sum + count, 0)
}
