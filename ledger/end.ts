import type { Stream } from '../schemas/streams.js'
import type { LogReader } from './log.js'

/**
 * Behind the last block that followers of a partition get, as of now: one that was set aside, at the very end, they
 * would wait for in vain. Where there is no block to get it is the first offset that is kept.
 */
export async function endOf (
  log: Pick<LogReader, 'bounds' | 'read'>, stream: Stream<any>, partition: number
): Promise<bigint> {
  const { first, next } = await log.bounds(stream, partition)
  let end = first
  for (let from = next - 1n; from >= first && end === first; from--) {
    for await (const { offset } of log.read(stream, partition, { from, to: next })) end = offset + 1n
  }
  return end
}
