import type { EventLog } from '../ledger/log.js'
import type { Books } from '../evidence/audit.js'
import { ledger } from '../schemas/streams.js'

/**
 * Requests that came again, counted by their ids alone: the audit folds as production does, and sees no repeat where
 * that takes it for a new request.
 *
 * @returns where the books have another number of them, in words
 */
export async function repeatFault (log: EventLog, { downlinks: { duplicates } }: Books): Promise<string | undefined> {
  const seen = new Set<string>()
  let repeats = 0
  for (let partition = 0; partition < log.partitions(ledger); partition++) {
    for await (const { items } of log.read(ledger, partition, { from: 0n })) {
      for (const { userId, fact } of items) {
        if (fact.type !== 'DownlinkRequested' && fact.type !== 'DownlinkRedelivered') continue
        const id = [userId, fact.messageId, fact.type === 'DownlinkRedelivered' ? fact.requestId : ''].join(' ')
        if (seen.has(id)) repeats++
        seen.add(id)
      }
    }
  }
  if (repeats === duplicates) return undefined
  return `${repeats} downlinks were requested again, and the books have ${duplicates}`
}
