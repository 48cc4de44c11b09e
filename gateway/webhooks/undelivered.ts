import { setTimeout as sleep } from 'node:timers/promises'
import type { EventLog } from '../../ledger/log.js'
import { isForGood } from '../../ledger/pieces.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { Undelivered } from '../../schemas/records.js'
import { undelivered } from '../../schemas/streams.js'
import type { PublicStream } from '../streams/public.js'
import { webhookStreams } from './events.js'
import type { OutgoingRecord } from './lanes.js'

const retryMsMin = 100
const retryMsMax = 5_000

export interface KeepDeps {
  readonly log: Pick<EventLog, 'append' | 'partitions'>
  readonly webhook: string
  readonly signal: AbortSignal
  /** Why it is not stored yet; empty once it is. */
  failed (reason: string): void
}

/** Stores what a webhook gives up, one after the other, however often that takes; ends early where `signal` aborts. */
export async function keepUndelivered (
  { log, webhook, signal, failed }: KeepDeps, records: readonly OutgoingRecord[], status: number, reason: string
): Promise<void> {
  for (const record of records) {
    const kept = undeliveredOf(record, webhook, status, reason)
    const partition = partitionOf(kept.key, log.partitions(undelivered))
    for (let waitMs = retryMsMin; !signal.aborted; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        await log.append(undelivered, partition, [kept], { reserved: true })
        record.place.progress.counts.givenUp++
        break
      } catch (err) {
        failed(`what it does not take can not be stored: ${(err as Error).message}`)
        // It never will be: its stream still has it, for as long as that keeps it.
        if (isForGood(err)) break
      }
      await sleep(waitMs, undefined, { signal }).catch(() => {})
    }
  }
  failed('')
}

function undeliveredOf (
  { of: { stream }, item, id, attempts, firstAtMs }: OutgoingRecord, webhook: string, status: number, reason: string
): Undelivered {
  return {
    webhook,
    stream: stream.name,
    key: stream.key(item),
    messageId: id,
    record: Buffer.from(stream.encodeBlock([item])),
    status,
    reason,
    attempts,
    firstAtMs,
    undeliveredAtMs: Date.now(),
  }
}

/** The record that was kept; none where its stream is not known here, or it can not be decoded. */
export function recordsKept ({ stream, record }: Undelivered): Array<{ of: PublicStream, item: any }> {
  const of = webhookStreams.get(stream)
  if (!of) return []
  try {
    return of.stream.decodeBlock(record).map(item => ({ of, item }))
  } catch {
    return []
  }
}
