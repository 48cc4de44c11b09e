import type { LogReader } from '../ledger/log.js'
import { unknownCount } from '../schemas/counts.js'
import type { Fact } from '../schemas/facts.js'
import { bytesOfAll } from '../schemas/sizes.js'
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
 * How far a ledger partition is read back from an end: as many blocks, and as many bytes of them. A connection that
 * opened before them has an unknown number of uplinks, and what was reported before them is unknown. Rejected: to count
 * every uplink in the table while its connection is open, which would make a write of each for the sake of the few
 * whose node is lost.
 */
export const blocksBackMax = 4096n
export const bytesBackMax = 64 << 20

/** Blocks that are read together, from the youngest back: few at first, for many blocks may be more than the bytes. */
const stepMin = 64n
const stepMax = 1024n

/** Where a connection ended for the first time, and whose it was. */
export interface Ending { readonly userId: string, readonly offset: bigint }

type ConnectionFact = Extract<Fact, { readonly connectionId: string }>

/** What is kept of a block while it is not known yet how far back to begin. */
interface Told { readonly offset: bigint, readonly bytes: number, readonly facts: readonly ConnectionFact[] }

/**
 * Reads what the ledger tells of these connections. It depends on nothing but the ledger and where each one ended.
 *
 * @param endings by connection id
 */
export async function ledgerCounts (
  log: LogReader, partition: number, endings: ReadonlyMap<string, Ending>
): Promise<Map<string, LedgerCounts>> {
  const counts = new Map(Array.from(endings.keys(), connectionId => [connectionId, new LedgerCounts()]))
  const blocks = await readBack(log, partition, endings)
  const firsts = firstBlocks(blocks, new Set(Array.from(endings.values(), ({ offset }) => offset)))
  const open = new Map(endings)
  for (const { offset, facts } of blocks.reverse()) {
    for (const fact of facts) {
      const ending = open.get(fact.connectionId)
      if (ending === undefined || offset < firsts.get(ending.offset)!) continue
      if (fact.type === 'ConnectionClosed') open.delete(fact.connectionId)
      else counts.get(fact.connectionId)!.add(fact)
    }
  }
  return counts
}

/** @returns as many blocks as any of the connections needs, the youngest first */
async function readBack (
  log: LogReader, partition: number, endings: ReadonlyMap<string, Ending>
): Promise<Told[]> {
  const keys = new Set(Array.from(endings.values(), ({ userId }) => userId))
  const ends = Array.from(endings.values(), ({ offset }) => offset)
  const first = ends.reduce((least, offset) => offset < least ? offset : least)
  const last = ends.reduce((most, offset) => offset > most ? offset : most)
  const furthest = back(first, blocksBackMax)
  const blocks: Told[] = []
  let bytes = 0
  let step = stepMin
  for (let to = last + 1n; to > furthest && bytes <= bytesBackMax;) {
    const from = back(to, step) > furthest ? back(to, step) : furthest
    const older: Told[] = []
    for await (const { offset, items, stored } of log.read(ledger, partition, { from, to, keys })) {
      const size = stored ?? bytesOfAll(ledger, items)
      older.push({ offset, bytes: size, facts: items.flatMap(({ fact }) => factOf(fact, endings)) })
      if (offset < first) bytes += size
    }
    blocks.push(...older.reverse())
    to = from
    step = step < stepMax ? 2n * step : stepMax
  }
  return blocks
}

/** Without its payload, which nobody counts. */
function factOf (fact: Fact, endings: ReadonlyMap<string, Ending>): ConnectionFact[] {
  if (!('connectionId' in fact) || !endings.has(fact.connectionId)) return []
  return [fact.type === 'UplinkReceived' ? { ...fact, payload: nothing } : fact]
}

const nothing = new Uint8Array(0)

/**
 * @param blocks the youngest first
 * @returns by end: the first block that counts for it
 */
function firstBlocks (blocks: readonly Told[], ends: ReadonlySet<bigint>): Map<bigint, bigint> {
  return new Map(Array.from(ends, end => {
    let from = back(end, blocksBackMax)
    let sum = 0
    for (const { offset, bytes } of blocks) {
      if (offset < end) sum += bytes
      if (sum <= bytesBackMax) continue
      from = offset + 1n > from ? offset + 1n : from
      break
    }
    return [end, from]
  }))
}

function back (from: bigint, blocks: bigint): bigint { return from > blocks ? from - blocks : 0n }
