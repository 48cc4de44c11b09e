import Denque from 'denque'
import type { Batch } from './batch.js'

/** Batches that have failed and are to be tried again. */
export class FailedBatches {
  /** Their wait is over. */
  readonly #due = new Denque<Batch>()
  readonly #waiting = new Map<Batch, NodeJS.Timeout>()

  /** @param isDue called when the time is over */
  wait (batch: Batch, ms: number, isDue: () => void): void {
    const timer = setTimeout(() => {
      this.#waiting.delete(batch)
      this.#due.push(batch)
      isDue()
    }, ms).unref()
    this.#waiting.set(batch, timer)
  }

  /** It is the next one that is due. */
  putFirst (batch: Batch): void { this.#due.unshift(batch) }

  takeDue (): Batch | undefined { return this.#due.shift() }

  /** Due or not. Those that fail take turns by that: one that always fails is not all that is ever tried. */
  takeLeastTried (): Batch | undefined {
    const [first, ...others] = this.all()
    if (!first) return undefined
    const batch = others.reduce((least, each) => each.attempts < least.attempts ? each : least, first)
    this.#remove(batch)
    return batch
  }

  /** Leaves out records whose partition was given back; returns batches of which nothing is left. */
  takeEnded (): Batch[] {
    const ended = this.all().filter(batch => {
      batch.leaveOutEnded()
      return batch.records.length === 0
    })
    for (const batch of ended) this.#remove(batch)
    return ended
  }

  all (): Batch[] { return [...this.#due.toArray(), ...this.#waiting.keys()] }

  stop (): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer)
  }

  #remove (batch: Batch): void {
    clearTimeout(this.#waiting.get(batch))
    if (!this.#waiting.delete(batch)) this.#due.removeOne(this.#due.toArray().indexOf(batch))
  }
}
