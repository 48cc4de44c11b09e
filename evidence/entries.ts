import type { EventLog } from '../ledger/log.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'
import type { Placed } from './trace.js'

/** A user's entries, from the first that is kept up to the end as it is at the call. */
export async function * entriesOf (log: EventLog, userId: string): AsyncGenerator<Placed> {
  const partition = partitionOf(userId, log.partitions(ledger))
  // Most blocks have nothing of this user, and finding that out takes a tenth of decoding them.
  const containing = Buffer.from(userId)
  for await (const { offset, items } of log.read(ledger, partition, { from: 0n, containing })) {
    for (const [index, entry] of items.entries()) {
      if (entry.userId === userId) yield { position: { partition, offset, index }, entry }
    }
  }
}
