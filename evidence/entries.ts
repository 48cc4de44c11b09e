import type { LogReader } from '../ledger/log.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'
import { readWhole } from './whole.js'
import type { Placed } from './trace.js'

/**
 * A user's entries, oldest first.
 *
 * @param range of the user's partition; by default from the first block that is kept up to the end as it is at the call
 * @throws BlocksGone when retention has deleted some of it
 */
export async function * entriesOf (
  log: LogReader, userId: string, { from, to }: { readonly from?: bigint, readonly to?: bigint } = {}
): AsyncGenerator<Placed> {
  const partition = partitionOf(userId, log.partitions(ledger))
  const start = from ?? (await log.bounds(ledger, partition)).first
  for await (const { offset, items } of readWhole(log, ledger, partition, { from: start, to, key: userId })) {
    for (const [index, entry] of items.entries()) {
      if (entry.userId === userId) yield { position: { partition, offset, index }, entry }
    }
  }
}
