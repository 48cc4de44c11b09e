import type { LogReader } from '../../ledger/log.js'
import type { Stream } from '../../schemas/streams.js'
import type { Place } from './violation.js'

/** A record that a ledger entry must have brought about, until it is found. */
export interface Due {
  /** Of the ledger entry. */
  readonly place: Place
  /** Counts what was expected before it in this partition. */
  ordinal: number
  /** Found, or given up. */
  done: boolean
  /** One that must come later was there first. */
  overtaken: boolean
}

/** All that an audit asks of a log. */
export type AuditedLog = Pick<LogReader, 'partitions' | 'read' | 'bounds'>

export interface Bounds { readonly first: bigint, readonly next: bigint }

/** Bounds of a derived stream; where nothing was ever derived it may not have the partitions of the ledger. */
export async function boundsOf (log: AuditedLog, stream: Stream<any>, partition: number): Promise<Bounds> {
  return partition < log.partitions(stream) ? await log.bounds(stream, partition) : { first: 0n, next: 0n }
}

/** What a record is: one that was due, one that needs no more looking at, or one that nothing explains yet. */
export type Judged<D> = D | 'passed' | 'ahead'

/**
 * Records of a derived stream are in the order of the ledger, but for those of neighbouring blocks: one that so many
 * later ones have overtaken does not come any more, and so many may wait for what explains the next record.
 */
export const dueMax = 20_000

/**
 * One partition of a stream that is derived from the ledger, read alongside it. Each expectation waits for its record;
 * only as much is read of the stream as is expected, so what is kept does not depend on how long either is.
 */
export abstract class DerivedStream<T, D extends Due> {
  /** Expected, and neither found nor given up. */
  open = 0
  /** The record at hand. */
  offset = 0n
  index = 0

  /** The stream begins late: what was due before its first record may have been deleted. */
  readonly #cut: boolean
  /** All before it was derived from the ledger as the audit reads it. */
  readonly #explainedTo: bigint
  #to: bigint
  #blocks: AsyncIterator<{ readonly offset: bigint, readonly items: readonly T[] }>
  #items: readonly T[] = []
  #exhausted = false
  /** The stream has no more, and more was due than is kept: from here on that is only counted. */
  #ended = false
  #fifo: D[] = []
  #head = 0
  #expected = 0
  #newestTaken: D | undefined
  #unkept = 0

  constructor (
    readonly log: AuditedLog, readonly stream: Stream<T>, readonly partition: number, { first, next }: Bounds
  ) {
    this.#cut = first > 0n
    this.#explainedTo = this.#to = next
    this.#blocks = this.#read(first)
  }

  /** What this record is; called again with the same one after `ahead`. */
  protected abstract judge (record: T, place: Place): Judged<D>
  /** It was due, and will not come. */
  protected abstract missing (due: D): void
  /** Nothing of the ledger explains this record. */
  protected abstract unexplained (record: T, place: Place): void
  /** It may have been deleted: the stream begins after it. */
  protected abstract unknown (due: D): void

  protected expect (due: D): boolean {
    if (this.#ended) {
      this.#unkept++
      return false
    }
    due.ordinal = this.#expected++
    this.#fifo.push(due)
    this.open++
    return true
  }

