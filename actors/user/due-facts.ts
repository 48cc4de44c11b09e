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
/** Asked for at a time. */
const roundMax = 500
/** Whoever has not answered by then is asked again: an actor may have stopped, or wait for its state. */
const answerMsMax = 60_000

interface Waiting {
  readonly offset: bigint
  readonly entry: Entry
  readonly dueAtMs: number
  readonly bytes: number
}

/** It is due, and its user is asked. */
interface Question { readonly waiting: Waiting, readonly sinceMs: number }

/** What is to be told the ledger of it. */
interface Due { readonly waiting: Waiting, readonly fact: Fact }

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
  readonly #asked = new Set<Question>()
  /** Answered since the last append began. */
  #due: Due[] = []
  /** On its way to the ledger; one append at a time. */
  #appending: readonly Due[] = []
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
    let size = this.#asked.size + this.#due.length + this.#appending.length
    for (const lane of this.#lanes.values()) size += lane.length
    return size
  }

  /** The oldest entry of which something may be due; undefined where there is none. */
  get from (): bigint | undefined {
    let from = this.#behind ? this.#next : undefined
    const look = (offset: bigint) => { if (from === undefined || offset < from) from = offset }
    for (const [first] of this.#lanes.values()) look(first!.offset)
    for (const { waiting } of this.#asked) look(waiting.offset)
    for (const { waiting } of this.#due) look(waiting.offset)
    for (const { waiting } of this.#appending) look(waiting.offset)
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
    this.#giveUp(nowMs)
    this.#append()
    if (this.#appending.length === 0) this.#begin(nowMs)
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

  /** Those that were asked too long ago are asked once more. */
  #giveUp (nowMs: number): void {
    const late = Array.from(this.#asked).filter(({ sinceMs }) => nowMs - sinceMs > answerMsMax)
    for (const question of late) this.#asked.delete(question)
    this.#putBack(late)
  }

  /** Asks for all that is due, up to a bound, whoever has still to answer. */
  #begin (nowMs: number): void {
    const due: Waiting[] = []
    for (const [afterMs, lane] of this.#lanes) {
      let count = 0
      while (count < lane.length && due.length + count < roundMax && lane[count]!.dueAtMs <= nowMs) count++
      due.push(...lane.splice(0, count))
      if (lane.length === 0) this.#lanes.delete(afterMs)
    }
    const questions = due.map(waiting => ({ waiting, sinceMs: nowMs }))
    for (const question of questions) this.#asked.add(question)
    for (const question of questions) this.#ask(question)
  }

  #ask (question: Question): void {
    const { waiting } = question
    const { offset, entry } = waiting
    const { partition } = this.#deps
    const answer = (fact: Fact | undefined) => {
      if (!this.#asked.delete(question)) return
      if (fact) this.#due.push({ waiting, fact })
      else this.#bytes -= waiting.bytes
      // Those that are still to answer hold up the others until the next sweep at most.
      if (this.#asked.size === 0) this.#append()
    }
    this.#deps.ask({ type: 'askDue', partition, userId: entry.userId, asOf: offset + 1n, entry, answer })
  }

  async #append (): Promise<void> {
    if (this.#due.length === 0 || this.#appending.length > 0 || this.#ending.signal.aborted) return
    const due = this.#due
    this.#due = []
    this.#appending = due
    const atMs = Date.now()
    const entries = due.map(({ waiting, fact }): Entry => ({ userId: waiting.entry.userId, atMs, fact }))
    const { log, partition, failing } = this.#deps
    try {
      await log.append(ledger, partition, entries, { reserved: true })
      for (const { waiting } of due) this.#bytes -= waiting.bytes
    } catch (err) {
      failing(`what is due can not be told the ledger: ${(err as Error).message}`)
      this.#putBack(due)
    } finally {
      this.#appending = []
    }
  }

  /** They are asked for again with the next sweep: the first of each lane are the oldest. */
  #putBack (those: ReadonlyArray<{ readonly waiting: Waiting }>): void {
    const changed = new Set<Waiting[]>()
    for (const { waiting } of those) {
      const afterMs = waiting.dueAtMs - waiting.entry.atMs
      const lane = this.#lanes.get(afterMs) ?? []
      this.#lanes.set(afterMs, lane)
      lane.push(waiting)
      changed.add(lane)
    }
    for (const lane of changed) lane.sort((a, b) => Number(a.offset - b.offset))
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
