import { entriesOf } from '../evidence/entries.js'
import { findNumbered, type Numbered } from '../evidence/redelivery.js'
import { anew } from '../evidence/whole.js'
import { type EventLog, formatPosition } from '../ledger/log.js'
import { piecesOf } from '../ledger/pieces.js'
import type { Entry } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'

export interface RedeliveryCommand {
  /** The user's key. */
  readonly userId: string
  readonly deviceId: string
  /** Both are sent, and all between them: at most `redeliveriesMax`. */
  readonly fromSeq: number
  readonly toSeq: number
  /** From now on. */
  readonly ttlMs: number
  /** The same one again delivers nothing a second time. */
  readonly requestId: string
  /** Id of the API key that asks; empty for one of the environment. */
  readonly by: string
  /** Why, in the operator's words; empty where none were given. */
  readonly reason: string
}

export interface RedeliveryAnswer {
  readonly requestId: string
  readonly redelivered: readonly Redelivered[]
  /** Numbers that the device's session never gave, or gave before the ledger's beginning. */
  readonly notFound: readonly number[]
}

export interface Redelivered {
  readonly messageId: string
  /** What it was sent as before. */
  readonly seq: number
  /** Where the redelivery stands in the ledger, `3@1021.4`. */
  readonly position: string
}

/** What the node was configured with. */
export interface RedeliveryRules {
  /** Bytes that an outbox may have. */
  readonly outboxBytesMax: number
  /** The stream `receipts` is written. */
  readonly receipts: boolean
}

/** Downlinks of one request. */
export const redeliveriesMax = 1000

/**
 * Sends what a device's session had under some numbers once more. What the ledger has of this very request already is
 * left out, so that a request that failed halfway can be repeated.
 *
 * @param rules go into the facts
 * @throws GatewayError `not-found` where the device has no session, or its numbers are no longer known; `bad-request`
 *   where the id was another device's request; `ledger-unavailable` where not all of it could be stored
 */
export async function redeliver (
  log: EventLog, command: RedeliveryCommand, rules: RedeliveryRules
): Promise<RedeliveryAnswer> {
  const { userId, fromSeq, toSeq, requestId } = command
  const partition = partitionOf(userId, log.partitions(ledger))
  const found = await anew(async () => {
    const { first } = await log.bounds(ledger, partition)
    return await findNumbered(entriesOf(log, userId, { from: first }), command, first === 0n)
  })
  const positions = new Map(found.requested)
  const wanted = eachOnce(found.numbered).filter(({ messageId }) => !positions.has(messageId))
  let next = 0
  for (const entries of piecesOf(ledger, wanted.map(downlink => redelivery(downlink, command, rules)))) {
    const { offset, index } = await log.append(ledger, partition, entries)
    for (let i = 0; i < entries.length; i++) {
      positions.set(wanted[next++]!.messageId, formatPosition({ partition, offset, index: index + i }))
    }
  }
  const redelivered: Redelivered[] = found.numbered.map(({ seq, messageId }) =>
    ({ messageId, seq, position: positions.get(messageId)! }))
  const seqs = new Set(redelivered.map(({ seq }) => seq))
  const asked = Array.from({ length: toSeq - fromSeq + 1 }, (_, i) => fromSeq + i)
  return { requestId, redelivered, notFound: asked.filter(seq => !seqs.has(seq)) }
}

/** Each message once, under the first of its numbers. */
function eachOnce (downlinks: readonly Numbered[]): Numbered[] {
  const messageIds = new Set<string>()
  return downlinks.filter(({ messageId }) => !messageIds.has(messageId) && messageIds.add(messageId))
}

function redelivery (
  { seq, messageId, service, payload }: Numbered, { userId, deviceId, requestId, ttlMs, by, reason }: RedeliveryCommand,
  { outboxBytesMax, receipts }: RedeliveryRules
): Entry {
  const fact: Entry['fact'] = {
    type: 'DownlinkRedelivered',
    requestId,
    deviceId,
    seq,
    messageId,
    service,
    payload,
    ttlMs,
    outboxBytesMax,
    by,
    reason,
    receipts,
  }
  return { userId, atMs: Date.now(), fact }
}
