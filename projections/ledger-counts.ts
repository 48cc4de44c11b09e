import type { LogReader } from '../ledger/log.js'
import { unknownCount } from '../schemas/counts.js'
import type { Fact } from '../schemas/facts.js'
import { ledger } from '../schemas/streams.js'

/**
 * What the ledger tells of one connection, from its own entries: for an end whose edge can't tell. The connection's
 * facts are given to it in order.
 */
export class LedgerCounts {
  /** Uplinks that the ledger received on it, each once; -1 without its opening, for some may have come before. */
  uplinks = unknownCount
  /** Highest downlink seqs that were reported as written and as acked on it; -1 where none was. */
  writtenSeq = unknownCount
  ackedSeq = unknownCount
  #uplinkSeq = 0

  add (fact: Fact): void {
    switch (fact.type) {
      case 'ConnectionOpened':
        if (this.uplinks === unknownCount) this.uplinks = 0
        break
      case 'UplinkReceived':
        // What is not above the last one has come before, or is a repeat of its entry.
        if (this.uplinks === unknownCount || fact.seq <= this.#uplinkSeq) break
        this.#uplinkSeq = fact.seq
        this.uplinks++
        break
      case 'DeliveryReported':
        this.#reported(fact.writtenSeq, fact.ackedSeq)
        break
      case 'DownlinkSkipped':
        this.#reported(fact.seq, fact.seq) // it acks what it skips
    }
  }

  #reported (writtenSeq: number, ackedSeq: number): void {
    this.writtenSeq = Math.max(this.writtenSeq, writtenSeq)
    this.ackedSeq = Math.max(this.ackedSeq, ackedSeq)
  }
}

/**
 * Blocks of a ledger partition that are read back from an end. A connection that opened before them has an unknown
 * number of uplinks, and what was reported before them is unknown. Rejected: to count every uplink in the table while
 * its connection is open, which would make a write of each for the sake of the few whose node is lost.
 */
export const blocksBackMax = 4096n

/**
 * Reads what the ledger tells of these connections. It depends on nothing but the ledger and where each one ended.
 *
 * @param ends by connection id: the block in which its end stands for the first time
 */
export async function ledgerCounts (
  log: LogReader, partition: number, ends: ReadonlyMap<string, bigint>
): Promise<Map<string, LedgerCounts>> {
  const counts = new Map(Array.from(ends.keys(), connectionId => [connectionId, new LedgerCounts()]))
  const open = new Map(ends)
  const offsets = [...ends.values()]
  const first = offsets.reduce((least, offset) => offset < least ? offset : least) - blocksBackMax
  const last = offsets.reduce((most, offset) => offset > most ? offset : most)
  for await (const { offset, items } of log.read(ledger, partition, { from: first > 0n ? first : 0n, to: last + 1n })) {
    for (const { fact } of items) {
      if (!('connectionId' in fact)) continue
      const end = open.get(fact.connectionId)
      if (end === undefined || offset < end - blocksBackMax) continue
      if (fact.type === 'ConnectionClosed') open.delete(fact.connectionId)
      else counts.get(fact.connectionId)!.add(fact)
    }
  }
  return counts
}
