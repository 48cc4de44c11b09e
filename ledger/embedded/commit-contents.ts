import { GatewayError } from '../../schemas/errors.js'
import { type Batch, derivedBytes, type Mark } from './batch.js'
import { type Headroom, reserves } from './headroom.js'
import type { Shortage } from './shortage.js'
import type { Writer } from './store.js'

/** Of the room that there is, what appends are given: the rest is for the pages that they do not fill. */
const pagesShare = 3 / 4

export interface Collected {
  /** The end of what makes room. */
  readonly relief: Mark
  /** The end of what is not derived. */
  readonly others: Mark
  /** Page bytes. */
  readonly derivedBytes: number
}

/** What of everybody's goes into a commit, by the room that the disk has. */
export class CommitContents {
  readonly relief: Writer[] = []
  readonly others: Writer[] = []
  readonly derived: Writer[] = []
  /** Who has something in the commit under way, in the order in which they are told of its outcome. */
  taking: Writer[] = []
  /** The others were refused. */
  relieving = false
  /** Derived writes that can't be stored now are given up. */
  isStopping = false

  constructor (readonly batch: Batch, readonly headroom: Headroom, readonly shortage: Shortage) {}

  register (writer: Writer): void {
    if (writer.relief) this.relief.push(writer)
    else if (writer.derived) this.derived.push(writer)
    else this.others.push(writer)
  }

  /** All of them, in the order in which they are told that nothing was stored. */
  get writers (): Writer[] { return [...this.derived, ...this.others, ...this.relief] }

  /** Everybody's writes, but derived ones that do not fit. */
  collect (): Collected {
    const { batch } = this
    batch.start()
    this.relieving = false
    for (const writer of this.relief) writer.write(batch)
    const relief = batch.mark()
    for (const writer of this.others) writer.write(batch)
    this.taking = [...this.relief, ...this.others]
    const others = batch.mark()
    this.#collectDerived(others.pageBytes)
    return { relief, others, derivedBytes: batch.pageBytes - others.pageBytes }
  }

  /** Takes derived writes, which are behind `others`, out again where there is no room for `bytes`, all of it. */
  leaveOutDerivedUnless (bytes: number, others: Mark): void {
    if (!this.headroom.has(bytes, this.#derivedReserve)) this.#leaveOutDerived(others)
  }

  /** Nothing of what was collected is written. Who has derived writes keeps them, and is asked again. */
  refuse ({ relief, others }: Collected): void {
    this.shortage.refuse(others.pageBytes - relief.pageBytes)
    for (const writer of this.derived) writer.failed(noRoom())
  }

  /**
   * Collects anew what may have the reserve: what makes room, what we ourselves must write, and what retention waits
   * for.
   *
   * @param relief the end of what makes room, which stays as it was collected
   * @returns whether there is room for it
   */
  collectRelief (relief: Mark): boolean {
    this.batch.cutBack(relief)
    this.relieving = true
    this.taking = [...this.relief]
    this.#collectOwn(relief)
    this.#collectDerived(this.batch.pageBytes)
    return this.headroom.has(this.batch.pageBytes, reserves.relief)
  }

  /** A commit has failed, or parts of it were refused. */
  hasFailed (err: GatewayError): void { if (this.isStopping) giveUp(this.derived, err) }

  #collectDerived (besides: number): void {
    const { batch } = this
    if (this.shortage.hasDerived) {
      if (this.isStopping) giveUp(this.derived, noRoom())
      if (this.isStopping || !this.shortage.mayTryDerived()) return
    }
    const mark = batch.mark()
    const each = besides > 0 ? Math.max(derivedBytes.busy, besides / 2) : derivedBytes.idle
    for (const writer of this.derived) {
      batch.derivedEnd = batch.pageBytes + each
      writer.write(batch)
    }
    this.taking = [...this.derived, ...this.taking]
    const bytes = batch.pageBytes - mark.pageBytes
    if (bytes === 0) return
    if (this.headroom.has(bytes, this.#derivedReserve)) this.shortage.takeDerived()
    else this.#leaveOutDerived(mark)
  }

  /** Payloads that wait to be saved must leave the room of the acks that let go of them. */
  get #derivedReserve (): number { return this.batch.hasBulk ? reserves.own : reserves.derived }

  #leaveOutDerived (mark: Mark): void {
    const bytes = this.batch.pageBytes - mark.pageBytes
    const reserve = this.#derivedReserve
    // Those who are left out have nothing to go on with: each would ask for the next commit, and so for ever.
    this.taking = this.taking.slice(this.derived.length)
    const isFull = this.shortage.isFull // or the file only has to grow
    for (const writer of this.derived) {
      if (isFull && writer.leftOut) writer.leftOut(noRoom())
      else writer.failed(noRoom())
    }
    this.batch.cutBack(mark)
    this.shortage.leaveOut(bytes, reserve)
  }

  /** Acks free the payloads that fill the disk, and retention waits for the stream that is derived from the ledger. */
  #collectOwn (relief: Mark): void {
    const { batch } = this
    // Not all of it may fit; what is left asks for the next commit, as long as there is room for something.
    batch.appendsMax = Math.max(0, this.headroom.room(reserves.own) - relief.pageBytes) * pagesShare
    for (const writer of this.others) writer.write(batch)
    if (this.headroom.has(batch.pageBytes, reserves.own)) {
      this.taking = [...this.relief, ...this.others]
      return
    }
    for (const writer of this.others) writer.failed(noRoom())
    batch.cutBack(relief)
  }
}

/** They will not be asked again. */
export function giveUp (writers: readonly Writer[], err: GatewayError): void {
  for (const writer of writers) writer.givenUp?.(err)
}

export function noRoom (): GatewayError {
  return new GatewayError('ledger-unavailable', 'the local store can not be written: the disk is full')
}
