import type { Block, EventLog } from '../../ledger/log.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import { ledger } from '../../schemas/streams.js'
import { type AskDue, dueAtMsOf } from './due.js'

export interface DueFactsDeps {
  readonly log: Pick<EventLog, 'append' | 'read'>
  readonly partition: number
  ask (question: AskDue): void
  /** An append or a read failed, and is tried again; the reason in words. */
  failing (reason: string): void
}

/** Of entries that wait for their time, all fields counted. Past it the ledger is read on only as they leave. */
const bytesMax = 1 << 20
/** Asked for at once. */
const roundMax = 500
/** Whoever has not answered by then is asked again: an actor may have stopped, or wait for its state. */
const roundMsMax = 60_000

interface Waiting {
  readonly offset: bigint
  readonly entry: Entry
  readonly dueAtMs: number
  readonly bytes: number
}

/** What is asked, or appended, just now. */
interface Round { readonly waiting: readonly Waiting[], readonly sinceMs: number }

/**
 * Tells the ledger of one partition what time has brought about: that a device has been away for too long, or that no
 * device has acked a downlink in time. A fold has no clock, so each is a fact, appended once the user's state says that
 * it is so; one that is appended twice is folded once.
 *
 * The ledger itself is the queue. Entries are looked at as they come. Where more wait than the bound allows, the rest
 * is read from the ledger once there is room; and the place of the oldest that waits is saved with the checkpoint, from
 * which the next owner goes on. So a fact may come late, and never not at all.
 */
export class DueFacts {
  readonly #deps: DueFactsDeps
  /** By how long they wait, in the order of the ledger, which is that of their times. */
  readonly #lanes = new Map<number, Waiting[]>()
  #bytes = 0
  /** All before it was looked at. */
  #next: bigint
  #received: bigint
  /** What comes is not looked at as it comes: the ledger is read up to it first. */
  #behind: boolean
  #reading = false
  #round: Round | undefined
  #savedFrom: bigint | undefined
  readonly #ending = new AbortController()

  /**
   * @param folded the partition receives what is behind it
   * @param from what `from` of the owner before gave
   */
  constructor (deps: DueFactsDeps, folded: bigint, from: bigint | undefined) {
    this.#deps = deps
    this.#received = folded
    this.#behind = from !== undefined && from <= folded
    this.#next = this.#behind ? from! : folded + 1n
    this.#savedFrom = from
  }

