import type { LogReader } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { RoomEntry } from '../schemas/room-facts.js'
import { ledger, rooms, type Stream } from '../schemas/streams.js'
import { readWhole } from './whole.js'
import type { Placed } from './trace.js'

/** Of the key's partition; by default from the first block that is kept up to the end as it is at the call. */
export interface EntriesRange { readonly from?: bigint, readonly to?: bigint }

/**
 * A user's entries, oldest first.
 *
 * @throws BlocksGone when retention has deleted some of the range
 */
export function entriesOf (log: LogReader, userId: string, range: EntriesRange = {}): AsyncGenerator<Placed> {
  return entriesIn<Entry>(log, ledger, userId, range)
}

/** As `entriesOf`, of a room. */
export function roomEntriesOf (
  log: LogReader, roomId: string, range: EntriesRange = {}
): AsyncGenerator<Placed<RoomEntry>> {
  return entriesIn(log, rooms, roomId, range)
}

async function * entriesIn<E extends { readonly atMs: number }> (
  log: LogReader, stream: Stream<E>, key: string, { from, to }: EntriesRange
): AsyncGenerator<Placed<E>> {
  const partition = partitionOf(key, log.partitions(stream))
  const start = from ?? (await log.bounds(stream, partition)).first
  for await (const { offset, items } of readWhole(log, stream, partition, { from: start, to, key })) {
    for (const [index, entry] of items.entries()) {
      if (stream.key(entry) === key) yield { position: { partition, offset, index }, entry }
    }
  }
}
