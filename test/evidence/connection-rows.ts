import type { Test } from 'tap'
import { embeddedLog, type EmbeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { unknownCounts } from '../../schemas/counts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { ConnectionEnded } from '../../schemas/records.js'
import { connections, type Stream } from '../../schemas/streams.js'

export const noon = Date.UTC(2026, 10, 20, 12)

/** A connection that ended, of `userId`. */
export function ended (userId: string, connectionId: string, more: Partial<ConnectionEnded> = {}): ConnectionEnded {
  return {
    userId,
    connectionId,
    deviceId: `${userId}-phone`,
    platform: 'ios',
    client: 'app/1.0.0',
    sessionId: 's1',
    transport: 'ws',
    address: '192.0.2.1:4000',
    nodeId: 'n1',
    nodeEpoch: noon,
    openedAtMs: noon,
    closedAtMs: noon + 60_000,
    code: 'disconnected',
    reason: '',
    writtenSeq: 5,
    ackedSeq: 4,
    framesIn: 10,
    framesOut: 20,
    bytesIn: 1000,
    bytesOut: 2000,
    uplinks: 3,
    downlinksWritten: 5,
    downlinksAcked: 4,
    roundTripMs: 80,
    resumedFrom: '',
    resumedTo: '',
    by: '',
    ...more,
  }
}

/** One whose node was lost: what the ledger does not tell is unknown. */
export function lost (userId: string, connectionId: string, more: Partial<ConnectionEnded> = {}): ConnectionEnded {
  return ended(userId, connectionId, { code: 'node-lost', ...unknownCounts, ...more })
}

/** An embedded log in a directory, with a clock that can be set. */
export async function historyLog (
  t: Test, directory: string, partitions = 2
): Promise<{ log: EmbeddedLog, clock: { nowMs: number }, append: Append, close: () => Promise<void> }> {
  const clock = { nowMs: noon }
  const store = await openStore({ directory })
  const log = embeddedLog(store, { partitions, now: () => clock.nowMs })
  let closing: Promise<void> | undefined
  const close = async () => { await (closing ??= store.close()) }
  t.teardown(close)
  const append: Append = async (rows: readonly { readonly userId: string }[], stream: Stream<any> = connections) => {
    for (let partition = 0; partition < partitions; partition++) {
      const own = rows.filter(({ userId }) => partitionOf(userId, partitions) === partition)
      if (own.length > 0) await log.append(stream, partition, own)
    }
  }
  return { log, clock, append, close }
}

interface Append {
  (rows: readonly ConnectionEnded[]): Promise<void>
  <T extends { readonly userId: string }> (rows: readonly T[], stream: Stream<T>): Promise<void>
}