  /** How many wait in memory. */
  get size (): number {
    let size = this.#round?.waiting.length ?? 0
    for (const lane of this.#lanes.values()) size += lane.length
    return size
  }

  /** The oldest entry of which something may be due; undefined where there is none. */
  get from (): bigint | undefined {
    let from = this.#behind ? this.#next : undefined
    const look = (offset: bigint) => { if (from === undefined || offset < from) from = offset }
    for (const [first] of this.#lanes.values()) look(first!.offset)
    for (const { offset } of this.#round?.waiting ?? []) look(offset)
    return from
  }

  /** Whether `from` is another one than was saved last; it is taken for saved then. */
  takeMoved (): boolean {
    const { from } = this
    if (from === this.#savedFrom) return false
    this.#savedFrom = from
    return true
  }

  received (block: Pick<Block<Entry>, 'offset' | 'items'>): void {
    this.#received = block.offset
    if (this.#behind || block.offset < this.#next) return
    if (this.#bytes < bytesMax) this.#look(block)
    else {
      this.#behind = true
      this.#next = block.offset
    }
  }

  sweep (nowMs: number): void {
    if (this.#round && nowMs - this.#round.sinceMs > roundMsMax) this.#putBack(this.#round)
    if (!this.#round) this.#begin(nowMs)
    if (this.#behind && !this.#reading && this.#bytes < bytesMax) this.#catchUp()
  }

  /** What still waits is the next owner's. */
  end (): void { this.#ending.abort() }

  #look ({ offset, items }: Pick<Block<Entry>, 'offset' | 'items'>): void {
    this.#next = offset + 1n
    for (let i = 0; i < items.length; i++) {
      const dueAtMs = dueAtMsOf(items[i]!)
      if (dueAtMs !== Infinity) this.#add(offset, items[i]!, dueAtMs)
    }
  }

  #add (offset: bigint, { userId, atMs, fact }: Entry, dueAtMs: number): void {
    const entry = { userId, atMs, fact: ownBytes(fact) }
    const bytes = ledger.bytesOf(entry)
    const lane = this.#lanes.get(dueAtMs - atMs)
    const waiting = { offset, entry, dueAtMs, bytes }
    this.#bytes += bytes
    if (lane) lane.push(waiting)
    else this.#lanes.set(dueAtMs - atMs, [waiting])
  }

  /** Asks for all that is due, up to a bound. */
  #begin (nowMs: number): void {
    const due: Waiting[] = []
    for (const [afterMs, lane] of this.#lanes) {
      let count = 0
      while (count < lane.length && due.length + count < roundMax && lane[count]!.dueAtMs <= nowMs) count++
      due.push(...lane.splice(0, count))
      if (lane.length === 0) this.#lanes.delete(afterMs)
    }
    if (due.length === 0) return
    const round = { waiting: due, sinceMs: nowMs }
    this.#round = round
    const facts = new Array<Fact | undefined>(due.length)
    let left = due.length
    for (const [i, { offset, entry }] of due.entries()) {
      const { partition } = this.#deps
      const answer = (fact: Fact | undefined) => {
        facts[i] = fact
        if (--left === 0) this.#append(round, facts)
      }
      this.#deps.ask({ type: 'askDue', partition, userId: entry.userId, asOf: offset + 1n, entry, answer })
    }
  }

  async #append (round: Round, facts: ReadonlyArray<Fact | undefined>): Promise<void> {
    if (round !== this.#round || this.#ending.signal.aborted) return
    const atMs = Date.now()
    const entries: Entry[] = []
    for (const [i, { entry: { userId } }] of round.waiting.entries()) {
      const fact = facts[i]
      if (fact) entries.push({ userId, atMs, fact })
    }
    const { log, partition, failing } = this.#deps
    try {
      if (entries.length > 0) await log.append(ledger, partition, entries, { reserved: true })
    } catch (err) {
      failing(`what is due can not be told the ledger: ${(err as Error).message}`)
      if (round === this.#round) this.#putBack(round)
      return
    }
    if (round !== this.#round) return
    this.#round = undefined
    for (const { bytes } of round.waiting) this.#bytes -= bytes
  }

  /** It is asked for again with the next sweep: the first of each lane are the oldest. */
  #putBack ({ waiting }: Round): void {
    this.#round = undefined
    for (const each of waiting.toReversed()) {
      const afterMs = each.dueAtMs - each.entry.atMs
      const lane = this.#lanes.get(afterMs)
      if (lane) lane.unshift(each)
      else this.#lanes.set(afterMs, [each])
    }
  }

  /** Reads on until there is no room, or up to what the partition has received. */
  async #catchUp (): Promise<void> {
    const { log, partition, failing } = this.#deps
    const { signal } = this.#ending
    this.#reading = true
    try {
      for await (const block of log.read(ledger, partition, { from: this.#next })) {
        if (signal.aborted) return
        this.#look(block)
        if (this.#bytes >= bytesMax) return
      }
      // It may have gone on meanwhile; and what retention has deleted is not waited for.
      if (this.#next > this.#received) this.#behind = false
    } catch (err) {
      if (!signal.aborted) failing(`what becomes due can not be read from the ledger: ${(err as Error).message}`)
    } finally {
      this.#reading = false
    }
  }
}

/** A payload is a view on a whole block, which would be kept for as long as this is. */
function ownBytes (fact: Fact): Fact {
  if (fact.type !== 'DownlinkRequested') return fact
  return { ...fact, payload: Uint8Array.prototype.slice.call(fact.payload) }
}
