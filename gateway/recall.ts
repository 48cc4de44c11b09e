import { type EventLog, formatPosition } from '../ledger/log.js'
import type { DownlinkRecalled } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'

/** Which downlink is to be taken back. It is what the user's ledger is told. */
export interface RecallCommand extends Omit<DownlinkRecalled, 'type'> {
  /** The user's key. */
  readonly userId: string
}

/**
 * Resolves once it is durable: then the user's actor takes out what waits without a number.
 *
 * @returns where it stands in the ledger, `3@1021.4`
 * @throws GatewayError `ledger-unavailable`
 */
export async function recall (log: EventLog, { userId, ...asked }: RecallCommand): Promise<string> {
  const partition = partitionOf(userId, log.partitions(ledger))
  const entry = { userId, atMs: Date.now(), fact: { type: 'DownlinkRecalled' as const, ...asked } }
  const { offset, index } = await log.append(ledger, partition, [entry])
  return formatPosition({ partition, offset, index })
}
