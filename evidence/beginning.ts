import type { LogReader, ReadRange } from '../ledger/log.js'
import { ledger, type Stream } from '../schemas/streams.js'

/** From where on a partition of a stream is still kept; what stood before it is not known any more. */
export interface Beginning {
  /** `3@1021` */
  readonly position: string
  /** Time of the first entry that is kept; null where none is. */
  readonly atMs: number | null
}

/** @returns null where the partition is kept from its very beginning */
export async function beginningOf (
  log: LogReader, partition: number, stream: Stream<{ readonly atMs: number }> = ledger
): Promise<Beginning | null> {
  const { first, next } = await log.bounds(stream, partition)
  if (first === 0n) return null
  const position = `${partition}@${first}`
  const entry = await firstItem(log, stream, partition, { from: first, to: next })
  return { position, atMs: entry?.atMs ?? null }
}

/** The first item that is kept of a range; undefined where there is none. */
export async function firstItem<T> (
  log: LogReader, stream: Stream<T>, partition: number, range: ReadRange
): Promise<T | undefined> {
  const blocks = log.read(stream, partition, range)[Symbol.asyncIterator]()
  try {
    const { done, value } = await blocks.next()
    return done ? undefined : value.items[0]
  } finally {
    await blocks.return?.()
  }
}