  /** Reads the stream until all that is due is found, or what comes next is ahead of the ledger. */
  async pull (): Promise<void> {
    while (this.open > 0 && !this.#ended) {
      if (this.index >= this.#items.length && !await this.#more()) return
      const record = this.#items[this.index]!
      const judged = this.judge(record, this)
      if (judged === 'ahead') {
        if (this.open <= dueMax) return
        this.#passStuck(record)
      } else if (judged !== 'passed') {
        this.#taken(judged)
      }
      this.index++
    }
  }

  /**
   * The ledger has no more entries.
   *
   * @param whole it was read to its end, so every record has its reason there
   * @returns how many are due that the stream does not cover yet
   */
  async finish (whole: boolean): Promise<number> {
    for (;;) {
      const beyond = this.offset >= this.#explainedTo
      if (this.open === 0 && (!whole || beyond)) break
      if (this.index >= this.#items.length && !await this.#refilled(whole)) break
      const record = this.#items[this.index]!
      const judged = this.judge(record, this)
      if (judged === 'ahead') {
        if (whole && this.offset < this.#explainedTo) this.unexplained(record, this)
      } else if (judged !== 'passed') {
        this.#taken(judged)
      }
      this.index++
    }
    await this.#blocks.return?.()
    return this.#giveUp() + this.#unkept
  }

  #taken (due: D): void {
    if (!due.done) this.open--
    due.done = true
    if (!this.#newestTaken || due.ordinal > this.#newestTaken.ordinal) {
      if (!this.#newestTaken && this.#cut) this.#forgetBefore(due)
      this.#newestTaken = due
    }
    this.#trim(dueMax)
  }

  /** What is done leaves; what is not, and was passed by `distance` others, is missing. */
  #trim (distance: number): void {
    const newest = this.#newestTaken!.ordinal
    while (this.#head < this.#fifo.length) {
      const due = this.#fifo[this.#head]!
      if (!due.done) {
        if (newest - due.ordinal <= distance) break
        this.open--
        due.done = true
        this.missing(due)
      }
      this.#head++
    }
    if (this.#head > 1024 && this.#head * 2 > this.#fifo.length) {
      this.#fifo = this.#fifo.slice(this.#head)
      this.#head = 0
    }
  }

  #forgetBefore (first: D): void {
    for (let i = this.#head; i < this.#fifo.length && this.#fifo[i] !== first; i++) this.#forget(this.#fifo[i]!)
  }

  #forget (due: D): void {
    if (due.done) return
    due.done = true
    this.open--
    this.unknown(due)
  }

  /** Nothing that is due comes next. Where the stream begins late that is no wonder; else this record has no reason. */
  #passStuck (record: T): void {
    if (this.#cut && !this.#newestTaken) {
      const before = this.#fifo.length - dueMax / 2
      for (; this.#head < before; this.#head++) this.#forget(this.#fifo[this.#head]!)
      this.index-- // this one is looked at again
    } else {
      this.unexplained(record, this)
    }
  }

  /** What later blocks' records have overtaken is missing; the rest is due. */
  #giveUp (): number {
    let due = 0
    const newest = this.#newestTaken?.place.offset ?? -1n
    for (; this.#head < this.#fifo.length; this.#head++) {
      const each = this.#fifo[this.#head]!
      if (each.done) continue
      each.done = true
      this.open--
      if (each.overtaken || each.place.offset < newest) this.missing(each)
      else due++
    }
    this.#fifo = []
    this.#head = 0
    return due
  }

  /** The next block, as far as the stream went when the audit began. */
  async #more (): Promise<boolean> {
    if (!this.#exhausted) {
      if (await this.#nextBlock()) return true
      this.#exhausted = true
    }
    if (this.open <= dueMax) return false // it may come while more of the ledger is read
    if (await this.#refilled(true)) return true
    this.#unkept += this.#giveUp()
    this.#ended = true
    return false
  }

  /** The next block, also one that was appended since. */
  async #refilled (grown: boolean): Promise<boolean> {
    if (await this.#nextBlock()) return true
    if (!grown) return false
    const { next } = await boundsOf(this.log, this.stream, this.partition)
    if (next <= this.#to) return false
    const from = this.#to
    this.#to = next
    this.#blocks = this.#read(from)
    return await this.#nextBlock()
  }

  async #nextBlock (): Promise<boolean> {
    if (this.#to === 0n) return false
    const { done, value } = await this.#blocks.next()
    if (done) return false
    this.#items = value.items
    this.offset = value.offset
    this.index = 0
    return true
  }

  #read (from: bigint) {
    return this.log.read(this.stream, this.partition, { from, to: this.#to })[Symbol.asyncIterator]()
  }
}
