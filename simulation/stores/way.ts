import type { Turns } from '../world.js'
import type { Broker, StoredPartition } from './broker.js'

/** A broker that is away is asked again after so long. */
const againMs = 1_000

/** The way of one node to the broker and back. */
export class Way {
  #sentUntilMs = 0
  /** On their way to the broker, oldest first: whatever arrives is the oldest. */
  readonly #sent: Array<() => void> = []

  /**
   * @param turns of the node: where it is down, nothing is answered any more
   * @param from who sends, for the trace
   */
  constructor (readonly broker: Broker, readonly turns: Turns, readonly from: string) {}

  /** To the broker, in the order of sending; it arrives also where the node crashes meanwhile. */
  send (what: string, run: () => void): void {
    const { broker } = this
    const nowMs = broker.options.nowMs()
    this.#sentUntilMs = Math.max(this.#sentUntilMs, nowMs + broker.latencyMs())
    this.#sent.push(run)
    broker.options.turns.later(this.#sentUntilMs - nowMs, `${this.from}: ${what}`, () => {
      broker.arrive(this.turns, this.#sent.shift()!)
    })
  }

  /** From the broker. */
  answer (what: string, run: () => void): void { this.turns.later(this.broker.latencyMs(), what, run) }

  /** A question and its answer. One that a broker which is away does not hear is asked again. */
  async ask<T> (partition: StoredPartition, answer: () => T): Promise<T> {
    return await new Promise<T>(resolve => {
      this.#whenThere(partition, 'asks the broker again', () => {
        this.send('asks', () => {
          const answered = answer()
          this.answer('is answered', () => { resolve(answered) })
        })
      })
    })
  }

  /**
   * Once the partition has anything from an offset on, the request for it has come as far as the broker, and that one
   * answers: at the broker, which may `answer`. Most often the request is the first, and waits there.
   */
  fetch (partition: StoredPartition, from: bigint, what: string, found: () => void): void {
    const { options: { turns, nowMs } } = this.broker
    const thereMs = nowMs() + this.broker.latencyMs()
    const arrived = (): void => { this.#whenThere(partition, 'fetches again', found) }
    partition.whenBeyond(from, () => {
      const leftMs = thereMs - nowMs()
      if (leftMs <= 0) arrived()
      else turns.later(leftMs, `${this.from}: fetches ${what}`, arrived)
    })
  }

  #whenThere (partition: StoredPartition, what: string, run: () => void): void {
    if (this.broker.isAwayFor(this.turns, partition)) {
      this.turns.later(againMs, what, () => { this.#whenThere(partition, what, run) })
    } else {
      run()
    }
  }
}
