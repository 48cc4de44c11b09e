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
 * How far a ledger partition is read back from an end: as many blocks, and as many bytes of them (`Stream.bytesOf`). A
 * connection that opened before them has an unknown number of uplinks, and what was reported before them is unknown.
 * Rejected: to count every uplink in the table while its connection is open, which would make a write of each for the
 * sake of the few whose node is lost.
 */
export const blocksBackMax = 4096n
export const bytesBackMax = 64 << 20

/** Blocks whose sizes are looked at together, from the youngest back. */
const step = 256n

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
  const firsts = await firstBlocks(log, partition, [...new Set(ends.values())])
  const from = [...firsts.values()].reduce((least, offset) => offset < least ? offset : least)
  const last = [...firsts.keys()].reduce((most, offset) => offset > most ? offset : most)
  for await (const { offset, items } of log.read(ledger, partition, { from, to: last + 1n })) {
    for (const { fact } of items) {
      if (!('connectionId' in fact)) continue
      const end = open.get(fact.connectionId)
      if (end === undefined || offset < firsts.get(end)!) continue
      if (fact.type === 'ConnectionClosed') open.delete(fact.connectionId)
      else counts.get(fact.connectionId)!.add(fact)
    }
  }
  return counts
}

/** @returns by end: the first block that is read for it */
async function firstBlocks (
  log: LogReader, partition: number, ends: readonly bigint[]
): Promise<Map<bigint, bigint>> {
  const first = ends.reduce((least, offset) => offset < least ? offset : least)
  const last = ends.reduce((most, offset) => offset > most ? offset : most)
  const furthest = back(first, blocksBackMax)
  /** The youngest first. */
  const sizes: Array<{ readonly offset: bigint, readonly bytes: number }> = []
  let bytes = 0
  for (let to = last; to > furthest && bytes <= bytesBackMax; to = back(to, step)) {
    const from = back(to, step)
    const older: typeof sizes = []
    const range = { from: from > furthest ? from : furthest, to }
    for await (const { offset, items } of log.read(ledger, partition, range)) {
      const size = items.reduce((sum, item) => sum + ledger.bytesOf(item), 0)
      older.push({ offset, bytes: size })
      if (offset < first) bytes += size
    }
    sizes.push(...older.reverse())
  }
  return new Map(ends.map(end => {
    let from = back(end, blocksBackMax)
    let sum = 0
    for (const { offset, bytes } of sizes) {
      if (offset < end) sum += bytes
      if (sum <= bytesBackMax) continue
      from = offset + 1n > from ? offset + 1n : from
      break
    }
    return [end, from]
  }))
}

function back (from: bigint, blocks: bigint): bigint { return from > blocks ? from - blocks : 0n }
