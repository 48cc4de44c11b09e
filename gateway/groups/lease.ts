import { randomInt } from 'node:crypto'
import type { Hole, Place } from '../../ledger/log.js'
import { comparePlaces } from './ack-cursor.js'
import type { GroupReader } from './reader.js'

interface Unacked { readonly place: Place, readonly bytes: number, readonly reader: GroupReader }

/** Not from 1: a cursor of the process that had our node id before us must not meet a lease of ours. */
let lastEpoch = randomInt(1 << 28)

/** A partition that this node has for a group: who reads it, what he was given, and what of that is acked. */
export class Lease {
  reader: GroupReader | undefined
  /** Another one whenever somebody else reads it, or the same one again from what is acked. */
  epoch = ++lastEpoch
  /** Its reader gets no more of it: it goes to another one. */
  isMoving = false
  /** What retention deleted before it was given, until that is told. */
  passed: Hole | undefined
  /** All before it was given, or is nobody's business. */
  given: Place
  #acked: Place
  #unacked: Unacked[] = []
  #startsAnew = false
  #hasEnded = false
  readonly #keeping = new Set<Promise<void>>()
  #changed = () => {}
  #change = this.#nextChange()

  constructor (readonly partition: number, from: Place) { this.given = this.#acked = from }

  get hasEnded (): boolean { return this.#hasEnded }
  /** It is being taken again from what is acked, on this very node. */
  get startsAnew (): boolean { return this.#startsAnew }
  get isSettled (): boolean { return this.#unacked.length === 0 }
  get acked (): Place { return this.#acked }

  /** Whoever reads it now, once there is room for more; undefined once nobody will. */
  async readerWithRoom (): Promise<GroupReader | undefined> {
    while (!this.#hasEnded) {
      const { reader } = this
      if (!reader || this.isMoving || reader.hasEnded) await this.#change
      else if (reader.isFull) await Promise.race([reader.changed(), this.#change])
      else return reader
    }
    return undefined
  }

  readBy (reader: GroupReader | undefined): void {
    this.reader = reader
    this.epoch = ++lastEpoch
    this.isMoving = false
    this.#tell()
  }

  /** Retention has deleted what is still to be given. */
  pass ({ from, to }: Hole): void { this.passed = { from: this.passed?.from ?? from, to } }

  gave (place: Place, bytes: number, reader: GroupReader): void {
    this.#unacked.push({ place, bytes, reader })
    this.given = place
  }

  /** @returns the place that is acked by it, which is further on where nothing else is wanted up to there */
  ack (place: Place): Place {
    let count = 0
    for (const { place: given, bytes, reader } of this.#unacked) {
      if (comparePlaces(given, place) > 0) break
      reader.acked(bytes)
      count++
    }
    this.#unacked.splice(0, count)
    const reached = this.isSettled ? this.given : place
    if (comparePlaces(reached, this.#acked) > 0) this.#acked = reached
    this.#tell()
    return reached
  }

  /** From here on an ack of what was given comes too late: it is given again. */
  startAnew (): void {
    this.#startsAnew = true
    this.epoch = ++lastEpoch
  }

  /** As `kept`, which whoever has the partition next waits for: else he could begin before it. */
  async keeps (kept: Promise<void>): Promise<void> {
    this.#keeping.add(kept)
    try {
      await kept
    } finally {
      this.#keeping.delete(kept)
    }
  }

  /** Resolves once it is known what became of the acks that were taken. */
  async isKept (): Promise<void> { await Promise.allSettled(this.#keeping) }

  /** Resolves once all that was given is acked, or after a while. */
  async settled (withinMs: number): Promise<void> {
    let late: NodeJS.Timeout | undefined
    const isLate = new Promise<true>(resolve => { late = setTimeout(resolve, withinMs, true) })
    while (!this.isSettled && await Promise.race([isLate, this.#change]) !== true);
    clearTimeout(late)
  }

  /** Nobody gets anything of it any more. */
  end (): void {
    this.#hasEnded = true
    this.#tell()
  }

  /** Its readers need not ack what they have of it. */
  release (): void {
    for (const { bytes, reader } of this.#unacked.splice(0)) reader.acked(bytes)
  }

  #tell (): void {
    this.#changed()
    this.#change = this.#nextChange()
  }

  #nextChange (): Promise<void> { return new Promise(resolve => { this.#changed = resolve }) }
}
