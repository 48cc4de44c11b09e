import type { LogReader } from '../../ledger/log.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { ledger } from '../../schemas/streams.js'
import type { Placed } from '../trace.js'
import { readWhole } from '../whole.js'

/** A piece of one partition of the ledger: blocks from `from` up to but without `to`. */
export interface ReplayRange { readonly partition: number, readonly from: bigint, readonly to: bigint }

export interface ReplayOptions {
  /** Of this user alone. */
  readonly userId?: string
  /** So many more blocks are done. */
  readonly read?: (blocks: number) => void
  /** Differences to list. By default 20. */
  readonly listMax?: number
}

export const listMaxDefault = 20

/** The entries of one block. Those that are not judged only bring the states to where the range begins. */
export interface ReplayedBlock {
  readonly judged: boolean
  readonly entries: readonly Placed[]
}

/** Those that may have something of the user, or all. */
export function rangesFor (
  log: LogReader, ranges: readonly ReplayRange[], userId: string | undefined
): readonly ReplayRange[] {
  if (userId === undefined) return ranges
  const own = partitionOf(userId, log.partitions(ledger))
  return ranges.filter(({ partition }) => partition === own)
}

/** What `replayed` will read of all ranges, for a progress bar. */
export async function blocksOf (log: LogReader, ranges: readonly ReplayRange[]): Promise<number> {
  let blocks = 0n
  for (const { partition, to } of ranges) blocks += to - (await log.bounds(ledger, partition)).first
  return Number(blocks)
}

/**
 * A partition from the first block that is kept, because a state is made of all that came before.
 *
 * @throws BlocksGone when retention passes it
 */
export async function * replayed (
  log: LogReader, { partition, from, to }: ReplayRange, { userId, read = () => {} }: ReplayOptions
): AsyncGenerator<ReplayedBlock> {
  let next = (await log.bounds(ledger, partition)).first
  for await (const { offset, items } of readWhole(log, ledger, partition, { from: next, to, key: userId })) {
    const entries: Placed[] = []
    for (let index = 0; index < items.length; index++) {
      const entry = items[index]!
      if (userId !== undefined && entry.userId !== userId) continue
      entries.push({ position: { partition, offset, index }, entry })
    }
    yield { judged: offset >= from, entries }
    read(Number(offset + 1n - next))
    next = offset + 1n
  }
  read(Number(to - next))
}
